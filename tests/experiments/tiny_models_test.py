"""The small models of the library's tests are those of the small sets."""

import numpy as np
import pytest

from deltavae_tf import units
from experiments import build, sets
from tests import tiny

PAIRS = {
    "digits": (tiny.image_model, "digits_tiny", ""),
    "plain": (lambda seed: tiny.image_model(seed, alpha=(0, 0)), "digits_tiny", "vae"),
    "alone": (tiny.image_decoder_alone, "digits_tiny", "autoregressive"),
    "independent": (
        lambda seed: tiny.independent_model(units.nats(9.0), seed),
        "digits_tiny",
        "independent_delta_vae,target_rate_bits=9",
    ),
    "cifar10": (
        lambda seed: tiny.image_model(seed, **tiny.CIFAR10), "cifar10_tiny", ""
    ),
    "documents": (tiny.text_model, "documents_tiny", ""),
    "text alone": (
        lambda seed: tiny.text_model(seed, latents=False),
        "documents_tiny",
        "autoregressive",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PAIRS)
def test_the_same_model(name):
    make, set_name, method = PAIRS[name]
    found = make(seed=3)
    chosen = sets.hparams(set_name, f"method={method}" if method else "")
    expected = build.model(chosen, seed=3)
    assert type(found) is type(expected)
    # Names of optimizers and layers count up in a process.
    assert [v.path for v in found.weights] == [v.path for v in expected.weights]
    for one, other in zip(found.weights, expected.weights, strict=True):
        one, other, path = np.array(one), np.array(other), one.path
        if path.endswith("encoder/head/kernel"):
            # Drawn from Keras's common stream, at another moment.
            one, other = one == 0, other == 0
        np.testing.assert_array_equal(one, other, err_msg=path)
    configs = found.optimizer.get_config(), expected.optimizer.get_config()
    assert {**configs[0], "name": ""} == {**configs[1], "name": ""}
    assert (found.seed, found.clip_norm) == (expected.seed, expected.clip_norm)
    assert (found.prior is None) == (expected.prior is None)
    if found.prior is not None:
        np.testing.assert_array_equal(found.prior.alpha, expected.prior.alpha)
    config, theirs = found.get_config(), expected.get_config()
    assert str(config) == str(theirs)
