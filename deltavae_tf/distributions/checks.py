"""What distributions ask of the values they are given: shapes, and ranges."""

from collections.abc import Sequence

import numpy as np
from keras import ops

from deltavae_tf import backend, errors


def check_event(name: str, value: backend.Tensor, event: Sequence[int | None]) -> None:
    """Refuses a value whose last dimensions are not those of one event.

    Broadcasting would take a missing axis, or one of size 1, and give a plausible
    number. Dimensions that a compiled function does not know yet (None) pass.

    Args:
      name: str, what the value is called in the message.
      value: tensor or array `[..., *event]`.
      event: ints, the shape of one event.

    Raises:
      UserError: the shapes differ; the message has both.
    """
    shape = getattr(value, "shape", ())
    if getattr(shape, "rank", 0) is None:  # TensorFlow knows nothing of it yet.
        return
    found = tuple(shape)[-len(event) :]
    same = len(found) == len(event) and all(
        None in (a, b) or a == b for a, b in zip(found, event, strict=True)
    )
    if not same:
        wanted = ", ".join("..." if n is None else str(n) for n in event)
        raise errors.UserError(
            f"`{name}` must be [..., {wanted}]. Received: {list(shape)}"
        )


def is_integer_in(value: backend.Tensor, low: int, high: int) -> backend.Tensor:
    """Whether each number is an integer in [low, high]: bool, of the value's shape.

    Args:
      value: integer or float tensor; NaN is no integer.
      low: int.
      high: int.
    """
    # As float32: a bound need not fit into the value's own dtype, such as uint8.
    value = ops.cast(value, "float32")
    inside = ops.logical_and(value >= low, value <= high)
    return ops.logical_and(inside, ops.equal(value, ops.floor(value)))


def require(good: backend.Tensor, value: backend.Tensor, message: str) -> None:
    """Refuses a value unless `good` holds everywhere, where both are concrete.

    Inside a compiled function there is nothing to look at, and nothing is checked.

    Args:
      good: bool tensor of the shape of `value`.
      value: tensor.
      message: str, what the value must be.

    Raises:
      UserError: the message, and five of the values that are not good.
    """
    good, value = backend.concrete(good), backend.concrete(value)
    if good is None or value is None:
        return
    if not np.all(good):
        raise errors.UserError(f"{message} Received: {value[~good][:5].tolist()}")
