"""What the model asks of a decoder, and of data; see `contract`."""

from typing import Any

import numpy as np
from keras import ops

from deltavae_tf import backend, errors
from deltavae_tf.backend import Tensor
from deltavae_tf.distributions import mixture_logistic
from deltavae_tf.models import wording


def check_distribution(decoder: Any, distribution: Any, x: Tensor) -> None:
    """Raises a UserError unless the decoder returned a distribution of such data."""
    name = f"The decoder `{wording.name(decoder)}`"
    if not callable(getattr(distribution, "log_prob", None)):
        raise errors.UserError(
            f"{name} must return a distribution, with `log_prob`. "
            f"Received: {wording.describe(distribution)}"
        )
    batch: Any = getattr(distribution, "batch_shape", None)
    event: Any = getattr(distribution, "event_shape", None)
    try:
        batch, event = tuple(batch), tuple(event)
    except (TypeError, ValueError):  # None, unknown or a structure: others look.
        return
    if not wording.agree(batch, x.shape[:1]) or not wording.agree(event, x.shape[1:]):
        raise errors.UserError(
            f"{name} must return a distribution over one example, so that log_prob(x) "
            "is [B]: batch shape [B] and event shape as x without its first axis "
            "(`tfd.Independent` makes batch axes event axes). "
            f"Received: batch shape [{wording.dims(batch)}], event shape "
            f"[{wording.dims(event)}] for {wording.describe(x)}"
        )


def distribution_without_data(decoder: Any, z: Tensor | None) -> Any:
    """p(x | z) where there is no x yet: the decoder's distribution, or a UserError."""
    name = f"The decoder `{wording.name(decoder)}`"
    try:
        distribution = decoder(z, None)
    except errors.UserError:
        raise
    except Exception as error:
        raise errors.UserError(
            f"{name} is called with x=None to `sample`: either it must not need x, or "
            "it must have `sample(z, keys, temperature)` and draw by itself. "
            f"Received: {wording.reason(error)}"
        ) from error
    if not callable(getattr(distribution, "sample", None)):
        raise errors.UserError(
            f"{name} must return a distribution, with `sample`. "
            f"Received: {wording.describe(distribution)}"
        )
    return distribution


def log_prob(decoder: Any, distribution: Any, x: Tensor) -> Tensor:
    """log p(x) of each example, float32 `[B]`, nats, or a UserError.

    Where x is outside of the values that the distribution is over (levels, categories),
    it is NaN, so that no compiled step can take it for a number.
    """
    check_distribution(decoder, distribution, x)
    kind, wanted = _inner(distribution), getattr(distribution, "dtype", None)
    floats = "float" in wording.dtype(x)
    refused = f"The distribution of the decoder `{wording.name(decoder)}` is over "
    if floats and isinstance(kind, backend.tfd.Categorical):
        # TFP would cut them off: [0, 1] to zeros.
        raise errors.UserError(
            f"{refused}{wording.short(wanted)}: give it integers. "
            f"Received: {wording.describe(x)}"
        )
    bounds = value_range(distribution)
    check_values(decoder, bounds, x)  # First: a distribution may say it in other words.
    try:
        found = distribution.log_prob(x)
    except errors.UserError:
        raise
    except Exception as error:
        raise errors.UserError(
            f"{refused}{wording.short(wanted)} and cannot take the data: cast one to "
            f"the other's dtype and shape. {wording.reason(error)} "
            f"Received: {wording.describe(x)}"
        ) from error
    if len(found.shape) != 1 or not wording.agree(found.shape, x.shape[:1]):
        raise errors.UserError(
            f"The decoder `{wording.name(decoder)}` must return a distribution whose "
            "log_prob(x) is [B] (`tfd.Independent` sums over axes). "
            f"Received: log_prob {wording.describe(found)} for {wording.describe(x)}"
        )
    found = ops.cast(found, "float32")
    if bounds is None:
        return found
    outside = ops.logical_or(ops.less(x, bounds[0]), ops.greater(x, bounds[1]))
    outside = ops.any(ops.reshape(outside, (ops.shape(x)[0], -1)), axis=1)
    return ops.where(outside, np.float32(np.nan), found)


def value_range(distribution: Any) -> tuple[int, int] | None:
    """(lowest, highest) value that a distribution is over, ints; None if not known."""
    inner, tfd = _inner(distribution), backend.tfd
    if isinstance(inner, mixture_logistic.DiscretizedLogisticMixture):
        return 0, inner.num_levels - 1
    if isinstance(inner, tfd.Categorical):
        parameter = inner.logits if inner.logits is not None else inner.probs
        size = parameter.shape[-1]
        return None if size is None else (0, size - 1)
    return (0, 1) if isinstance(inner, tfd.Bernoulli) else None


def check_values(decoder: Any, bounds: tuple[int, int] | None, x: Tensor) -> None:
    """Raises a UserError if seen data are outside of bounds (lowest, highest)."""
    x = backend.concrete(x)
    if x is None or not x.size or bounds is None:
        return
    low, high = x.min(), x.max()
    if not (bounds[0] <= low and high <= bounds[1]):
        wrong = low if not bounds[0] <= low else high
        raise errors.UserError(
            f"The data must lie in [{bounds[0]}, {bounds[1]}], the values of the "
            f"decoder `{wording.name(decoder)}`. Received: {wrong}"
        )


def _inner(distribution):
    while isinstance(distribution, backend.tfd.Independent):
        distribution = distribution.distribution
    return distribution
