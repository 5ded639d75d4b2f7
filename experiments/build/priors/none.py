"""No latents: the autoregressive baseline."""

from experiments.build import components

_ALONE = "a decoder alone has neither latents nor a rate"


@components.prior(
    "none",
    label="decoder alone",
    color="black",
    marker="_",
    needs={"posterior": (("none",), _ALONE), "objective": (("elbo",), _ALONE)},
)
def make(hparams, sizes):
    """No latents: the decoder alone, the baseline of Tables 1 and 2."""
    del hparams, sizes
