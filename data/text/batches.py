"""Batches of sentences, packed or one a row. For text the batch contract reads:

  "tokens": int32 `[B, L]`; every sentence ends with EOS, the rest of a row is PAD. A
    packed row holds several sentences on end; where one begins is told by the EOS
    before it, so a row needs no second array of segments.
  "index": int32 `[B]`, the number of the row's (first) sentence in its split.
  "mask": float32 `[B]`, 1 for a row and 0 for padding.

The order of training is a pure function of the seed and the step.
"""

import dataclasses

import numpy as np
import tensorflow as tf

from data.images import batches
from data.reading import errors
from data.text import vocabulary as vocabularies

_SHORTEST_BUCKET = 16


def training_batches(
    split,
    batch_size,
    max_length,
    packed,
    seed,
    start_step=0,
):
    """Shuffled batches without end.

    Every epoch is a new permutation of the sentences. Packed, they fill rows in that
    order: a row takes the next sentences as long as they fit whole. A sentence longer
    than `max_length` is cut into pieces, each a training example of its own: all but
    the last fill a row each, and have no EOS. What is left over after the last whole
    batch waits for another epoch.

    Args:
      split: `sentences.Sentences`.
      batch_size: int, rows.
      max_length: int, L.
      packed: bool, many sentences in a row, or one.
      seed: int.
      start_step: int, the step of the first batch that comes out.

    Returns:
      Infinite `tf.data.Dataset`.
    """
    pieces = cut(split, max_length)
    if start_step < 0:
        raise errors.DataError(f"`start_step` must be >= 0. Received: {start_step}")

    def rows_of_epoch(epoch):
        order = np.random.default_rng([seed, epoch]).permutation(len(pieces.starts))
        if not packed:
            return order, np.arange(len(order) + 1)
        return order, pack(pieces.lengths[order], max_length)

    def generate():
        step, epoch = start_step, 0
        while True:
            order, bounds = rows_of_epoch(epoch)
            steps = (len(bounds) - 1) // batch_size
            if not steps:
                raise errors.DataError(
                    f"{split.name}: `batch_size` must be at most the number of rows, "
                    f"{len(bounds) - 1}. Received: {batch_size}"
                )
            for batch in range(step, steps):
                rows = range(batch * batch_size, (batch + 1) * batch_size)
                parts = [order[bounds[row] : bounds[row + 1]] for row in rows]
                yield _rows(pieces, parts, max_length)
            step = max(step - steps, 0)
            epoch += 1

    if batch_size < 1 or len(pieces.starts) < batch_size:
        raise errors.DataError(
            f"{split.name}: `batch_size` must be at least 1 and at most the number of "
            f"sentences, {len(pieces.starts)}. Received: {batch_size}"
        )
    data = _dataset(generate, batch_size, max_length)
    return data.apply(
        tf.data.experimental.assert_cardinality(tf.data.INFINITE_CARDINALITY)
    )


def evaluation_batches(split, tokens_per_batch, limit=None):
    """Each sentence exactly once and whole, one a row, however long.

    Sentences of like length go together in batches of few static shapes; `index` says
    which is which. The last batch of a shape is padded with rows of mask 0.

    Args:
      split: `sentences.Sentences`.
      tokens_per_batch: int, rows times length of a batch, about.
      limit: optional int, the first so many sentences alone.

    Yields:
      Batches, dicts of numpy arrays.
    """
    if limit is not None:
        split = split.first(limit)
    pieces = cut(split, int(split.lengths.max()))
    for length, members in buckets(split.lengths).items():
        size = min(max(1, tokens_per_batch // length), len(members))
        for first in range(0, len(members), size):
            some = members[first : first + size]
            padding = size - len(some)
            batch = _rows(pieces, [[i] for i in some] + [[]] * padding, length)
            yield {**batch, "mask": np.float32([1] * len(some) + [0] * padding)}


def buckets(lengths):
    """Which sentences go together: {row length: positions}, lengths powers of two."""
    lengths = np.asarray(lengths)
    exponent = np.ceil(np.log2(np.maximum(lengths, _SHORTEST_BUCKET))).astype(int)
    return {2 ** int(e): np.flatnonzero(exponent == e) for e in np.unique(exponent)}


@dataclasses.dataclass(frozen=True, eq=False)
class Pieces:
    """Sentences no longer than a row: `values` and, for each, where it is."""

    values: np.ndarray
    starts: np.ndarray
    lengths: np.ndarray
    index: np.ndarray
    num_cut: int  # Sentences that were too long.


def cut(split, max_length):
    """The `Pieces` of at most `max_length` ids that a split's sentences make."""
    if max_length < 2:
        raise errors.DataError(
            f"`max_length` must be at least 2. Received: {max_length}"
        )
    count = -(-split.lengths.astype(np.int64) // max_length)
    owner = np.repeat(np.arange(len(split)), count)
    number = np.arange(len(owner)) - np.repeat(np.cumsum(count) - count, count)
    offset = number * max_length
    return Pieces(
        values=split.values,
        starts=split.starts[owner] + offset,
        lengths=np.minimum(split.lengths[owner] - offset, max_length).astype(np.int32),
        index=split.index[owner],
        num_cut=int(np.sum(count > 1)),
    )


def pack(lengths, max_length):
    """Fills rows in order: int64 `[R + 1]`, row r holds those from [r] to [r + 1].

    A row that is full is closed for good, so order is kept and a row is known without
    those after it. Rows are about 1 - (mean length) / (2 max_length) full.
    """
    total = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
    # The first sentence that no longer fits a row which starts with sentence i.
    following = np.searchsorted(total, total[:-1] + max_length, side="right") - 1
    following = following.tolist()
    bounds, end = [0], len(following)
    while bounds[-1] < end:
        bounds.append(following[bounds[-1]])
    return np.array(bounds)


def _rows(pieces, parts, max_length):
    """The batch whose rows hold these pieces."""
    tokens = np.full([len(parts), max_length], vocabularies.PAD, np.int32)
    index = np.zeros([len(parts)], np.int32)
    for row, members in enumerate(parts):
        place = 0
        for i in members:
            start, length = int(pieces.starts[i]), int(pieces.lengths[i])
            tokens[row, place : place + length] = pieces.values[start : start + length]
            place += length
        if len(members):
            index[row] = pieces.index[members[0]]
    return {"tokens": tokens, "index": index, "mask": np.ones(len(parts), np.float32)}


def _dataset(generate, batch_size, max_length):
    data = tf.data.Dataset.from_generator(
        generate,
        output_signature={
            "tokens": tf.TensorSpec([batch_size, max_length], tf.int32),
            "index": tf.TensorSpec([batch_size], tf.int32),
            "mask": tf.TensorSpec([batch_size], tf.float32),
        },
    )
    return batches.without_sharding(data)
