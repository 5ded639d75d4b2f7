"""What a TPU asks for, without one: every architecture becomes static HLO.

A TPU runs what XLA compiles and nothing else. `train_step`, `test_step` and the sampler
of every hparams set are lowered to HLO at reduced width; in that text a dynamic
dimension is written `[<=8]`, and a callback to the host is a custom call, a send, a
receive or a feed. Layers are all of one kind, so depth is cut to LAYERS too; with
FULL_DEPTH=1 in the environment it is not (several minutes for each large set).
"""

import os
import re

import keras
import numpy as np
import pytest
import tensorflow as tf

from experiments import build, sets
from tests import testing

NARROW = {
    "encoder_width": 8, "decoder_width": 8, "encoder_filter": 8, "decoder_filter": 8,
    "num_heads": 2, "num_mixtures": 2, "latent_channels": 2, "auxiliary_units": 4,
    "batch_size": 2, "dropout": 0.1, "clip_norm": 1.0, "target_rate_bits": 0.0,
    "width": 8, "filter_size": 8, "vocabulary_size": 300, "max_length": 16,
}  # fmt: skip
DYNAMIC = re.compile(
    r"\[[^\]]*<=|\b(?:set-dimension-size|get-dimension-size|dynamic-reshape)\b"
)
HOST = re.compile(r"\b(?:custom-call|send|recv|infeed|outfeed)(?:-done)?\(")


LAYERS = 2  # With attention: a block before the first and one behind the last.


def narrow(name, overrides=""):
    """The set `name` at reduced width; `overrides` as in --hparams."""
    chosen = sets.hparams(name, overrides)
    values = {k: v for k, v in NARROW.items() if k in chosen}
    if os.environ.get("FULL_DEPTH"):
        return chosen.replace(**values)
    if "layers" in chosen:
        values["layers"] = min(LAYERS, chosen.layers)
    for part in ("encoder", "decoder"):
        if f"{part}_layers" in chosen:
            layers = min(LAYERS, getattr(chosen, f"{part}_layers"))
            attention = getattr(chosen, f"{part}_attention")
            values[f"{part}_layers"] = layers
            values[f"{part}_attention"] = min(attention, layers // 2 + 1)
    return chosen.replace(**values)


def architectures():
    """{architecture at reduced width: the names of the sets that have it}."""
    found = {}
    for name in sets.set_names():
        # Neither the prior's numbers nor the data's name makes another graph.
        ignored = ("alpha_min", "alpha_max", "target_rate_bits", "problem")
        chosen = narrow(name)
        same = {k: v for k, v in chosen.architecture().items() if k not in ignored}
        if chosen.prior == "standard_normal" and chosen.posterior == "mean_field":
            same["prior"] = "ar1"
        shape = getattr(chosen.dataset(), "image_shape", None)
        found.setdefault(str((same, shape)), []).append(name)
    return found


def hlo_of(function, *arguments):
    """The HLO of a function of tensors, before optimization."""
    compiled = tf.function(function, jit_compile=True, autograph=False)
    return compiled.experimental_get_compiler_ir(*arguments)(stage="hlo")


def assert_static(hlo):
    assert hlo.startswith("HloModule") and "ROOT" in hlo
    assert not DYNAMIC.findall(hlo)
    assert not HOST.findall(hlo)


def lower(small):
    """The three HLO texts of an architecture."""
    size = small.batch_size
    model = build.model(small)
    is_text = small.kind == "text"
    if is_text:
        steps = small.max_length
        x = {"tokens": tf.ones((size, steps), tf.int32)}
    else:
        shape = small.dataset().image_shape
        steps = shape[0]
        x = {"image": tf.zeros((size, *shape), tf.uint8)}
    model.optimizer.build(model.trainable_variables)
    batch = {**x, "index": tf.range(size), "mask": tf.ones([size])}
    z = tf.zeros((size, steps, small.latent_channels))
    z = None if model.encoder is None else z
    length = {"length": steps} if is_text and z is None else {}
    draw = hlo_of(
        lambda keys: model.decoder.sample(z, keys, tf.constant(1.0), **length),
        testing.keys(size),
    )
    return hlo_of(model.train_step, batch), hlo_of(model.test_step, batch), draw


@pytest.mark.slow
@pytest.mark.parametrize("names", architectures().values(), ids=lambda names: names[0])
def test_every_architecture_is_static_under_xla(names):
    keras.backend.clear_session()
    for hlo in lower(narrow(names[0])):
        assert_static(hlo)


def test_every_set_is_lowered():
    covered = [name for names in architectures().values() for name in names]
    assert sorted(covered) == sets.set_names()
    assert {"imagenet32_best", "lm1b", "digits_no_latents"} <= set(covered)


@pytest.mark.slow
def test_bfloat16_computes_in_bfloat16():
    """By flag: --hparams=dtype=mixed_bfloat16. Convolutions and attention obey."""
    train, test, _ = lower(narrow("digits_tiny", "dtype=mixed_bfloat16"))
    assert_static(train)
    assert_static(test)
    inputs = re.findall(r"= (\w+)\[[\d,]*\]\S* convolution\(", train)
    assert inputs and set(inputs) == {"bf16"}


@pytest.mark.slow
def test_a_rematerialized_step_is_static():
    train, _, _ = lower(narrow("digits", "rematerialize=true,dtype=mixed_bfloat16"))
    assert_static(train)


def test_the_test_sees_dynamic_shapes_and_callbacks():
    found = hlo_of(lambda x: tf.where(x > 0)[:, 0] * 2, tf.zeros([4]))
    assert DYNAMIC.search(found) or HOST.search(found)
    with pytest.raises(Exception, match="PyFunc|not supported|Unsupported|uncompil"):
        assert_static(
            hlo_of(lambda x: tf.numpy_function(np.sin, [x], tf.float32), tf.zeros([4]))
        )
