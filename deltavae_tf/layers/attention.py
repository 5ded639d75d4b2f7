"""Multi-head attention whose mask, dropout and cache are in the caller's hands."""

import keras
from keras import ops

from deltavae_tf import noise
from deltavae_tf.layers import dropout, weight_norm


@keras.saving.register_keras_serializable(package="deltavae_tf")
class MultiHeadAttention(keras.layers.Layer):
    """Scaled dot-product attention with projections; softmax in float32.

    Args:
      num_heads: int, divides `width`.
      width: int, channels of queries, keys, values and outputs together.
      dropout_rate: float, dropout on the attention weights.
      normalization: "layer" or "weight", see `weight_norm.Linear`.
      **kwargs: `name`, `dtype`, ... for `keras.layers.Layer`.

    Call arguments:
      queries: float `[B, Q, C]`.
      keys: float `[B, K, C]`.
      values: float `[B, K, C]`.
      allowed: bool, broadcasts with `[B, Q, K]`; True where a query may look. Every
        query must be allowed one key at least. None allows all.
      noise_keys: uint32 `[B, 2]` for dropout, or None.

    Returns:
      float `[B, Q, width]`.

    Reference: Vaswani et al. (2017), section 3.2.
    """

    def __init__(
        self, num_heads, width, dropout_rate=0.0, normalization="layer", **kwargs
    ):
        super().__init__(**kwargs)
        if width % num_heads:
            raise ValueError(
                "`num_heads` must divide `width`. "
                f"Received: num_heads={num_heads}, width={width}"
            )
        self.num_heads = num_heads
        self.width = width
        self.dropout_rate = dropout_rate
        self.normalization = normalization

        def linear(name):
            return weight_norm.Linear(
                width, normalization, name=name, dtype=self.dtype_policy
            )

        self.query = linear("query")
        self.key = linear("key")
        self.value = linear("value")
        self.output_ = linear("output")
        self.dropout = dropout.Dropout(dropout_rate, dtype=self.dtype_policy)

    def build(self, queries_shape, keys_shape=None, values_shape=None):
        self.query.build(queries_shape)
        self.key.build(keys_shape or queries_shape)
        self.value.build(values_shape or keys_shape or queries_shape)
        self.output_.build((*queries_shape[:-1], self.width))

    def call(self, queries, keys, values, allowed=None, noise_keys=None):
        heads = self.attend(
            self._split(self.query(queries)),
            *self.project(keys, values),
            allowed=allowed,
            noise_keys=noise_keys,
        )
        return self.output_(heads)

    def compute_output_shape(self, queries_shape, *unused_shapes):
        return (*queries_shape[:-1], self.width)

    def project(self, keys, values):
        """What a cache holds: keys and values `[B, K, N, width / N]`."""
        return self._split(self.key(keys)), self._split(self.value(values))

    def attend(self, queries, keys, values, allowed=None, noise_keys=None):
        """Attention on projected heads: `[B, Q, N, W]` and `[B, K, N, W]`.

        Returns:
          float `[B, Q, width]`, before the output projection.
        """
        if allowed is not None and len(allowed.shape) == 2:
            allowed = allowed[None]
        if noise_keys is None or self.dropout_rate == 0.0:
            allowed = None if allowed is None else allowed[:, None]
            heads = ops.dot_product_attention(queries, keys, values, mask=allowed)
        else:
            logits = ops.einsum("bqnw,bknw->bnqk", queries, keys)
            logits = ops.cast(logits, "float32") * queries.shape[-1] ** -0.5
            if allowed is not None:
                logits = ops.where(allowed[:, None], logits, -1e30)
            weights = ops.cast(ops.softmax(logits), self.compute_dtype)
            weights = self.dropout(weights, noise.fold(noise_keys, 0))
            heads = ops.einsum("bnqk,bknw->bqnw", weights, values)
        return ops.reshape(heads, (-1, *heads.shape[1:2], self.width))

    def step(self, query, keys, values, allowed):
        """One position: `[B, C]` against projected keys and values.

        Args:
          query: float `[B, C]`.
          keys: float `[B, K, N, width / N]`, from `project`.
          values: likewise.
          allowed: bool `[K]`.

        Returns:
          float `[B, width]`.
        """
        heads = self.attend(
            self._split(self.query(query[:, None])), keys, values, allowed=allowed[None]
        )
        return self.output_(heads)[:, 0]

    def _split(self, inputs):
        shape = (-1, inputs.shape[1], self.num_heads, self.width // self.num_heads)
        return ops.reshape(inputs, shape)

    def get_config(self):
        return {
            **super().get_config(),
            "num_heads": self.num_heads,
            "width": self.width,
            "dropout_rate": self.dropout_rate,
            "normalization": self.normalization,
        }
