"""Small models from the library alone: seconds to train, no use otherwise.

They are those of the hyper-parameter sets `digits_tiny`, `cifar10_tiny` and
`documents_tiny`; `tests/experiments/tiny_models_test.py` holds them to it.
"""

import keras
import numpy as np

import deltavae_tf
from deltavae_tf import backend
from deltavae_tf.models import batch
from deltavae_tf.training import adam, schedules

DIGITS = {
    "image_shape": (8, 8, 1), "num_levels": 17,
    "encoder_layers": 2, "decoder_layers": 2, "width": 8, "filter_size": 16,
    "encoder_attention": 0, "decoder_attention": 0, "num_heads": 2,
    "num_mixtures": 2, "normalization": "layer", "dropout": 0.0,
    "alpha": (0.5, 0.95), "auxiliary_units": 8, "objective": None,
    "learning_rate": schedules.WarmupCosine(3e-3, 2, 10), "adam_epsilon": 1e-9,
    "clip_norm": None, "dtype": "float32",
}  # fmt: skip
CIFAR10 = {
    "image_shape": (32, 32, 3), "num_levels": 256, "width": 16, "filter_size": 32,
    "num_mixtures": 4, "alpha": tuple(np.linspace(0.5, 0.95, 8)),
    "auxiliary_units": 16, "learning_rate": schedules.WarmupCosine(2e-3, 2, 10),
}  # fmt: skip
DOCUMENTS = {
    "vocabulary_size": 512, "layers": 1, "width": 16, "filter_size": 32, "num_heads": 2,
    "dropout": 0.0, "alpha": (0.2, 0.4), "auxiliary_units": 8, "max_length": 32,
    "objective": None, "learning_rate": schedules.WarmupCosine(2e-3, 2, 10),
    "adam_epsilon": 1e-9, "clip_norm": None, "dtype": "float32",
}  # fmt: skip


def image_model(seed=0, **changes):
    """A built, compiled `DeltaVAE` of images; with alpha 0 the plain VAE.

    Args:
      seed: int, of the weights and of all noise.
      **changes: of `DIGITS`; `**CIFAR10` makes it a model of CIFAR-10.
    """
    return _image_model(seed, changes)


def independent_model(rate, seed=0, **changes):
    """The independent delta-VAE of appendix D, which commits `rate` nats an image."""
    return _image_model(seed, {**changes, "alpha": (0.0, 0.0)}, rate=rate)


def image_decoder_alone(seed=0, **changes):
    """The same without latents: the autoregressive baseline."""
    return _image_model(seed, changes, latents=False)


def text_model(seed=0, latents=True, **changes):
    """A built, compiled `TextVAE`; `changes` are of `DOCUMENTS`."""
    chosen = _chosen(DOCUMENTS, changes)
    keras.utils.set_random_seed(seed)
    sizes = [chosen[k] for k in ("layers", "width", "filter_size", "num_heads")]
    decoder = deltavae_tf.TextDecoder(
        chosen["vocabulary_size"],
        *sizes,
        use_latents=latents,
        dropout_rate=chosen["dropout"],
        name="decoder",
        dtype=chosen["dtype"],
    )
    prior = encoder = None
    if latents:
        prior = deltavae_tf.SegmentedAR1(np.array(chosen["alpha"]))
        encoder = deltavae_tf.TextEncoder(
            chosen["vocabulary_size"],
            len(chosen["alpha"]),
            *sizes,
            alpha=prior.alpha,
            name="encoder",
            dtype=chosen["dtype"],
        )
    model = deltavae_tf.TextVAE(
        encoder,
        decoder,
        prior,
        _auxiliary_prior(chosen) if latents else None,
        objective=chosen["objective"],
        seed=seed,
        max_length=chosen["max_length"],
        name="text_vae",
        dtype=chosen["dtype"],
    )
    return _built(model, chosen, np.zeros((1, chosen["max_length"]), np.int32))


def _image_model(seed, changes, latents=True, rate=None):
    chosen = _chosen(DIGITS, changes)
    keras.utils.set_random_seed(seed)
    shared = {
        "num_heads": chosen["num_heads"],
        "num_levels": chosen["num_levels"],
        "normalization": chosen["normalization"],
        "dtype": chosen["dtype"],
    }
    sizes = (chosen["width"], chosen["filter_size"])
    # Initial weights depend on the order in which the parts are made.
    decoder = deltavae_tf.ImageDecoder(
        chosen["decoder_layers"],
        *sizes,
        chosen["decoder_attention"],
        num_mixtures=chosen["num_mixtures"],
        use_latents=latents,
        dropout_rate=chosen["dropout"],
        name="decoder",
        **shared,
    )
    prior = encoder = None
    if latents:
        height, channels = chosen["image_shape"][0], len(chosen["alpha"])
        prior = deltavae_tf.AR1(np.array(chosen["alpha"]), height)
        encoder = deltavae_tf.ImageEncoder(
            channels,
            chosen["encoder_layers"],
            *sizes,
            chosen["encoder_attention"],
            initial_scale=prior.optimal_scale(),
            name="encoder",
            **shared,
        )
    if rate is not None:
        encoder = deltavae_tf.IndependentDeltaEncoder(
            encoder, rate / (height * channels), name="posterior"
        )
    model = deltavae_tf.DeltaVAE(
        encoder,
        decoder,
        prior,
        _auxiliary_prior(chosen) if latents else None,
        objective=chosen["objective"],
        seed=seed,
        name="delta_vae",
        dtype=chosen["dtype"],
    )
    return _built(model, chosen, np.zeros((1, *chosen["image_shape"]), np.uint8))


def _chosen(defaults, changes):
    unknown = set(changes) - set(defaults)
    assert not unknown, f"Not a part of a small model: {unknown}"
    return {**defaults, **changes}


def _auxiliary_prior(chosen):
    return deltavae_tf.LSTMPrior(
        chosen["auxiliary_units"],
        len(chosen["alpha"]),
        name="auxiliary_prior",
        dtype=chosen["dtype"],
    )


def _built(model, chosen, example):
    # Keras would trace a call first, in twice the time of the call that makes the
    # weights just as well.
    model.built = True
    model._example = batch.describe(example)  # For saving, as a traced call notes it.
    backend.make_variables(model, example)
    optimizer = adam.Adam(
        chosen["learning_rate"], beta_2=0.98, epsilon=chosen["adam_epsilon"]
    )
    model.compile(optimizer, clip_norm=chosen["clip_norm"])
    return model
