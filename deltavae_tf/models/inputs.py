"""What `fit` and its kin are given, looked at before anything moves.

Arrays are looked at whole; batches of a stream (tf.data, generators) as they come, on
their way to the step; the model's own parts on a few examples, in one call that is not
compiled.
"""

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from keras import ops

from deltavae_tf import backend, errors
from deltavae_tf.models import batch as batches
from deltavae_tf.models import decoder_contract

_ROWS = 4  # Enough to tell one number for all from one for each.


def checked(model: Any, x: Any, sample_weight: Any = None) -> Any:
    """What to give to Keras instead of `x`, weights within; the model's are made.

    Args:
      model: `DeltaVAE`.
      x: what `fit` takes as x.
      sample_weight: what it takes as such.

    Raises:
      UserError: the data, or a part of the model, cannot be used.
    """
    if x is None:
        raise errors.UserError("There are no data: give `x`. Received: None")
    if isinstance(x, (list, tuple, Mapping)) or hasattr(x, "shape"):
        check_arrays(model, x, sample_weight)
        # Keras would drop the weights of data without targets.
        return x if sample_weight is None else batches.weighted(x, sample_weight)
    if sample_weight is not None:
        raise errors.UserError(
            "The weights of a stream come with its batches, (x, y, sample_weight). "
            f"Received: sample_weight beside a {type(x).__name__}"
        )
    if backend.is_dataset(x):
        if not model.built:
            look_at(model, _first(iter(x)))
        return backend.map_checked(x, lambda batch: _check(model, batch))
    if isinstance(x, Iterator):
        first = _first(x)
        if not model.looked_at:
            look_at(model, first)
        return _generator(model, first, x)
    if not model.looked_at:
        # A PyDataset counts its batches; a loader is begun anew by each loop.
        look_at(model, x[0] if hasattr(x, "__getitem__") else _first(iter(x)))
    return x


def check_arrays(model: Any, x: Any, sample_weight: Any = None) -> None:
    """Raises a UserError unless arrays are data of this model."""
    batch, _ = batches.split((x,))
    data = batch[batches.kind(batch)]
    if len(getattr(data, "shape", ())) and not data.shape[0]:
        raise errors.UserError(
            "The data are empty: there are no examples to take a mean of. "
            f"Received: {list(data.shape)}"
        )
    weighted = (batch, None, batches.as_array(sample_weight))
    weight = backend.concrete(batches.unpack(weighted)[2])
    if weight is not None and not np.any(weight):
        raise errors.UserError(
            "There are no examples: mask or weights are 0 for all of them. "
            f"Received: {len(weight)} weights of 0"
        )
    _check_finite(data)
    if not model.looked_at:
        look_at(model, batch)
    decoder_contract.check_values(model.decoder, model.bounds, data)


def check_batch(model: Any, batch: Any) -> None:
    """Raises a UserError unless a batch of a stream can be trained on."""
    batch, sample_weight = batches.split(batch)
    data = batch[batches.kind(batch)]
    batches.unpack((batch, None, sample_weight))
    _check_finite(data)
    decoder_contract.check_values(model.decoder, model.bounds, data)


def look_at(model: Any, batch: Any) -> None:
    """Calls the model once, for its weights and to see whether its parts are right."""
    batch, sample_weight = batches.split(batch)
    names = (batches.kind(batch), "index", "mask")
    rows = {k: backend.first_replica(batch[k])[:_ROWS] for k in names if k in batch}
    rows = {k: ops.convert_to_tensor(v) for k, v in rows.items()}
    check_batch(model, rows)
    with backend.scope_of(model):
        model.look_at(rows)


def _generator(model, first, rest):
    """Batches as Keras wants them of a generator, looked at one by one."""
    for batch in itertools.chain([first], rest):
        _check(model, batch)
        yield batch if isinstance(batch, tuple) else (batch,)


def _check(model, batch):
    try:
        check_batch(model, batch)
    except errors.UserError as error:
        model.refusal = error  # TensorFlow will raise an error of its own for it.
        raise


def _first(iterator):
    try:
        return next(iterator)
    except StopIteration:
        raise errors.UserError(
            "The data are empty: there is no batch. Received: "
            f"{type(iterator).__name__}"
        ) from None


def _check_finite(data):
    seen = backend.concrete(data)
    if seen is None or seen.dtype.kind != "f":
        return
    if not np.all(np.isfinite(seen)):
        raise errors.UserError(
            f"The data must be finite. Received: {seen[~np.isfinite(seen)].ravel()[0]}"
        )
