"""Builds data and models from hyper-parameters."""

import dataclasses
from collections.abc import Callable

import keras
import numpy as np
from absl import logging

from data import cifar10, digits, imagenet32
from deltavae_tf import backend, objectives, units
from deltavae_tf.distributions import ar1
from deltavae_tf.models import (
    auxiliary_prior,
    delta_vae,
    image_decoder,
    image_encoder,
    independent_encoder,
)
from deltavae_tf.training import schedules

_HIGHEST_ALPHA = 0.999  # Of what is known to train; the paper has up to .99.


@dataclasses.dataclass(frozen=True)
class Problem:
    """A data set: how to load a split, and the shape of its images."""

    load: (
        Callable  # (split, data_dir=, tmp_dir=, download=) -> data.images.splits.Split
    )
    image_shape: tuple
    num_levels: int
    num_held_out: int  # Training images kept for evaluation without the test set.
    num_classes: int = 0  # 0: the labels mean nothing.

    @property
    def num_dims(self):
        """Predicted scalars of an image."""
        return int(np.prod(self.image_shape))


def _load_digits(split, data_dir=None, tmp_dir=None, download=False):
    del data_dir, tmp_dir, download  # They are embedded in scikit-learn.
    return digits.load(split)


PROBLEMS = {
    "digits": Problem(_load_digits, digits.IMAGE_SHAPE, digits.NUM_LEVELS, 200, 10),
    "cifar10": Problem(cifar10.load, cifar10.IMAGE_SHAPE, cifar10.NUM_LEVELS, 2000, 10),
    "imagenet32": Problem(
        imagenet32.load, imagenet32.IMAGE_SHAPE, imagenet32.NUM_LEVELS, 2000
    ),
}


def problem(name):
    """The `Problem` of a name; a ValueError if this version has no such data."""
    if name not in PROBLEMS:
        raise ValueError(
            f"No program reads the problem {name!r} yet; there are {sorted(PROBLEMS)}"
        )
    return PROBLEMS[name]


def prior(hparams, num_timesteps):
    """p(z): AR(1) for a delta-VAE; N(0, I), the AR(1) with alpha = 0, for others."""
    if hparams.method != "delta_vae":
        return ar1.AR1(np.zeros(hparams.latent_channels), num_timesteps)
    alpha = _alpha(hparams, num_timesteps)
    if alpha[-1] > _HIGHEST_ALPHA:
        logging.warning(
            "alpha_max is 1 - %.1g: so slow a latent makes training diverge. Commit "
            "less, or give it more latent_channels.",
            1 - alpha[-1],
        )
    return ar1.AR1(alpha, num_timesteps)


def _alpha(hparams, num_timesteps):
    channels = hparams.latent_channels
    if not hparams.target_rate_bits:
        return np.linspace(hparams.alpha_min, hparams.alpha_max, channels)
    return ar1.solve_alpha(
        units.nats(hparams.target_rate_bits),
        num_timesteps,
        channels,
        alpha_min=hparams.alpha_min,
    )


def posterior(hparams, encoder, num_timesteps):
    """The encoder, for the independent delta-VAE within what keeps its rate."""
    if hparams.method != "independent_delta_vae":
        return encoder
    rate = units.nats(hparams.target_rate_bits)
    if not rate:
        rate = ar1.committed_rate(_alpha(hparams, num_timesteps), num_timesteps)
    rate /= num_timesteps * hparams.latent_channels
    return independent_encoder.IndependentDeltaEncoder(encoder, rate, name="posterior")


def objective(hparams, num_dims=None):
    """What the method minimizes.

    Args:
      hparams: `TrainingHparams`.
      num_dims: int, predicted scalars of an example, for GECO's bits/dim.
    """
    if hparams.method == "beta_vae":
        return objectives.BetaVAE(hparams.beta)
    if hparams.method in ("free_bits", "free_bits_per_channel"):
        return objectives.FreeBits(
            units.nats(hparams.free_bits), hparams.method == "free_bits_per_channel"
        )
    if hparams.method == "kl_annealing":
        return objectives.KLAnnealing(hparams.anneal_steps)
    if hparams.method == "geco":
        target = hparams.geco_distortion_bpd
        return objectives.GECO(
            units.nats_from_bits_per_dim(target, num_dims), hparams.geco_speed
        )
    return objectives.ELBO()


def image_model(hparams, image_shape, num_levels, seed=0):
    """A built, compiled `DeltaVAE` for images `[H, W, C]`.

    Args:
      hparams: `ImageHparams`.
      image_shape: tuple (H, W, C).
      num_levels: int.
      seed: int, of the weights and of all noise.
    """
    keras.utils.set_random_seed(seed)
    height = image_shape[0]
    policy = keras.dtype_policies.DTypePolicy(hparams.dtype)
    anti_causal = hparams.encoder == "anti_causal"
    shared = {
        "num_heads": hparams.num_heads,
        "kernel_size": hparams.kernel_size,
        "num_levels": num_levels,
        "normalization": hparams.normalization,
        "rematerialize": hparams.rematerialize,
        "dtype": policy,
    }
    decoder = image_decoder.ImageDecoder(
        hparams.decoder_layers,
        hparams.decoder_width,
        hparams.decoder_filter,
        hparams.decoder_attention,
        num_mixtures=hparams.num_mixtures,
        use_latents=hparams.use_latents,
        causal_latents=anti_causal,
        dropout_rate=hparams.dropout,
        name="decoder",
        **shared,
    )
    parts = {"encoder": None, "prior": None}
    if hparams.use_latents:
        p = prior(hparams, height)
        encoder = image_encoder.ImageEncoder(
            hparams.latent_channels,
            hparams.encoder_layers,
            hparams.encoder_width,
            hparams.encoder_filter,
            hparams.encoder_attention,
            anti_causal=anti_causal,
            initial_scale=p.optimal_scale(),
            name="encoder",
            **shared,
        )
        parts = {
            "prior": p,
            "encoder": posterior(hparams, encoder, height),
            "auxiliary_prior": auxiliary_prior.LSTMPrior(
                hparams.auxiliary_units,
                hparams.latent_channels,
                name="auxiliary_prior",
                dtype=policy,
            ),
        }
    model = delta_vae.DeltaVAE(
        decoder=decoder,
        objective=objective(hparams, int(np.prod(image_shape))),
        seed=seed,
        name="delta_vae",
        dtype=policy,
        **parts,
    )
    backend.make_variables(model, np.zeros((1, *image_shape), np.uint8))
    if hparams.trained_part == "auxiliary_prior":
        if not hparams.use_latents:
            raise ValueError(
                "A decoder alone has no auxiliary prior to train. Received: "
                "trained_part=auxiliary_prior with method=autoregressive"
            )
        model.encoder.trainable = model.decoder.trainable = False
    model.compile(optimizer(hparams), clip_norm=hparams.clip_norm or None)
    return model


def optimizer(hparams):
    """Adam with the schedule of the hyper-parameters."""
    rate = schedules.make(
        hparams.learning_rate_schedule,
        learning_rate=hparams.learning_rate,
        floor=hparams.learning_rate_floor,
        scale=hparams.learning_rate_scale,
        width=hparams.decoder_width,
        warmup_steps=hparams.warmup_steps,
        decay_steps=hparams.decay_steps,
    )
    return keras.optimizers.Adam(
        rate,
        beta_1=hparams.adam_beta_1,
        beta_2=hparams.adam_beta_2,
        epsilon=hparams.adam_epsilon,
    )
