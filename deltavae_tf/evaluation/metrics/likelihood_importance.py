"""Importance-weighted bounds on the first held-out images: tighter than the ELBO."""

from typing import Any

import numpy as np

from deltavae_tf import units
from deltavae_tf.errors import UserError
from deltavae_tf.evaluation import importance, metric
from deltavae_tf.evaluation.context import Context
from deltavae_tf.evaluation.metric import Metric

_MOST = 1024
_POWERS = [2**i for i in range(_MOST.bit_length())]
_PRIORS = {"training": "importance_bpd", "auxiliary": "importance_aux_bpd"}


@metric.register(
    *(
        Metric(
            f"{name}_k{k}",
            f"bound with {k} samples of z, {prior} prior",
            unit="bits/dim",
            label=f"bound with {k} samples, {prior} prior",
            form="{:.4f}",
        )
        for prior, name in _PRIORS.items()
        for k in _POWERS
    ),
    Metric("importance_examples", "images of these bounds", form="{:,.0f}"),
    kinds=("images",),
)
def bounds(context: Context) -> dict[str, float] | None:
    """The bounds with 1, 2, 4, ..., K samples under both priors, bits/dim."""
    samples = context.limits.importance_samples
    if not samples or not context.has_latents:
        return None
    if samples not in _POWERS:
        raise UserError(
            f"`importance_samples` must be a power of two, at most {_MOST}. "
            f"Received: {samples}"
        )
    data = context.examples.batches(context.limits.importance_examples)
    unit: Any = context.examples.unit  # `BitsPerDim`: these are of images.
    num_dims = unit.num_dims
    found: dict[str, float] = {}
    for prior, name in _PRIORS.items():
        if prior == "auxiliary" and context.model.auxiliary_prior is None:
            continue
        weights = importance.ImportanceWeights(context.model, prior)(data, samples)
        found["importance_examples"] = len(weights)
        for k, bound in importance.bounds(weights).items():
            bpd = units.bits_per_dim(bound, num_dims)
            found[f"{name}_k{k}"] = float(np.mean(bpd))
    return found
