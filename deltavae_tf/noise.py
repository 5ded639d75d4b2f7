"""Stateless random numbers: the same on every backend, under XLA or not.

A *key* is uint32 `[..., 2]`. Numbers are a pure function of a key and of their place,
by Threefry-2x32 with 20 rounds (Salmon et al., "Parallel random numbers: as easy as
1, 2, 3", SC 2011). A key per example, folded from the run's seed, the step, the purpose
and the example's index, gives noise that depends neither on the number of replicas nor
on who computes it. TensorFlow's own stateless generators differ between XLA and the
plain graph, and `keras.random` repeats itself on every replica.
"""

import enum
import functools
import operator
from collections.abc import Sequence

import numpy as np
from keras import ops

from deltavae_tf import backend, errors


class Purpose(enum.IntEnum):
    """What a number is drawn for: a key is folded with it, so no two share numbers."""

    POSTERIOR = 0
    DROPOUT = 1
    LATENTS = 2
    DATA = 3
    IMPORTANCE = 0x1A3


_ROTATIONS = (13, 15, 26, 6, 17, 29, 16, 24)
_PARITY = np.uint32(0x1BD11BDA)


def _constant(value):
    return ops.convert_to_tensor(np.uint32(value & 0xFFFFFFFF), dtype="uint32")


def _rotate_left(x, distance):
    high = ops.bitwise_left_shift(x, _constant(distance))
    low = ops.bitwise_right_shift(x, _constant(32 - distance))
    return ops.bitwise_or(high, low)


def threefry(
    key: tuple[backend.Tensor, backend.Tensor],
    counter: tuple[backend.Tensor, backend.Tensor],
) -> tuple[backend.Tensor, backend.Tensor]:
    """Threefry-2x32-20.

    Args:
      key: pair of uint32 tensors of one shape (or shapes that broadcast).
      counter: pair of uint32 tensors, likewise.

    Returns:
      Pair of uint32 tensors.
    """
    x0, x1 = (
        backend.with_broadcast_shape(word, (*key, *counter))
        for word in _rounds()(*key, *counter)
    )
    return x0, x1


@functools.cache
def _rounds():
    return backend.traced_once(_threefry, *["uint32"] * 4)


def _threefry(key_0, key_1, counter_0, counter_1):
    schedule = [key_0, key_1]
    parity = ops.bitwise_xor(ops.bitwise_xor(key_0, key_1), _constant(int(_PARITY)))
    schedule.append(parity)
    x0, x1 = counter_0 + schedule[0], counter_1 + schedule[1]
    for group in range(5):
        for distance in _ROTATIONS[4 * (group % 2) : 4 * (group % 2) + 4]:
            x0 = x0 + x1
            x1 = ops.bitwise_xor(_rotate_left(x1, distance), x0)
        x0 = x0 + schedule[(group + 1) % 3]
        x1 = x1 + schedule[(group + 2) % 3] + _constant(group + 1)
    return x0, x1


def make_key(seed: int | backend.Tensor) -> backend.Tensor:
    """The root key of an integer seed of 64 bits: uint32 `[2]`.

    A seed that is such a key already is returned as it is.
    """
    if tuple(getattr(seed, "shape", ())) == (2,):
        return seed
    try:
        seed = operator.index(seed)
    except TypeError:
        raise errors.UserError(
            f"`seed` must be an integer, or a key uint32 [2]. Received: {seed!r}"
        ) from None
    words = np.array([seed & 0xFFFFFFFF, (seed >> 32) & 0xFFFFFFFF], np.uint32)
    return ops.convert_to_tensor(words, dtype="uint32")


def fold(key: backend.Tensor, data: int | backend.Tensor) -> backend.Tensor:
    """A new key for every value of `data`.

    Args:
      key: uint32 `[..., 2]`, or None.
      data: int, or integer tensor whose shape broadcasts with `key`'s leading ones.

    Returns:
      uint32 `[..., 2]`; None (no noise) for None.
    """
    if key is None:
        return None
    if isinstance(data, int):
        data = _constant(data)
    data = ops.cast(data, "uint32")
    x0, x1 = threefry((key[..., 0], key[..., 1]), (data, ops.zeros_like(data)))
    return ops.stack([x0, x1], axis=-1)


def sample_keys(
    seed: int | backend.Tensor,
    first: int | backend.Tensor,
    n: int | backend.Tensor,
    purpose: Purpose,
) -> backend.Tensor:
    """The keys of `n` samples: uint32 `[n, 2]`.

    Args:
      seed: int, or key uint32 `[2]`.
      first: int, the number of the first; or ints `[n]`, the number of each.
      n: int.
      purpose: `Purpose`.
    """
    key = fold(make_key(seed), purpose)
    numbers = first
    if not len(getattr(first, "shape", ())):
        numbers = ops.arange(first, first + n)
    return fold(key[None], numbers)


def bits(keys: backend.Tensor, shape: Sequence[int]) -> backend.Tensor:
    """Random words for each key: uint32 `[B, *shape]` for keys `[B, 2]`."""
    count = int(np.prod(shape))
    half = (count + 1) // 2
    place = ops.cast(ops.arange(half), "uint32")[None]
    # The second counter word keeps these streams apart from those of `fold`.
    words = threefry((keys[:, :1], keys[:, 1:]), (place, ops.full_like(place, 1)))
    words = ops.concatenate(words, axis=-1)
    return ops.reshape(words[:, :count], (-1, *shape))


def uniform(keys: backend.Tensor, shape: Sequence[int]) -> backend.Tensor:
    """Uniform on the open interval (0, 1): float32 `[B, *shape]`, 23 random bits."""
    # 23, since an integer of 24 bits plus a half is no float32: it would round to 1.
    integers = ops.bitwise_right_shift(bits(keys, shape), _constant(9))
    integers = ops.cast(ops.cast(integers, "int32"), "float32")
    return (integers + 0.5) * np.float32(2.0**-23)


def normal(keys: backend.Tensor, shape: Sequence[int]) -> backend.Tensor:
    """Standard normal: float32 `[B, *shape]`."""
    # |2u - 1| <= 1 - 2^-24, so `erfinv` is finite (5.3 standard deviations).
    return np.float32(2.0**0.5) * ops.erfinv(2.0 * uniform(keys, shape) - 1.0)


def normal_sequence(keys: backend.Tensor, length: int, channels: int) -> backend.Tensor:
    """Standard normal by time step: float32 `[B, length, channels]`.

    The numbers of a step do not depend on how many steps follow.
    """
    steps = fold(keys[:, None], ops.arange(length)[None])
    flat = normal(ops.reshape(steps, (-1, 2)), (channels,))
    return ops.reshape(flat, (-1, length, channels))


def bernoulli(
    keys: backend.Tensor, shape: Sequence[int], probability: float
) -> backend.Tensor:
    """True with `probability` (a Python float): bool `[B, *shape]`."""
    threshold = min(int(probability * 2.0**32), 2**32 - 1)
    drawn = _below(int(np.prod(shape)), threshold)(keys)
    return ops.reshape(drawn, (-1, *shape))


@functools.cache
def _below(count, threshold):
    """Compiled, since dropout draws millions: each of the 200 operations of Threefry by
    itself would write them all to memory and read them again. Shapes of as many numbers
    share what is compiled.
    """
    return backend.compile(
        lambda keys: ops.less(bits(keys, (count,)), _constant(threshold))
    )
