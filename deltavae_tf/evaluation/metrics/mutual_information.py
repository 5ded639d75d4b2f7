"""How much the posteriors of different images differ: active units and I(x; z)."""

from typing import Any

from deltavae_tf import units
from deltavae_tf.evaluation import collapse, metric
from deltavae_tf.evaluation.context import Context
from deltavae_tf.evaluation.metric import Metric

_IN_BITS: dict[str, Any] = {
    "unit": "bits per example",
    "factor": float(units.bits(1.0)),
}


@metric.register(
    Metric(
        "active_units",
        "latents whose posterior mean moves with the data",
        title="active units",
        form="{:.0f}",
    ),
    Metric("units", "latents in all", form="{:.0f}"),
    split="training",
    kinds=("images",),
)
def active_units(context: Context) -> dict[str, float] | None:
    """Active units of Burda et al. (2016)."""
    if not context.has_latents:
        return None
    active, count = collapse.active_units(context.moments()["loc"])
    return {"active_units": active, "units": count}


@metric.register(
    Metric(
        "mutual_information_nats",
        "I(x; z) with the measured images as the data; at most ln of their number",
        title="I(x; z) bits",
        label="mutual information I(x; z)",
        form="{:.2f}",
        **_IN_BITS,
    ),
    Metric(
        "mutual_information_limit_nats",
        "ln N: what I(x; z) of N images cannot exceed",
        label="log N",
        form="{:.2f}",
        **_IN_BITS,
    ),
    split="training",
    kinds=("images",),
)
def mutual_information(context: Context) -> dict[str, float] | None:
    """I(x; z) of the posteriors of N images, and its upper limit ln N."""
    if not context.has_latents:
        return None
    moments = context.moments()
    found, limit = collapse.mutual_information(
        moments["loc"], moments["scale"], context.seed
    )
    return {"mutual_information_nats": found, "mutual_information_limit_nats": limit}
