"""The dials of a committed rate, which the AR(1) prior and the independent posterior
share: a range of alphas, or bits."""

import numpy as np
from absl import logging

from experiments.sets import fields

_HIGHEST_ALPHA = 0.999  # Of what is known to train; the paper has up to .99.
FIELDS = {
    "alpha_min": fields.architecture(
        0.5, "AR(1) of the fastest latent", low=0, below=1
    ),
    "alpha_max": fields.architecture(
        0.7622, "AR(1) of the slowest latent", low=0, below=1
    ),
    "target_rate_bits": fields.architecture(
        0.0,
        "> 0: commit to these bits per example, by solving alpha_max (images: a "
        "sentence's committed rate grows with its length)",
        low=0,
    ),
}


def check(hparams) -> None:
    """Raises a `UserError` for a range of alphas that is none."""
    from deltavae_tf import errors

    if hparams.alpha_min > hparams.alpha_max and not hparams.target_rate_bits:
        raise errors.UserError(
            "'alpha_min' must not exceed 'alpha_max'. "
            f"Received: {hparams.alpha_min} and {hparams.alpha_max}"
        )
    if hparams.target_rate_bits and hparams.kind != "images":
        raise errors.UserError(
            "'target_rate_bits' has no meaning for sentences, whose committed rate "
            "grows with their length: set alpha_min and alpha_max. "
            f"Received: {hparams.target_rate_bits}"
        )


def alpha(hparams, num_timesteps: int | None) -> np.ndarray:
    """The alphas `[d]` of a run, the slowest last."""
    import deltavae_tf
    from deltavae_tf import units

    channels = hparams.latent_channels
    if not hparams.target_rate_bits:
        return np.linspace(hparams.alpha_min, hparams.alpha_max, channels)
    found = deltavae_tf.solve_alpha(
        units.nats(hparams.target_rate_bits),
        num_timesteps,
        channels,
        alpha_min=hparams.alpha_min,
    )
    if found[-1] > _HIGHEST_ALPHA:
        logging.warning(
            "alpha_max is 1 - %.1g: so slow a latent makes training diverge. Commit "
            "less, or give it more latent_channels.",
            1 - found[-1],
        )
    return found
