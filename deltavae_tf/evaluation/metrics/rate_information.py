"""What the rate could carry, and what the carried bits save."""

from collections.abc import Mapping

import numpy as np

from deltavae_tf import units
from deltavae_tf.distributions import information
from deltavae_tf.evaluation import metric
from deltavae_tf.evaluation.context import Context
from deltavae_tf.evaluation.metric import Metric

_LEAST_RATE = 0.01  # Nats: a gain over less auxiliary rate is noise.


@metric.register(
    Metric(
        "information_frontier_nats",
        "the most information that a posterior of this rate can carry",
        unit="bits per example",
        title="frontier bits",
        label="information frontier",
        form="{:.2f}",
        factor=float(units.bits(1.0)),
    ),
    kinds=("images",),
    cheap=True,
)
def frontier(context: Context) -> float | None:
    """The information frontier of the prior at the measured rate, nats."""
    if not context.has_latents:
        return None
    prior = context.model.prior
    if not hasattr(prior, "alpha"):
        context.remark(
            "No information frontier: it is known of AR(1) priors (alpha) only."
        )
        return None
    found = context.likelihood()
    rate = max(found["rate_nats"], found["committed_rate_nats"])
    alpha = np.asarray(prior.alpha, np.float64)
    return float(information.information_at_rate(rate, alpha, prior.event_shape[0]))


@metric.register(
    Metric(
        "gain",
        "distortion saved against the decoder alone, for each bit of auxiliary rate",
        title="gain",
        form="{:.2f}",
    ),
    cheap=True,
)
def gain(context: Context) -> float | None:
    """(twin's distortion - distortion) / auxiliary rate: 1 if no bit is wasted."""
    if context.twin_distortion is None:
        return None
    return gain_over(context.twin_distortion, context.likelihood())


def gain_over(twin_distortion: float, found: Mapping[str, float]) -> float | None:
    """The gain of measured numbers; None where the latents carry nothing.

    Args:
      twin_distortion: float, nats per example, of the decoder alone.
      found: with `distortion_nats` and `rate_aux_nats`.
    """
    rate = found["rate_aux_nats"]
    if rate < _LEAST_RATE:
        return None
    return (twin_distortion - found["distortion_nats"]) / rate
