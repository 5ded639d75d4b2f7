"""The methods of the paper: names for combinations of prior, posterior and objective.

`method=beta_vae` in --hparams says three fields at once. Every other combination that
makes sense is said by the fields themselves: `prior=ar1,objective=beta,beta=0.5`.
"""

from collections.abc import Mapping

from deltavae_tf import errors

ROLES = ("prior", "posterior", "objective")
METHODS = {
    "delta_vae": ("ar1", "mean_field", "elbo"),
    "independent_delta_vae": ("standard_normal", "independent_delta", "elbo"),
    "vae": ("standard_normal", "mean_field", "elbo"),
    "beta_vae": ("standard_normal", "mean_field", "beta"),
    "free_bits": ("standard_normal", "mean_field", "free_bits"),
    "free_bits_per_channel": ("standard_normal", "mean_field", "free_bits_per_channel"),
    "kl_annealing": ("standard_normal", "mean_field", "kl_annealing"),
    "geco": ("standard_normal", "mean_field", "geco"),
    "autoregressive": ("none", "none", "elbo"),
}


def expand(method: str) -> dict[str, str]:
    """Prior, posterior and objective of a method."""
    if not isinstance(method, str) or method not in METHODS:
        raise errors.UserError(
            f"Unknown method {method!r}{errors.near(method, METHODS)} "
            f"Known: {', '.join(METHODS)}. Received: {method!r}"
        )
    return dict(zip(ROLES, METHODS[method], strict=True))


def name(values: Mapping[str, str]) -> str:
    """The method of three fields; a combination without a name has them joined."""
    parts = tuple(values[role] for role in ROLES)
    for method, combination in METHODS.items():
        if parts == combination:
            return method
    return "+".join(part for part in parts if part not in ("mean_field", "elbo"))
