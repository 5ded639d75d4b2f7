"""What the model asks of an encoder, a decoder and a prior; a breach is one line.

Shapes and dtypes are looked at while a graph is made: its steps pay nothing. Values are
looked at where they can be seen: in calls that are not compiled, of which `fit` and its
kin make one, on a few examples, before the first step.
"""

import inspect

import keras
import numpy as np
from keras import ops

from deltavae_tf import backend, errors
from deltavae_tf.distributions import mixture_logistic

_OURS = "training", "mask"  # Keras fills these arguments of `call` itself.


def check_parts(encoder, decoder, auxiliary_prior):
    """Raises a UserError unless the parts can be called as the model calls them."""
    if encoder is not None:
        check_layer("encoder", encoder, ("x",))
    check_layer("decoder", decoder, ("z", "x"))
    if auxiliary_prior is None:
        return
    if encoder is None:
        raise errors.UserError(
            "Without an encoder there are no latents for an auxiliary prior. "
            f"Received: {auxiliary_prior!r}"
        )
    if not isinstance(auxiliary_prior, keras.layers.Layer):
        raise errors.UserError(
            "The auxiliary prior must be a layer that is a `LatentPrior`, such as "
            f"`LSTMPrior`. Received: {auxiliary_prior!r}"
        )


def check_layer(role, part, takes):
    """Raises a UserError unless a part is a layer that takes these arguments.

    Args:
      role: str, "encoder" or "decoder".
      part: what the user gave.
      takes: names of the arguments that `part` is called with, in order.
    """
    if not isinstance(part, keras.layers.Layer):
        raise errors.UserError(
            f"The {role} must be a Keras layer or model. Received: {part!r}"
        )
    signature = inspect.signature(part.call)
    given = list(signature.parameters.values())
    places = [p for p in given if p.kind <= p.POSITIONAL_OR_KEYWORD]
    room = [p for p in places if p.name not in _OURS]
    needed = [
        p for p in given if p.default is p.empty and p.kind not in (2, 4)
    ]  # *args and **kwargs need nothing.
    many = any(p.kind == p.VAR_POSITIONAL for p in given)
    if (len(room) < len(takes) and not many) or len(needed) > len(takes):
        raise errors.UserError(
            f"The {role} `{_name(part)}` is called as {role}({', '.join(takes)}). "
            f"Received: call{signature}"
        )


def check_posterior(encoder, outputs, x, prior):
    """The encoder's loc and scale, float32 `[B, n, d]`, or a UserError.

    Args:
      encoder: layer.
      outputs: what it returned.
      x: the data, `[B, ...]`.
      prior: the prior, whose event shape is `[n, d]` or unknown.
    """
    name = f"The encoder `{_name(encoder)}`"
    if not isinstance(outputs, (tuple, list)) or len(outputs) != 2:
        raise errors.UserError(
            f"{name} must return loc and scale, each [B, n, d]. "
            f"Received: {_describe(outputs)}"
        )
    shapes = [getattr(t, "shape", None) for t in outputs]
    if (
        None in shapes
        or len(shapes[0]) != 3
        or not _agree(shapes[0], shapes[1])
        or not _agree(shapes[0][:1], x.shape[:1])
    ):
        raise errors.UserError(
            f"{name} must return loc and scale, each [B, n, d]. "
            f"Received: {_describe(outputs)} for {_describe(x)}"
        )
    if not all("float" in _dtype(t) for t in outputs):
        raise errors.UserError(
            f"{name} must return a loc and scale of floats. "
            f"Received: {_describe(outputs)}"
        )
    wanted = tuple(getattr(prior, "event_shape", None) or (None, None))
    if not _agree(shapes[0][1:], wanted):
        raise errors.UserError(
            f"{name} and the prior must have the same n (time steps) and d (channels): "
            f"the prior `{_name(prior)}` is over [{_dims(wanted)}]. "
            f"Received: latents [{_dims(shapes[0][1:])}]"
        )
    loc, scale = (ops.cast(t, "float32") for t in outputs)
    check_posterior_values(encoder, loc, scale)
    return loc, scale


def check_posterior_values(encoder, loc, scale):
    """Raises a UserError where seen values of loc and scale cannot be a posterior's."""
    loc, scale = backend.concrete(loc), backend.concrete(scale)
    if loc is None or scale is None:
        return
    name = f"The encoder `{_name(encoder)}`"
    wrong = scale[~((scale > 0) & np.isfinite(scale))]
    if wrong.size:
        raise errors.UserError(
            f"{name} must return a finite scale above 0: end it with "
            f"`ops.softplus(raw)`. Received: scale {wrong[0]}"
        )
    wrong = loc[~np.isfinite(loc)]
    if wrong.size:
        raise errors.UserError(
            f"{name} must return a finite loc. Received: loc {wrong[0]}"
        )


def check_distribution(decoder, distribution, x):
    """Raises a UserError unless the decoder returned a distribution of such data."""
    name = f"The decoder `{_name(decoder)}`"
    if not callable(getattr(distribution, "log_prob", None)):
        raise errors.UserError(
            f"{name} must return a distribution, with `log_prob`. "
            f"Received: {_describe(distribution)}"
        )
    batch = getattr(distribution, "batch_shape", None)
    event = getattr(distribution, "event_shape", None)
    try:
        batch, event = tuple(batch), tuple(event)
    except (TypeError, ValueError):  # None, unknown or a structure: others look.
        return
    if not _agree(batch, x.shape[:1]) or not _agree(event, x.shape[1:]):
        raise errors.UserError(
            f"{name} must return a distribution over one example, so that log_prob(x) "
            "is [B]: batch shape [B] and event shape as x without its first axis "
            "(`tfd.Independent` makes batch axes event axes). "
            f"Received: batch shape [{_dims(batch)}], event shape [{_dims(event)}] for "
            f"{_describe(x)}"
        )


def distribution_without_data(decoder, z):
    """p(x | z) where there is no x yet: the decoder's distribution, or a UserError."""
    name = f"The decoder `{_name(decoder)}`"
    try:
        distribution = decoder(z, None)
    except errors.UserError:
        raise
    except Exception as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise errors.UserError(
            f"{name} is called with x=None to `sample`: either it must not need x, or "
            "it must have `sample(z, keys, temperature)` and draw by itself. "
            f"Received: {reason[:200]}"
        ) from error
    if not callable(getattr(distribution, "sample", None)):
        raise errors.UserError(
            f"{name} must return a distribution, with `sample`. "
            f"Received: {_describe(distribution)}"
        )
    return distribution


def log_prob(decoder, distribution, x):
    """log p(x) of each example, float32 `[B]`, nats, or a UserError.

    Where x is outside of the values that the distribution is over (levels, categories),
    it is NaN, so that no compiled step can take it for a number.
    """
    check_distribution(decoder, distribution, x)
    kind, wanted = _inner(distribution), getattr(distribution, "dtype", None)
    floats = "float" in _dtype(x)
    refused = f"The distribution of the decoder `{_name(decoder)}` is over "
    if floats and isinstance(kind, backend.tfd.Categorical):
        # TFP would cut them off: [0, 1] to zeros.
        raise errors.UserError(
            f"{refused}{_short(wanted)}: give it integers. Received: {_describe(x)}"
        )
    try:
        found = distribution.log_prob(x)
    except errors.UserError:
        raise
    except Exception as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise errors.UserError(
            f"{refused}{_short(wanted)} and cannot take the data: {reason[:200]} Cast "
            f"one to the other's dtype and shape. Received: {_describe(x)}"
        ) from error
    if len(found.shape) != 1 or not _agree(found.shape, x.shape[:1]):
        raise errors.UserError(
            f"The decoder `{_name(decoder)}` must return a distribution whose "
            "log_prob(x) is [B] (`tfd.Independent` sums over axes). "
            f"Received: log_prob {_describe(found)} for {_describe(x)}"
        )
    found = ops.cast(found, "float32")
    bounds = value_range(distribution)
    if bounds is None:
        return found
    check_values(decoder, bounds, x)
    outside = ops.logical_or(ops.less(x, bounds[0]), ops.greater(x, bounds[1]))
    outside = ops.any(ops.reshape(outside, (ops.shape(x)[0], -1)), axis=1)
    return ops.where(outside, np.float32(np.nan), found)


def value_range(distribution):
    """(lowest, highest) value that a distribution is over, ints; None if not known."""
    inner, tfd = _inner(distribution), backend.tfd
    if isinstance(inner, mixture_logistic.DiscretizedLogisticMixture):
        return 0, inner.num_levels - 1
    if isinstance(inner, tfd.Categorical):
        parameter = inner.logits if inner.logits is not None else inner.probs
        size = parameter.shape[-1]
        return None if size is None else (0, size - 1)
    return (0, 1) if isinstance(inner, tfd.Bernoulli) else None


def check_values(decoder, bounds, x):
    """Raises a UserError if seen data are outside of bounds (lowest, highest)."""
    x = backend.concrete(x)
    if x is None or not x.size or bounds is None:
        return
    low, high = x.min(), x.max()
    if not (bounds[0] <= low and high <= bounds[1]):
        wrong = low if not bounds[0] <= low else high
        raise errors.UserError(
            f"The data must lie in [{bounds[0]}, {bounds[1]}], the values of the "
            f"decoder `{_name(decoder)}`. Received: {wrong}"
        )


def rate(prior, loc, scale, z, segments):
    """KL of the posterior to a prior, float32 `[B]`, nats, or a UserError."""
    wanted = tuple(getattr(prior, "event_shape", (None, None)))
    if not _agree(loc.shape[1:], wanted):
        raise errors.UserError(
            f"The prior `{_name(prior)}` is over [{_dims(wanted)}], n time steps of d "
            f"channels. Received: latents [{_dims(loc.shape[1:])}]"
        )
    found = prior.rate(loc, scale, z, segments)
    if len(found.shape) != 1 or not _agree(found.shape, loc.shape[:1]):
        raise errors.UserError(
            f"The rate of the prior `{_name(prior)}` must be [B], one number for each "
            f"example. Received: {_describe(found)} for latents {_describe(loc)}"
        )
    return found


def check_terms(model, terms):
    """Raises a NotFiniteError that names the first term seen not to be finite."""
    for name, value in terms.items():
        value = backend.concrete(value)
        if value is not None and not np.all(np.isfinite(value)):
            raise not_finite(model, name, value[~np.isfinite(value)].ravel()[0])


def not_finite(model, name, value, where=""):
    """The NotFiniteError of a term, and whom to ask."""
    part, role = (model.decoder, "decoder") if "distortion" in name else (
        model.encoder, "encoder")  # fmt: skip
    return errors.NotFiniteError(
        f"`{name}` is not finite{where}: look at the {role} `{_name(part)}`, the data "
        f"and the learning rate. Received: {value}"
    )


def _inner(distribution):
    while isinstance(distribution, backend.tfd.Independent):
        distribution = distribution.distribution
    return distribution


def _agree(shape, other):
    """Whether two shapes can be the same, as far as they are known."""
    shape, other = tuple(shape), tuple(other)
    if len(shape) != len(other):
        return False
    return all(
        a is None or b is None or a == b for a, b in zip(shape, other, strict=True)
    )


def _name(part):
    return type(part).__name__


def _dtype(x):
    return keras.backend.standardize_dtype(x.dtype)


def _short(dtype):
    return getattr(dtype, "name", None) or str(getattr(dtype, "__name__", dtype))


def _dims(shape):
    return ", ".join("B" if size is None else str(size) for size in shape)


def _describe(value):
    if isinstance(value, (tuple, list)):
        return f"({', '.join(_describe(v) for v in value)})"
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        return f"{_dtype(value)} [{_dims(value.shape)}]"
    return f"{type(value).__name__} {str(value)[:60]}"
