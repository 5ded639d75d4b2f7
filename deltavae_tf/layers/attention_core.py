"""softmax(q k^T) v in pieces: many weights are never there at once, nor kept for the
gradient."""

import contextlib
import dataclasses
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
from keras import ops

from deltavae_tf import backend, noise
from deltavae_tf.backend import Tensor

# Of one example and head: 128 queries at 1,024 keys. 64 such are 32 MiB, the most that
# the C library's allocator uses again instead of asking for fresh pages.
WEIGHTS_PER_PIECE = 2**17

# Of a batch: with no more the gradient takes the weights from the forward pass, 256 MiB
# in float32, where a processor has the memory. Else it computes them again.
WEIGHTS_KEPT = 2**26

_FORBIDDEN = -1e30  # As a logit; its exponential is 0.


@contextlib.contextmanager
def computing_again() -> Iterator[None]:
    """Context in which gradients keep no weights, as on an accelerator."""
    global WEIGHTS_KEPT
    before, WEIGHTS_KEPT = WEIGHTS_KEPT, 0
    try:
        yield
    finally:
        WEIGHTS_KEPT = before


def attend(
    queries: Tensor,
    keys: Tensor,
    values: Tensor,
    allowed: Tensor | None = None,
    causal: bool = False,
    dropout_rate: float = 0.0,
    noise_keys: Tensor | None = None,
) -> Tensor:
    """Scaled dot-product attention; softmax in float32.

    Queries are taken in pieces of `WEIGHTS_PER_PIECE` weights. With `causal=True` no
    piece looks at the keys behind its last query: half the work. The gradient computes
    the weights again, piece by piece, and keeps of them only which were dropped; on a
    processor and without dropout it keeps up to `WEIGHTS_KEPT` of them.

    Where the backend's softmax of bfloat16 is computed in float32 inside, weights and
    their gradients are bfloat16 between the products: half the bytes.

    Args:
      queries: float `[B, N, Q, W]`.
      keys: float `[B, N, K, W]`.
      values: float `[B, N, K, W]`.
      allowed: bool `[Q, K]` or `[B, Q, K]`; True where a query may look. Every query
        must be allowed one key at least. None for all.
      causal: bool, whether query i looks at keys 0 .. i only.
      dropout_rate: float, dropout on the weights.
      noise_keys: uint32 `[B, 2]` for dropout; None for no dropout.

    Returns:
      float `[B, N, Q, W]`.

    Reference: Vaswani et al. (2017), section 3.2; Rabe and Staats, "Self-attention does
    not need O(n^2) memory" (2021); for the gradient Dao et al., "FlashAttention"
    (2022), appendix B.
    """
    if noise_keys is None or not dropout_rate:
        dropout_rate, noise_keys = 0.0, None
    num_heads = queries.shape[1]
    dtype = values.dtype
    narrow = (
        keras.backend.standardize_dtype(dtype) == "bfloat16"
        and not dropout_rate
        and backend.has_narrow_softmax()
    )
    # What a gradient needs goes in as an argument: a closure would outlive the trace of
    # a rematerialized layer on JAX.
    extras = [x for x in (allowed, noise_keys) if x is not None]

    def weigh(queries, keys, piece):
        """`[B, N, q, k]`, a piece's weights before dropout; float32 unless `narrow`."""
        logits = ops.einsum("bnqw,bnkw->bnqk", queries[:, :, piece.rows], keys)
        if piece.bias is None:
            return ops.softmax(logits if narrow else ops.cast(logits, "float32"))
        if narrow:  # A processor chooses among numbers that it would be slow to add.
            forbidden = ops.cast(_FORBIDDEN, logits.dtype)
            return ops.softmax(ops.where(piece.bias < 0, forbidden, logits))
        return ops.softmax(ops.cast(logits, "float32") + piece.bias)

    def draw(piece, noise_keys):
        """bool `[B, N, q, k]`, which weights are kept; None for all."""
        if not dropout_rate:
            return None
        shape = (num_heads, piece.rows.stop - piece.rows.start, piece.num_keys)
        piece_keys = noise.fold(noise_keys, piece.number)
        return noise.bernoulli(piece_keys, shape, 1.0 - dropout_rate)

    def drop(x, keep):
        return x if keep is None else ops.where(keep, x / (1.0 - dropout_rate), 0.0)

    @ops.custom_gradient
    def attend_scaled(queries, keys, values, *extras):
        mask = extras[0] if allowed is not None else None
        pieces = list(_pieces(queries.shape[2], keys.shape[2], mask, causal))
        keeps_weights = not dropout_rate and _are_few(pieces, queries.shape)
        outputs, kept = [], []
        for piece in pieces:
            seen = slice(piece.num_keys)
            keep = draw(piece, extras[-1] if extras else None)
            weights = weigh(queries, keys[:, :, seen], piece)
            kept.append((keep, weights if keeps_weights else None))
            weights = ops.cast(drop(weights, keep), dtype)
            outputs.append(ops.einsum("bnqk,bnkw->bnqw", weights, values[:, :, seen]))
        outputs = _join(outputs)

        def gradient(by_outputs):
            given = queries, keys, by_outputs
            if not keeps_weights:
                given = backend.barrier(given)
            queries_, keys_, by_outputs = given
            # sum_k weight * d/d weight, of each query: dropped or not.
            by_scale = ops.sum(
                ops.cast(by_outputs, "float32") * ops.cast(outputs, "float32"),
                axis=-1,
                keepdims=True,
            )
            left, right = by_outputs, values
            if narrow:
                left, right = _less(left, right, by_scale)
            by_queries, by_keys, by_values = [], 0.0, 0.0
            for piece, (keep, weights) in zip(pieces, kept, strict=True):
                rows, seen = piece.rows, slice(piece.num_keys)
                if weights is None:
                    weights = weigh(queries_, keys_[:, :, seen], piece)
                rows_by_outputs = by_outputs[:, :, rows]
                by_weights = ops.einsum(
                    "bnqw,bnkw->bnqk", left[:, :, rows], right[:, :, seen]
                )
                if not narrow:
                    by_weights = drop(ops.cast(by_weights, "float32"), keep)
                    by_weights = by_weights - by_scale[:, :, rows]
                by_logits = ops.cast(weights * by_weights, dtype)
                weights = ops.cast(drop(weights, keep), dtype)
                by_queries.append(
                    ops.einsum("bnqk,bnkw->bnqw", by_logits, keys_[:, :, seen])
                )
                behind = ((0, 0), (0, 0), (0, keys_.shape[2] - piece.num_keys), (0, 0))
                by_keys += ops.pad(
                    ops.einsum("bnqk,bnqw->bnkw", by_logits, queries_[:, :, rows]),
                    behind,
                )
                by_values += ops.pad(
                    ops.einsum("bnqk,bnqw->bnkw", weights, rows_by_outputs), behind
                )
            none = [None] * len(extras)
            return _join(by_queries), by_keys, by_values, *none

        return outputs, gradient

    return attend_scaled(queries * queries.shape[-1] ** -0.5, keys, values, *extras)


@dataclasses.dataclass(frozen=True)
class _Piece:
    """Consecutive queries, and the first keys, behind which they see none.

    Attributes:
      number: int, from 0.
      rows: slice of the queries.
      num_keys: int.
      bias: float32, broadcasts with `[B, N, q, num_keys]`: 0, or `_FORBIDDEN` where a
        query may not look; None for 0 everywhere.
    """

    number: int
    rows: slice
    num_keys: int
    bias: Any


def _pieces(num_queries, num_keys, allowed, causal):
    """Yields the `_Piece`s of a mask."""
    size = max(1, WEIGHTS_PER_PIECE // num_keys)
    for number, first in enumerate(range(0, num_queries, size)):
        end = min(first + size, num_queries)
        rows, seen, bias = slice(first, end), num_keys, None
        if causal:
            seen = min(end, num_keys)
            earlier = np.tri(end - first, seen, first, dtype=bool)
            bias = np.where(earlier, np.float32(0.0), np.float32(_FORBIDDEN))
        if allowed is not None:
            more = _bias(allowed[..., rows, :seen])
            bias = more if bias is None else bias + more
        yield _Piece(number, rows, seen, bias)


def _are_few(pieces, shape):
    """Whether there is memory for all weights of a batch, queries of `shape`."""
    if shape[0] is None or backend.accelerators():
        return False
    each = sum((p.rows.stop - p.rows.start) * p.num_keys for p in pieces)
    return shape[0] * shape[1] * each <= WEIGHTS_KEPT


def _bias(allowed):
    bias = ops.where(allowed, np.float32(0.0), np.float32(_FORBIDDEN))
    return bias if len(bias.shape) == 2 else bias[:, None]  # Heads share it.


def _less(left, right, scale):
    """Two factors whose product over the last axis is that of `left` and `right` less
    `scale`: one operation where a difference would be another.

    Args:
      left: `[B, N, Q, W]`.
      right: `[B, N, K, W]`.
      scale: float32 `[B, N, Q, 1]`. It goes in as two numbers, so that none of it is
        lost to rounding.
    """
    high = ops.cast(scale, left.dtype)
    low = ops.cast(scale - ops.cast(high, scale.dtype), left.dtype)
    ones = ops.ones_like(right[..., :1])
    return (
        ops.concatenate([left, -high, -low], axis=-1),
        ops.concatenate([right, ones, ones], axis=-1),
    )


def _join(parts):
    """Parts of `[B, N, Q, W]` in the order of their queries, in one."""
    return parts[0] if len(parts) == 1 else ops.concatenate(parts, axis=2)
