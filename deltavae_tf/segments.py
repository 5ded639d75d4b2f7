"""Where sentences begin and end in rows of tokens: PAD 0, EOS 1."""

import numpy as np
from keras import ops

from deltavae_tf import backend

PAD, EOS = 0, 1


def segment_ids(tokens: backend.Tensor) -> backend.Tensor:
    """Numbers the sentences of each row: int32 `[B, L]`; 1, 2, ..., and 0 for PAD.

    A sentence ends with EOS; what follows belongs to the next. A row may hold one
    sentence or many on end ("packed").

    Args:
      tokens: int `[B, L]`.
    """
    ends = ops.cast(ops.equal(tokens, EOS), "int32")
    before = ops.cumsum(ends, axis=1) - ends
    return ops.where(ops.equal(tokens, PAD), ops.zeros_like(before), before + 1)


def is_first(segments: backend.Tensor) -> backend.Tensor:
    """bool `[B, L]`, whether a position is the first of its segment (or of padding)."""
    changed = ops.not_equal(segments[:, 1:], segments[:, :-1])
    return ops.concatenate([ops.ones_like(segments[:, :1], "bool"), changed], axis=1)


def is_last(segments: backend.Tensor) -> backend.Tensor:
    """bool `[B, L]`, whether a position is the last of its segment (or of padding)."""
    changed = ops.not_equal(segments[:, 1:], segments[:, :-1])
    return ops.concatenate([changed, ops.ones_like(segments[:, :1], "bool")], axis=1)


def num_tokens(tokens: backend.Tensor) -> backend.Tensor:
    """How many tokens of each row are no padding: float32 `[B]`."""
    return ops.sum(ops.cast(ops.not_equal(tokens, PAD), "float32"), axis=1)


def positions(segments: backend.Tensor) -> backend.Tensor:
    """int32 `[B, L]`, 0, 1, ... within each segment."""
    place = ops.zeros_like(segments) + np.arange(segments.shape[1], dtype="int32")
    start = ops.where(is_first(segments), place, ops.zeros_like(place))
    return place - _running_maximum(start)


def attention_mask(segments: backend.Tensor, future: bool = False) -> backend.Tensor:
    """bool `[B, L, L]`: whether position i (axis 1) may look at position j.

    At itself and the past, or at itself and the future, of its own segment alone.
    Padding looks at padding, which nothing else sees.
    """
    length = segments.shape[1]
    triangle = np.tril(np.ones((length, length), bool))
    same = ops.equal(segments[:, :, None], segments[:, None, :])
    return ops.logical_and(same, triangle.T if future else triangle)


def _running_maximum(x):
    """Along axis 1, doubling the reach: log2(L) steps."""
    reach = 1
    while reach < x.shape[1]:
        shifted = ops.pad(x[:, :-reach], ((0, 0), (reach, 0)))
        x = ops.maximum(x, shifted)
        reach *= 2
    return x
