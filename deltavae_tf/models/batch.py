"""What a model reads of a batch."""

from collections.abc import Mapping
from typing import Any

import keras
from keras import ops

from deltavae_tf import backend, errors
from deltavae_tf.backend import Tensor


def unpack(batch: Any) -> tuple[Tensor, Tensor, Tensor]:
    """Data, example index int32 `[B]` and mask float32 `[B]` of a batch."""
    if isinstance(batch, (tuple, list)):
        batch = batch[0]
    if not isinstance(batch, Mapping):
        batch = {"x": batch}
    names = [name for name in ("image", "tokens", "x") if name in batch]
    if len(names) != 1:
        raise errors.UserError(
            "A batch must hold one of 'image', 'tokens' or 'x'. "
            f"Received: {sorted(batch)}"
        )
    x = batch[names[0]]
    index = batch.get("index")
    size = ops.shape(x)[0]
    if index is None:
        index = ops.arange(size) + backend.replica_id() * size
    mask = batch.get("mask")
    if mask is None or len(mask.shape) != 1:
        mask = ops.ones((size,), dtype="float32")
    return x, index, ops.cast(mask, "float32")


def describe(batch: Any) -> dict[str, Any]:
    """Shape and dtype of an example, which a saved model is built anew from."""
    x = unpack(batch)[0]
    dtype = keras.backend.standardize_dtype(x.dtype)
    return {"shape": list(x.shape[1:]), "dtype": dtype}
