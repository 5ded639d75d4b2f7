"""beta-VAE (Higgins et al. 2017)."""

from experiments.build import components
from experiments.sets import fields


@components.objective(
    "beta",
    label="beta-VAE",
    color="C1",
    marker="^",
    fields={"beta": fields.training(1.0, "the rate's weight", low=0)},
)
def make(hparams, sizes):
    """Distortion + beta rate (section 4.3)."""
    del sizes
    import deltavae_tf

    return deltavae_tf.BetaVAE(hparams.beta)
