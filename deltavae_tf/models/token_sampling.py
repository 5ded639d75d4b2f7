"""Draws tokens from logits: temperature, top-k, nucleus."""

from keras import ops

from deltavae_tf import errors, segments
from deltavae_tf.backend import Tensor

_NEVER = -1e30


def draw(
    logits: Tensor,
    uniform: Tensor,
    temperature: float | Tensor = 1.0,
    top_k: int = 0,
    top_p: float = 1.0,
) -> Tensor:
    """Draws a token for each row, by inverting the distribution function.

    PAD is never drawn: no sentence has it.

    Args:
      logits: float32 `[B, V]`.
      uniform: float32 `[B]` in (0, 1).
      temperature: float > 0 or scalar tensor; divides the logits.
      top_k: static int, only the k most probable tokens; 0: all.
      top_p: static float in (0, 1], only the most probable tokens that together just
        reach this probability (Holtzman et al. 2020, "nucleus"); 1: all.

    Returns:
      int32 `[B]`.
    """
    tokens = ops.arange(logits.shape[-1])
    logits = ops.where(ops.equal(tokens, segments.PAD), _NEVER, logits / temperature)
    logits = keep(logits, top_k, top_p)
    total = ops.cumsum(ops.softmax(logits), axis=-1)
    below = total <= uniform[:, None] * total[:, -1:]
    drawn = ops.sum(ops.cast(below, "int32"), axis=-1)
    return ops.minimum(drawn, logits.shape[-1] - 1)


def keep(logits: Tensor, top_k: int = 0, top_p: float = 1.0) -> Tensor:
    """Logits `[B, V]` with those that top-k and nucleus leave out at -1e30."""
    if top_k and top_k < logits.shape[-1]:
        smallest = ops.top_k(logits, top_k)[0][:, -1:]
        logits = ops.where(logits < smallest, _NEVER, logits)
    if top_p < 1.0:
        descending = ops.flip(ops.sort(logits, axis=-1), axis=-1)
        probability = ops.softmax(descending)
        before = ops.cumsum(probability, axis=-1) - probability
        # The most probable token stays, whatever rounding says.
        kept = ops.cast(ops.sum(ops.cast(before < top_p, "int32"), -1), "int32")
        last = ops.maximum(kept, 1) - 1
        smallest = ops.take_along_axis(descending, last[:, None], axis=-1)
        logits = ops.where(logits < smallest, _NEVER, logits)
    return logits


def check(temperature: float, top_k: int, top_p: float) -> None:
    """Raises a UserError unless these are settings that `draw` takes."""
    if not temperature > 0:
        raise errors.UserError(
            f"`temperature` must be above 0. Received: {temperature}"
        )
    if top_k < 0:
        raise errors.UserError(f"`top_k` must be 0 (all) or more. Received: {top_k}")
    if not 0 < top_p <= 1:
        raise errors.UserError(f"`top_p` must be in (0, 1]. Received: {top_p}")
