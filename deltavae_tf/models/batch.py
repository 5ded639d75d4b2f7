"""What a model reads of a batch."""

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
from keras import ops

from deltavae_tf import backend, errors
from deltavae_tf.backend import Tensor

_KINDS = ("image", "tokens", "x")


def unpack(batch: Any) -> tuple[Tensor, Tensor, Tensor]:
    """Data, example index int32 `[B]` and weight float32 `[B]` of a batch.

    Args:
      batch: the data alone; or a dict with them as `image`, `tokens` or `x` and, if
        wanted, `index` ints `[B]` and `mask` `[B]`; or a tuple as Keras makes it, of
        either, targets (of no use here) and the weight of each example.

    Returns:
      The data; the examples' numbers, by default their place in the batch of all
      replicas; the mask times the weights, by default 1. (A weight below 0 is NaN
      here, so that no mean is taken with it.)
    """
    batch, sample_weight = split(batch)
    x = batch[kind(batch)]
    if not len(getattr(x, "shape", ())):
        raise errors.UserError(
            f"The data must be [B, ...], an example a row. Received: {x!r}"
        )
    size = ops.shape(x)[0] if x.shape[0] is None else x.shape[0]
    index = batch.get("index")
    if index is None:
        index = ops.arange(size) + backend.examples_before(size)
    elif not _is_row(index, x) or "int" not in _dtype(index):
        raise errors.UserError(
            "`index`, the examples' numbers, must be ints [B]. "
            f"Received: {_dtype(index)} {list(index.shape)}"
        )
    weight = None
    for name, given in (("mask", batch.get("mask")), ("sample_weight", sample_weight)):
        if given is None:
            continue
        if not _is_row(given, x):
            raise errors.UserError(
                f"`{name}` must be [B], a weight for each example. "
                f"Received: {list(getattr(given, 'shape', [given]))} for data "
                f"{list(x.shape)}"
            )
        _check_weights(name, given)
        given = ops.cast(given, "float32")
        weight = given if weight is None else weight * given
    if weight is None:
        return x, index, ops.ones((size,), dtype="float32")
    return x, index, ops.where(weight < 0, np.float32(np.nan), weight)


def split(batch: Any) -> tuple[Mapping[str, Any], Any]:
    """The dict of a batch as `unpack` takes it, and Keras's weights or None."""
    sample_weight = None
    if isinstance(batch, tuple) and 1 <= len(batch) <= 3:
        batch, *rest = batch
        sample_weight = rest[1] if len(rest) == 2 else None
    if isinstance(batch, (tuple, list)):
        raise errors.UserError(
            "The data must be one array, or a dict with it, not a list of arrays. "
            f"Received: a {type(batch).__name__} of {len(batch)}"
        )
    if not isinstance(batch, Mapping):
        batch = {"x": batch}
    return batch, sample_weight


def weighted(x: Any, sample_weight: Any) -> dict[str, Any]:
    """A batch whose mask is its mask times the weights of its examples."""
    batch, _ = split((x,))
    weight = unpack((batch, None, as_array(sample_weight)))[2]
    return {**batch, "mask": ops.convert_to_numpy(weight)}


def as_array(weights: Any) -> Any:
    """Weights as an array, if they are a list; None for None."""
    bare = weights is None or hasattr(weights, "shape")
    return weights if bare else np.asarray(weights)


def kind(batch: Mapping[str, Any]) -> str:
    """The name that the data have in a batch."""
    names = [name for name in _KINDS if name in batch]
    if len(names) != 1:
        raise errors.UserError(
            "A batch must hold one of 'image', 'tokens' or 'x'. "
            f"Received: {sorted(batch)}"
        )
    return names[0]


def describe(batch: Any) -> dict[str, Any]:
    """Shape and dtype of an example, which a saved model is built anew from."""
    x = unpack(batch)[0]
    return {"shape": list(x.shape[1:]), "dtype": _dtype(x)}


def _is_row(given, x):
    """Whether there is one for each example, as far as sizes are known."""
    shape = getattr(given, "shape", None)
    if shape is None or len(shape) != 1:
        return False
    return None in (shape[0], x.shape[0]) or shape[0] == x.shape[0]


def _check_weights(name, given):
    seen = backend.concrete(given)
    if seen is None:
        return
    seen = np.asarray(seen, np.float64)
    wrong = seen[~((seen >= 0) & np.isfinite(seen))]
    if wrong.size:
        raise errors.UserError(
            f"`{name}`, the weights of examples, must be finite and at least 0. "
            f"Received: {wrong[0]}"
        )


def _dtype(x):
    return keras.backend.standardize_dtype(x.dtype)
