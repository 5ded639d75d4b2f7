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
        ),
        "anneal_start": fields.training(
            0, "the step until which the rate has anneal_weight", low=0
        ),
        "anneal_weight": fields.training(
            0.0, "the weight of the rate at first", low=0, below=1
        ),
    },
)
def make(hparams, sizes):
    """Distortion + w rate, w to 1 by `anneal_steps` (section 4.3)."""
    del sizes
    import deltavae_tf

    return deltavae_tf.KLAnnealing(
        hparams.anneal_steps, hparams.anneal_start, hparams.anneal_weight
    )
