"""The plain evidence lower bound."""

from experiments.build import components


@components.objective("elbo")
def make(hparams, sizes):
    """The ELBO: distortion + rate, the paper's objective for the delta-VAE."""
    del hparams, sizes
    import deltavae_tf

    return deltavae_tf.ELBO()
