"""The batch contract: what a data set is, and the batches made of it.

A batch is a dict of tensors of static shapes. For images:

  "image": uint8 `[B, H, W, C]`.
  "label": int32 `[B]`.
  "index": int32 `[B]`, the example's own number in its split.
  "mask": float32 `[B]`, 1 for an example and 0 for padding.

The order of training is a pure function of the seed and the step, so a run that
resumes at step `k` sees what it would have seen had it not stopped.
"""

import dataclasses

import numpy as np
import tensorflow as tf

from data import errors

# Folded into the seed of the order, so that a model's noise drawn from
# (seed, step) shares no random number with the order drawn from (seed, epoch).
_ORDER = 0x0DDE12
_PREFETCHED_BATCHES = 4


@dataclasses.dataclass(frozen=True, eq=False)
class Split:
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
        """A function from positions int64 `[B]` to the batch's entries there."""
        # Where there is a GPU, a constant would be put on it and copied back.
        with tf.device("CPU:0"):
            columns = {k: tf.constant(v) for k, v in self.columns().items()}
        return lambda positions: {
            k: tf.gather(v, positions) for k, v in columns.items()
        }

    def first(self, limit):
        """The split of the first `limit` examples, or of all where there are fewer."""
        if limit < 1:
            raise errors.DataError(f"`limit` must be at least 1. Received: {limit}")
        if limit >= len(self):
            return self
        return self._part(slice(limit), f"first {limit:,} of {len(self):,} images")

    def hold_out(self, count):
        """Two splits: all but the last `count` examples, and those."""
        if not 0 < count < len(self):
            raise errors.DataError(
                f"{self.name}: `count` must be in (0, {len(self)}). Received: {count}"
            )
        return (
            self._part(slice(None, -count), f"all but the last {count:,} images"),
            self._part(slice(-count, None), f"the last {count:,} training images"),
        )

    def _part(self, where, note):
        return dataclasses.replace(
            self,
            image=self.image[where],
            label=self.label[where],
            index=self.index[where],
            note=f"{note} ({self.note})" if self.note else note,
        )


def training_batches(split, batch_size, seed, start_step=0, num_shards=1, shard=0):
    """Shuffled batches without end.

    Every epoch is a new permutation of the split, cut into `N // batch_size`
    batches; what is left over waits for another epoch, so no batch holds an
    example twice. Batch `step` is a function of `(seed, step)` and nothing else.

    Args:
      split: `Split` of `N >= batch_size` examples.
      batch_size: int, of the whole batch, over all shards.
      seed: int.
      start_step: int, the step of the first batch that comes out.
      num_shards: int, a divisor of `batch_size`: how many pipelines share a batch.
      shard: int, which contiguous part of every batch comes out of this one.

    Returns:
      Infinite `tf.data.Dataset` of batches of `batch_size // num_shards` examples.
    """
    part = _part_of_batch(batch_size, num_shards, shard)
    if start_step < 0:
        raise errors.DataError(f"`start_step` must be >= 0. Received: {start_step}")
    num_examples = len(split)
    steps_per_epoch = num_examples // batch_size
    if not steps_per_epoch:
        raise errors.DataError(
            f"{split.name}: `batch_size` must be at most the number of examples, "
            f"{num_examples}. Received: {batch_size}"
        )
    start_epoch, start_batch = divmod(start_step, steps_per_epoch)

    # A whole permutation rather than `index_shuffle` position by position: with its
    # four rounds and the seeds 0, 1, 2, ... that one knew 256 orders of 100 examples
    # and kept neighbors together three times too often among 1,500. Sorting random
    # keys is exact and takes milliseconds an epoch.
    def positions_of_epoch(epoch):
        epoch_seed = tf.random.experimental.stateless_fold_in(
            tf.stack([tf.constant(seed, tf.int64), epoch]), _ORDER, alg="philox"
        )
        order = tf.random.experimental.stateless_shuffle(
            tf.range(num_examples), seed=epoch_seed, alg="philox"
        )
        order = order[: steps_per_epoch * batch_size]
        order = tf.reshape(order, [steps_per_epoch, batch_size])[:, part]
        done = tf.where(epoch == start_epoch, start_batch, 0)
        return tf.data.Dataset.from_tensor_slices(order[done:])

    gather = split.gatherer()
    positions = tf.data.Dataset.range(start_epoch, tf.int64.max)
    positions = positions.flat_map(positions_of_epoch)
    # flat_map hides that this never ends; Keras asks.
    positions = positions.apply(
        tf.data.experimental.assert_cardinality(tf.data.INFINITE_CARDINALITY)
    )
    return without_sharding(positions.map(gather, split.parallel_reads))


def evaluation_batches(split, batch_size, limit=None, num_shards=1, shard=0):
    """Each example exactly once, in order; the last batch is padded.

    Shapes stay static, as XLA needs, and the mask keeps means exact. All shards
    have the same number of batches, though the last may hold padding alone.

    Args:
      split: `Split`.
      batch_size: int, of the whole batch, over all shards.
      limit: optional int, stops after the first `limit` examples.
      num_shards: int, a divisor of `batch_size`: how many pipelines share a batch.
      shard: int, which contiguous part of every batch comes out of this one.

    Returns:
      Finite `tf.data.Dataset` of batches of `batch_size // num_shards` examples.
    """
    part = _part_of_batch(batch_size, num_shards, shard)
    if limit is not None:
        split = split.first(limit)
    num_examples = len(split)
    num_batches = -(-num_examples // batch_size)
    gather = split.gatherer()
    offsets = tf.range(batch_size, dtype=tf.int64)[part]

    def batch(step):
        positions = step * batch_size + offsets
        real = positions < num_examples
        examples = gather(tf.where(real, positions, 0))
        mask = examples["mask"]
        kept = tf.reshape(real, [-1] + [1] * (mask.shape.rank - 1))
        return {**examples, "mask": tf.where(kept, mask, 0.0)}

    return without_sharding(
        tf.data.Dataset.range(num_batches).map(batch, split.parallel_reads)
    )


def _check_array(name, field, array, dtype, rank):
    """Raises unless `array` is a NumPy array of `dtype` and `rank`."""
    array = np.asanyarray(array)
    if array.dtype != dtype or array.ndim != rank:
        raise errors.DataError(
            f"{name}: `{field}` must be {np.dtype(dtype)} of rank {rank}. "
            f"Received: {array.dtype} {array.shape}"
        )


def _part_of_batch(batch_size, num_shards, shard):
    """The slice of every batch that belongs to `shard`."""
    if batch_size < 1:
        raise errors.DataError(
            f"`batch_size` must be at least 1. Received: {batch_size}"
        )
    if num_shards < 1 or batch_size % num_shards:
        raise errors.DataError(
            f"`num_shards` must divide `batch_size`, {batch_size}. "
            f"Received: {num_shards}"
        )
    if not 0 <= shard < num_shards:
        raise errors.DataError(
            f"`shard` must be in [0, num_shards) = [0, {num_shards}). Received: {shard}"
        )
    size = batch_size // num_shards
    return slice(shard * size, (shard + 1) * size)


def without_sharding(dataset):
    """Adds what both kinds of batches share: prefetching, and who shards."""
    options = tf.data.Options()
    # The arguments say which shard this is; tf.distribute must not shard again.
    options.experimental_distribute.auto_shard_policy = (
        tf.data.experimental.AutoShardPolicy.OFF
    )
    # There is nothing to rewrite or tune here, and trying to would copy the whole
    # data set into a graph before the first batch.
    options.experimental_optimization.apply_default_optimizations = False
    options.autotune.enabled = False
    return dataset.prefetch(_PREFETCHED_BATCHES).with_options(options)
