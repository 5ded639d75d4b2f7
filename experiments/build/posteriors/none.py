"""No latents."""

from experiments.build import components


@components.posterior(
    "none", needs={"prior": (("none",), "a prior needs a posterior: see mean_field")}
)
def make(hparams, sizes, encoder, prior):
    """No latents: goes with prior=none."""
    del hparams, sizes, encoder, prior
