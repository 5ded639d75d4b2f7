"""Batches without TensorFlow, for JAX: the same examples at the same step as those of
`data.images.batches`, and the same contract.

For training the whole split is handed over at once, to stay on the device, and batches
are positions in it.
"""

import dataclasses

import numpy as np

from data.images import orders, splits
from data.reading import errors


@dataclasses.dataclass(eq=False)
class TrainingBatches:
    """Shuffled batches without end, cut out of columns that stay where they are.

    Attributes:
      split: `splits.Split`.
      batch_size: int.
      seed: int.
      step: int, the step of the next batch.
    """

    split: splits.Split
    batch_size: int
    seed: int
    step: int

    def columns(self):
        """The batch's entries for the whole split: dict of arrays `[N, ...]`."""
        return self.split.columns()

    def take(self, count):
        """The positions of the next `count` batches: int32 `[count, batch_size]`."""
        per_epoch = orders.steps_per_epoch(self.split, self.batch_size)
        rows = []
        for step in range(self.step, self.step + count):
            epoch, batch = divmod(step, per_epoch)
            order = orders.order_of_epoch(len(self.split), self.seed, epoch)
            rows.append(order[batch * self.batch_size : (batch + 1) * self.batch_size])
        self.step += count
        return np.stack(rows)


def training_batches(split, batch_size, seed, start_step=0):
    """`TrainingBatches` of a split whose images are in memory.

    Args:
      split: `splits.Split`.
      batch_size: int.
      seed: int.
      start_step: int, the step of the first batch.
    """
    if not isinstance(split, splits.Split):
        raise errors.DataError(
            f"{split.name}: on JAX the training images must fit into memory; train on "
            "TensorFlow, which streams them"
        )
    orders.steps_per_epoch(split, batch_size)
    return TrainingBatches(split, batch_size, seed, start_step)


def evaluation_batches(split, batch_size, limit=None):
    """Each example exactly once, in order; the last batch is padded.

    Args:
      split: `splits.Split`.
      batch_size: int.
      limit: optional int, stops after the first `limit` examples.

    Returns:
      List of batches, dicts of NumPy arrays.
    """
    if limit is not None:
        split = split.first(limit)
    orders.check_batch_size(batch_size)
    columns = split.columns()
    found = []
    for first in range(0, len(split), batch_size):
        positions = np.arange(first, first + batch_size)
        real = positions < len(split)
        batch = {k: v[np.where(real, positions, 0)] for k, v in columns.items()}
        found.append({**batch, "mask": batch["mask"] * real.astype(np.float32)})
    return found
