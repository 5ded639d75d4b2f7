"""Multi-head attention whose mask, dropout and cache are in the caller's hands."""

import functools
from typing import Any

import keras
import numpy as np
from keras import ops

from deltavae_tf import backend, errors
from deltavae_tf.backend import Tensor
from deltavae_tf.layers import attention_core, dropout, weight_norm


@keras.saving.register_keras_serializable(package="deltavae_tf")
class MultiHeadAttention(keras.layers.Layer):
    """Scaled dot-product attention with projections; softmax in float32.

    Args:
      num_heads: int, divides `width`.
      width: int, channels of queries, keys, values and outputs together.
      dropout_rate: float, dropout on the attention weights.
      normalization: "layer" or "weight", see `weight_norm.Linear`.
      causal: bool, whether query i looks at keys 0 .. i only, in `call`.
      **kwargs: `name`, `dtype`, ... for `keras.layers.Layer`.

    Call arguments:
      queries: float `[B, Q, C]`.
      keys: float `[B, K, C]`.
      values: float `[B, K, C]`.
      allowed: bool `[Q, K]` or `[B, Q, K]`; True where a query may look. Every query
        must be allowed one key at least. None allows all.
      noise_keys: uint32 `[B, 2]` for dropout, or None.

    Returns:
      float `[B, Q, width]`.

    Reference: Vaswani et al. (2017), section 3.2.
    """

    def __init__(
        self,
        num_heads: int,
        width: int,
        dropout_rate: float = 0.0,
        normalization: str = "layer",
        causal: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if width % num_heads:
            raise errors.UserError(
                "`num_heads` must divide `width`. "
                f"Received: num_heads={num_heads}, width={width}"
            )
        self.num_heads = num_heads
        self.width = width
        self.dropout_rate = dropout_rate
        self.normalization = normalization
        self.causal = causal

        def linear(name):
            return weight_norm.Linear(
                width, normalization, name=name, dtype=self.dtype_policy
            )

        self.query = linear("query")
        self.key = linear("key")
        self.value = linear("value")
        self.output_ = linear("output")
        dropout.check_rate(dropout_rate)

    def build(
        self, queries_shape: Any, keys_shape: Any = None, values_shape: Any = None
    ) -> None:
        self.query.build(queries_shape)
        self.key.build(keys_shape or queries_shape)
        self.value.build(values_shape or keys_shape or queries_shape)
        self.output_.build((*queries_shape[:-1], self.width))

    def call(
        self,
        queries: Tensor,
        keys: Tensor,
        values: Tensor,
        allowed: Tensor | None = None,
        noise_keys: Tensor | None = None,
    ) -> Tensor:
        queries, keys, values = (
            self._split(layer(inputs))
            for layer, inputs in (
                (self.query, queries),
                (self.key, keys),
                (self.value, values),
            )
        )
        heads = self._attend(queries, keys, values, allowed, noise_keys)
        return self.output_(ops.reshape(heads, (-1, *heads.shape[1:2], self.width)))

    def compute_output_shape(self, queries_shape: Any, *unused_shapes: Any) -> Any:
        return (*queries_shape[:-1], self.width)

    def _attend(self, queries, keys, values, allowed, noise_keys):
        """Attention of `[B, Q, N, W]` on `[B, K, N, W]`: float `[B, Q, N, W]`."""
        dropped = noise_keys is not None and self.dropout_rate > 0
        if backend.has_fused_attention() and not dropped:
            if allowed is not None:  # Heads share it.
                allowed = allowed[..., None, :, :]
            return ops.dot_product_attention(
                queries, keys, values, mask=allowed, is_causal=self.causal
            )
        heads = attention_core.attend(
            *(ops.transpose(x, (0, 2, 1, 3)) for x in (queries, keys, values)),
            allowed,
            self.causal,
            self.dropout_rate,
            noise_keys,
        )
        return ops.transpose(heads, (0, 2, 1, 3))

    def project(self, keys: Tensor, values: Tensor) -> Any:
        """Keys and values as `step` wants them.

        A step reads all of them, so they lie in memory as its two products go through
        them: a transposed copy at every position would cost more than the products.

        Args:
          keys: float `[B, K, C]`.
          values: float `[B, K, C]`.

        Returns:
          float `[B, N, W, K]` and `[B, N, K, W]`, with W = width / N.
        """
        keys, values = self._split(self.key(keys)), self._split(self.value(values))
        return ops.transpose(keys, (0, 2, 3, 1)), ops.transpose(values, (0, 2, 1, 3))

    def step(
        self, query: Tensor, pieces: Any, num_pieces: int | None = None
    ) -> tuple[Any, Any]:
        """One position: `[B, C]` against projected keys and values.

        Args:
          query: float `[B, C]`.
          pieces: list of (keys, values, allowed): keys and values from `project`, and
            bool `[K]`, True where the query may look, or None for everywhere. The
            first allows one key at least.
          num_pieces: int32 scalar, from 1: behind so many pieces nothing is allowed,
            so that the rest need not be read. None for all.

        Returns:
          float `[B, width]`.
        """
        query = self._split(self.query(query[:, None]))[:, 0]
        looks = [
            functools.partial(self._look, query, pieces[: count + 1])
            for count in range(len(pieces))
        ]
        if num_pieces is None:
            heads = looks[-1]()
        else:
            heads = ops.switch(num_pieces - 1, looks)
        return self.output_(ops.reshape(heads, (-1, self.width)))

    def _look(self, query, pieces):
        """Attention of `[B, N, W]` on all pieces together: float `[B, N, W]`."""
        logits = []
        for keys, _, allowed in pieces:
            found = ops.cast(ops.einsum("bnw,bnwk->bnk", query, keys), "float32")
            found = found * query.shape[-1] ** -0.5
            logits.append(
                found if allowed is None else ops.where(allowed, found, -1e30)
            )
        weights = ops.softmax(ops.concatenate(logits, axis=-1))
        weights = ops.cast(weights, self.compute_dtype)
        ends = np.cumsum([x.shape[-1] for x in logits])[:-1].tolist()
        parts = ops.split(weights, ends, axis=-1) if ends else [weights]
        return sum(
            ops.einsum("bnk,bnkw->bnw", part, values)
            for part, (_, values, _) in zip(parts, pieces, strict=True)
        )

    def _split(self, inputs):
        shape = (-1, inputs.shape[1], self.num_heads, self.width // self.num_heads)
        return ops.reshape(inputs, shape)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "num_heads": self.num_heads,
            "width": self.width,
            "dropout_rate": self.dropout_rate,
            "normalization": self.normalization,
            "causal": self.causal,
        }
