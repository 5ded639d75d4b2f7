"""The order of training, in NumPy: to the bit what `data.images.batches` asks of
TensorFlow.

Machines without TensorFlow see the same images at the same step. TensorFlow's
`stateless_fold_in` and `stateless_shuffle` are Philox-4x32 with 10 rounds (Salmon et
al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011) under a key scrambled from
the seed, and Fisher and Yates's shuffle.
"""

import functools

import numpy as np

from data.reading import errors

# Folded into the seed of the order, so that a model's noise drawn from
# (seed, step) shares no random number with the order drawn from (seed, epoch).
PURPOSE = 0x0DDE12

_MULTIPLIERS = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_WEYL = 0x9E3779B9, 0xBB67AE85
_SCRAMBLER = 0x3EC8F720, 0x02461E29  # TensorFlow's key for seeds.
_LOW = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)


def check_batch_size(batch_size):
    """Raises a DataError unless it is at least 1."""
    if batch_size < 1:
        raise errors.DataError(
            f"`batch_size` must be at least 1. Received: {batch_size}"
        )


def steps_per_epoch(split, batch_size):
    """How many whole batches a split has; a DataError if none."""
    check_batch_size(batch_size)
    if batch_size > len(split):
        raise errors.DataError(
            f"{split.name}: `batch_size` must be at most the number of examples, "
            f"{len(split)}. Received: {batch_size}"
        )
    return len(split) // batch_size


@functools.lru_cache(maxsize=2)
def order_of_epoch(num_examples, seed, epoch):
    """The order in which an epoch visits a split: int32 `[num_examples]`."""
    return permutation(num_examples, fold_in((seed, epoch), PURPOSE))


def fold_in(seed, data):
    """`tf.random.experimental.stateless_fold_in(seed, data, alg="philox")`.

    Args:
      seed: two ints of 64 bits.
      data: int of 32 bits.

    Returns:
      Two ints of 32 bits.
    """
    return int(_words(seed, 1)[0].astype(np.int32)), data


def permutation(size, seed):
    """`stateless_shuffle(tf.range(size), seed, alg="philox")`: int32 `[size]`."""
    found = list(range(size))
    offsets = _words(seed, max(size - 1, 0)) % np.arange(size, 1, -1, dtype=np.uint32)
    for i, offset in enumerate(offsets.tolist()):
        j = i + offset
        found[i], found[j] = found[j], found[i]
    return np.array(found, np.int32)


def _words(seed, count):
    """The first random words of a seed: uint32 `[count]`."""
    counter = [word for s in seed for word in (s & 0xFFFFFFFF, (s >> 32) & 0xFFFFFFFF)]
    counter = [np.array([word], np.uint64) for word in counter]
    mixed = _philox(counter, _SCRAMBLER)
    key, high = (int(mixed[0][0]), int(mixed[1][0])), mixed[2:]
    blocks = np.arange(-(-count // 4), dtype=np.uint64)
    zeros = np.zeros_like(blocks)
    counter = [blocks & _LOW, blocks >> _HALF, zeros + high[0], zeros + high[1]]
    return np.stack(_philox(counter, key), axis=1).ravel()[:count].astype(np.uint32)


def _philox(counter, key):
    """Philox-4x32-10: four uint64 arrays of 32-bit words, and two ints, to four."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(10):
        left, right = c0 * _MULTIPLIERS[0], c2 * _MULTIPLIERS[1]
        c0, c1, c2, c3 = (
            (right >> _HALF) ^ c1 ^ np.uint64(k0),
            right & _LOW,
            (left >> _HALF) ^ c3 ^ np.uint64(k1),
            left & _LOW,
        )
        k0, k1 = (k0 + _WEYL[0]) & 0xFFFFFFFF, (k1 + _WEYL[1]) & 0xFFFFFFFF
    return c0, c1, c2, c3
