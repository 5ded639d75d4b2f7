"""The delta-VAE's prior: a first-order autoregression in each channel."""

from experiments.build import commitment, components


@components.prior(
    "ar1",
    label="delta-VAE",
    color="C0",
    marker="o",
    fields=commitment.FIELDS,
    check=commitment.check,
)
def make(hparams, sizes):
    """AR(1) with slow and fast channels: mean-field posteriors commit a rate (3)."""
    import deltavae_tf

    alpha = commitment.alpha(hparams, sizes.num_timesteps)
    if sizes.num_timesteps is None:
        return deltavae_tf.SegmentedAR1(alpha)
    return deltavae_tf.AR1(alpha, sizes.num_timesteps)
