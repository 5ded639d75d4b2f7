"""What an image data set is once it is read: a `Split`; `Parts`, what text shares.

Needs NumPy alone. Batches are made by `data.images.batches` for TensorFlow and by
`data.images.resident` for JAX.
"""

import dataclasses

import numpy as np

from data.reading import errors


class Parts:
    """Parts of a split: what all kinds of examples share.

    A frozen dataclass with a `name` and a `note` that has `_rows(where)`, the fields of
    its examples in a slice.

    Attributes:
      examples: str, what an example is called.
    """

    examples = "examples"

    def first(self, limit):
        """The split of the first `limit` examples, or of all where there are fewer."""
        if limit < 1:
            raise errors.DataError(f"`limit` must be at least 1. Received: {limit}")
        if limit >= len(self):
            return self
        note = f"first {limit:,} of {len(self):,} {self.examples}"
        return self._part(slice(limit), note)

    def hold_out(self, count):
        """Two splits: all but the last `count` examples, and those."""
        if not 0 < count < len(self):
            raise errors.DataError(
                f"{self.name}: `count` must be in (0, {len(self)}). Received: {count}"
            )
        kept = f"all but the last {count:,} {self.examples}"
        held = f"the last {count:,} training {self.examples}"
        return (
            self._part(slice(None, -count), kept),
            self._part(slice(-count, None), held),
        )

    def _part(self, where, note):
        return dataclasses.replace(
            self,
            **self._rows(where),
            note=f"{note} ({self.note})" if self.note else note,
        )


@dataclasses.dataclass(frozen=True, eq=False)
class Split(Parts):
    """One split of an image data set, in memory.

    Attributes:
      image: uint8 `[N, H, W, C]`.
      label: int32 `[N]`.
      index: int32 `[N]`, unique: noise drawn per example depends on it alone.
      name: str, such as "cifar10/test".
      note: str, what a number measured on this split has to say beside it, such
        as "9,980 of 10,000 images"; empty where the split is the official one.
    """

    image: np.ndarray
    label: np.ndarray
    index: np.ndarray
    name: str
    note: str = ""

    examples = "images"
    parallel_reads = None  # Not a field: batches are gathered one after the other.

    def __post_init__(self):
        _check_array(self.name, "image", self.image, np.uint8, rank=4)
        for field in ("label", "index"):
            _check_array(self.name, field, getattr(self, field), np.int32, rank=1)
        lengths = [len(self.image), len(self.label), len(self.index)]
        if len(set(lengths)) != 1 or not lengths[0]:
            raise errors.DataError(
                f"{self.name}: `image`, `label` and `index` must be equally long and "
                f"not empty. Received: lengths {lengths}"
            )
        if len(np.unique(self.index)) != len(self.index):
            raise errors.DataError(
                f"{self.name}: `index` must be unique. Received: "
                f"{len(np.unique(self.index))} values for {len(self.index)} examples"
            )

    def __len__(self):
        return len(self.image)

    def columns(self):
        """The batch's entries for the whole split: dict of arrays `[N, ...]`."""
        return {
            "image": self.image,
            "label": self.label,
            "index": self.index,
            "mask": np.ones([len(self)], np.float32),
        }

    def gatherer(self):
        """A function from positions int64 `[B]` to the batch's entries there; for
        tf.data."""
        import tensorflow as tf

        # Where there is a GPU, a constant would be put on it and copied back.
        with tf.device("CPU:0"):
            columns = {k: tf.constant(v) for k, v in self.columns().items()}
        return lambda positions: {
            k: tf.gather(v, positions) for k, v in columns.items()
        }

    def _rows(self, where):
        columns = ("image", "label", "index")
        return {name: getattr(self, name)[where] for name in columns}


def _check_array(name, field, array, dtype, rank):
    """Raises unless `array` is a NumPy array of `dtype` and `rank`."""
    array = np.asanyarray(array)
    if array.dtype != dtype or array.ndim != rank:
        raise errors.DataError(
            f"{name}: `{field}` must be {np.dtype(dtype)} of rank {rank}. "
            f"Received: {array.dtype} {array.shape}"
        )
