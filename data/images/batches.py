"""The batch contract, and batches as tf.data makes them of a `splits.Split`.

A batch is a dict of tensors of static shapes. For images:

  "image": uint8 `[B, H, W, C]`.
  "label": int32 `[B]`.
  "index": int32 `[B]`, the example's own number in its split.
  "mask": float32 `[B]`, 1 for an example and 0 for padding.

The order of training is a pure function of the seed and the step, so a run that
resumes at step `k` sees what it would have seen had it not stopped.
"""

import tensorflow as tf

from data.images import orders
from data.reading import errors

_PREFETCHED_BATCHES = 4


def training_batches(split, batch_size, seed, start_step=0):
    """Shuffled batches without end.

    Every epoch is a new permutation of the split, cut into `N // batch_size`
    batches; what is left over waits for another epoch, so no batch holds an
    example twice. Batch `step` is a function of `(seed, step)` and nothing else.

    Args:
      split: `splits.Split` of `N >= batch_size` examples.
      batch_size: int.
      seed: int.
      start_step: int, the step of the first batch that comes out.

    Returns:
      Infinite `tf.data.Dataset` of batches.
    """
    if start_step < 0:
        raise errors.DataError(f"`start_step` must be >= 0. Received: {start_step}")
    num_examples = len(split)
    steps_per_epoch = orders.steps_per_epoch(split, batch_size)
    start_epoch, start_batch = divmod(start_step, steps_per_epoch)

    # A whole permutation rather than `index_shuffle` position by position: with its
    # four rounds and the seeds 0, 1, 2, ... that one knew 256 orders of 100 examples
    # and kept neighbors together three times too often among 1,500. Sorting random
    # keys is exact and takes milliseconds an epoch.
    def positions_of_epoch(epoch):
        epoch_seed = tf.random.experimental.stateless_fold_in(
            tf.stack([tf.constant(seed, tf.int64), epoch]), orders.PURPOSE, alg="philox"
        )
        order = tf.random.experimental.stateless_shuffle(
            tf.range(num_examples), seed=epoch_seed, alg="philox"
        )
        order = order[: steps_per_epoch * batch_size]
        order = tf.reshape(order, [steps_per_epoch, batch_size])
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


def evaluation_batches(split, batch_size, limit=None):
    """Each example exactly once, in order; the last batch is padded.

    Shapes stay static, as XLA needs, and the mask keeps means exact.

    Args:
      split: `splits.Split`.
      batch_size: int.
      limit: optional int, stops after the first `limit` examples.

    Returns:
      Finite `tf.data.Dataset` of batches.
    """
    orders.check_batch_size(batch_size)
    if limit is not None:
        split = split.first(limit)
    num_examples = len(split)
    num_batches = -(-num_examples // batch_size)
    gather = split.gatherer()
    offsets = tf.range(batch_size, dtype=tf.int64)

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


def without_sharding(dataset):
    """Adds what both kinds of batches share: prefetching, and who shards."""
    options = tf.data.Options()
    # Every pipeline gives whole batches; tf.distribute must not take files from it.
    options.experimental_distribute.auto_shard_policy = (
        tf.data.experimental.AutoShardPolicy.OFF
    )
    # There is nothing to rewrite or tune here, and trying to would copy the whole
    # data set into a graph before the first batch.
    options.experimental_optimization.apply_default_optimizations = False
    options.autotune.enabled = False
    return dataset.prefetch(_PREFETCHED_BATCHES).with_options(options)
