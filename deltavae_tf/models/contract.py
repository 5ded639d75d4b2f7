"""What the model asks of an encoder, a decoder and a prior; a breach is one line.

Shapes and dtypes are looked at while a graph is made: its steps pay nothing. Values are
looked at where they can be seen: in calls that are not compiled, of which `fit` and its
kin make one, on a few examples, before the first step.
"""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from deltavae_tf import backend, errors
from deltavae_tf.backend import Tensor
from deltavae_tf.models import wording

_OURS = "training", "mask"  # Keras fills these arguments of `call` itself.


def check_parts(encoder: Any, decoder: Any, auxiliary_prior: Any) -> None:
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


def check_layer(role: str, part: Any, takes: Sequence[str]) -> None:
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
            f"The {role} `{wording.name(part)}` is called as "
            f"{role}({', '.join(takes)}). Received: call{signature}"
        )


def check_posterior(
    encoder: Any, outputs: Any, x: Tensor, prior: Any
) -> tuple[Tensor, Tensor]:
    """The encoder's loc and scale, float32 `[B, n, d]`, or a UserError.

    Args:
      encoder: layer.
      outputs: what it returned.
      x: the data, `[B, ...]`.
      prior: the prior, whose event shape is `[n, d]` or unknown.
    """
    name = f"The encoder `{wording.name(encoder)}`"
    if not isinstance(outputs, (tuple, list)) or len(outputs) != 2:
        raise errors.UserError(
            f"{name} must return loc and scale, each [B, n, d]. "
            f"Received: {wording.describe(outputs)}"
        )
    shapes: list[Any] = [getattr(t, "shape", None) for t in outputs]
    if (
        None in shapes
        or len(shapes[0]) != 3
        or not wording.agree(shapes[0], shapes[1])
        or not wording.agree(shapes[0][:1], x.shape[:1])
    ):
        raise errors.UserError(
            f"{name} must return loc and scale, each [B, n, d]. "
            f"Received: {wording.describe(outputs)} for {wording.describe(x)}"
        )
    if not all("float" in wording.dtype(t) for t in outputs):
        raise errors.UserError(
            f"{name} must return a loc and scale of floats. "
            f"Received: {wording.describe(outputs)}"
        )
    wanted = tuple(getattr(prior, "event_shape", None) or (None, None))
    if not wording.agree(shapes[0][1:], wanted):
        raise errors.UserError(
            f"{name} and the prior must have the same n (time steps) and d (channels): "
            f"the prior `{wording.name(prior)}` is over [{wording.dims(wanted)}]. "
            f"Received: latents [{wording.dims(shapes[0][1:])}]"
        )
    loc, scale = (ops.cast(t, "float32") for t in outputs)
    check_posterior_values(encoder, loc, scale)
    return loc, scale


def check_posterior_values(encoder: Any, loc: Tensor, scale: Tensor) -> None:
    """Raises a UserError where seen values of loc and scale cannot be a posterior's."""
    loc, scale = backend.concrete(loc), backend.concrete(scale)
    if loc is None or scale is None:
        return
    name = f"The encoder `{wording.name(encoder)}`"
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


def rate(
    prior: Any, loc: Tensor, scale: Tensor, z: Tensor, segments: Tensor | None
) -> Tensor:
    """KL of the posterior to a prior, float32 `[B]`, nats, or a UserError."""
    wanted = tuple(getattr(prior, "event_shape", (None, None)))
    if not wording.agree(loc.shape[1:], wanted):
        raise errors.UserError(
            f"The prior `{wording.name(prior)}` is over [{wording.dims(wanted)}], n "
            "time steps of d channels. "
            f"Received: latents [{wording.dims(loc.shape[1:])}]"
        )
    found = prior.rate(loc, scale, z, segments)
    if len(found.shape) != 1 or not wording.agree(found.shape, loc.shape[:1]):
        raise errors.UserError(
            f"The rate of the prior `{wording.name(prior)}` must be [B], one number "
            f"for each example. Received: {wording.describe(found)} for latents "
            f"{wording.describe(loc)}"
        )
    return found


def check_terms(model: Any, terms: Mapping[str, Tensor]) -> None:
    """Raises a NotFiniteError that names the first term seen not to be finite."""
    for name, value in terms.items():
        value = backend.concrete(value)
        if value is not None and not np.all(np.isfinite(value)):
            raise not_finite(model, name, value[~np.isfinite(value)].ravel()[0])


def not_finite(
    model: Any, name: str, value: Any, where: str = ""
) -> errors.NotFiniteError:
    """The NotFiniteError of a term, and whom to ask."""
    of_decoder = "distortion" in name or model.encoder is None
    role = "decoder" if of_decoder else "encoder"
    part = wording.name(getattr(model, role))
    return errors.NotFiniteError(
        f"`{name}` is not finite{where}: look at the {role} `{part}`, the data "
        f"and the learning rate. Received: {value}"
    )
