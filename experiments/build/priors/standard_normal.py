"""The plain VAE's prior."""

import numpy as np

from experiments.build import components


@components.prior("standard_normal", label="VAE", color="C3", marker="s")
def make(hparams, sizes):
    """N(0, I), the AR(1) with alpha = 0: commits nothing, and may collapse."""
    import deltavae_tf

    alpha = np.zeros(hparams.latent_channels)
    if sizes.num_timesteps is None:
        return deltavae_tf.SegmentedAR1(alpha)
    return deltavae_tf.AR1(alpha, sizes.num_timesteps)
