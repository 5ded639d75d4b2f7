"""KL annealing (Bowman et al. 2016)."""

from experiments.build import components
from experiments.sets import fields


@components.objective(
    "kl_annealing",
    label="KL annealing",
    color="C6",
    marker="<",
    fields={
        "anneal_steps": fields.training(
            0, "the step where the rate has weight 1", low=0, needed=True
        )
    },
)
def make(hparams, sizes):
    """Distortion + w rate, w from 0 to 1 over `anneal_steps` (section 4.3)."""
    del sizes
    import deltavae_tf

    return deltavae_tf.KLAnnealing(hparams.anneal_steps)
