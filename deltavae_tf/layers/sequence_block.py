"""A Transformer layer over sequences: self-attention, then a feed-forward network."""

from typing import Any

import keras
from keras import ops

from deltavae_tf import noise
from deltavae_tf.backend import Tensor
from deltavae_tf.layers import attention, dropout, layer_norm


@keras.saving.register_keras_serializable(package="deltavae_tf")
class SequenceBlock(keras.layers.Layer):
    """Self-attention and a ReLU network, each normalized before and added after.

    Args:
      num_heads: int.
      filter_size: int, width of the feed-forward network (Table 5's r).
      dropout_rate: float, on hidden units, attention weights and what is added.
      **kwargs: `name`, `dtype`, ... for `keras.layers.Layer`.

    Call arguments:
      inputs: float `[B, L, C]`.
      allowed: bool `[B, L, L]`, where each position may look.
      keys: uint32 `[B, 2]` for dropout, or None.

    Returns:
      float `[B, L, C]`.

    Reference: Vaswani et al. (2017), section 3, with layer norm as in Tensor2Tensor's
    `transformer_base`: before each part ("pre-norm").
    """

    def __init__(
        self, num_heads: int, filter_size: int, dropout_rate: float = 0.0, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.num_heads = num_heads
        self.filter_size = filter_size
        self.dropout_rate = dropout_rate

    def build(self, inputs_shape: Any, allowed_shape: Any = None) -> None:
        channels = inputs_shape[-1]
        shape, policy = (None, None, channels), self.dtype_policy

        def norm(name):
            layer = layer_norm.LayerNorm(name=name, dtype=policy)
            layer.build(shape)
            return layer

        def dense(name, units, inputs, activation=None):
            layer = keras.layers.Dense(
                units, activation=activation, name=name, dtype=policy
            )
            layer.build((None, None, inputs))
            return layer

        self.attend_norm = norm("attend_norm")
        self.attend = attention.MultiHeadAttention(
            self.num_heads, channels, self.dropout_rate, name="attend", dtype=policy
        )
        self.attend.build(shape)
        self.forward_norm = norm("forward_norm")
        self.expand = dense("expand", self.filter_size, channels, "relu")
        self.contract = dense("contract", channels, self.filter_size)
        self.dropout = dropout.Dropout(self.dropout_rate, dtype=policy)

    def call(
        self, inputs: Tensor, allowed: Tensor, keys: Tensor | None = None
    ) -> Tensor:
        h = self.attend_norm(inputs)
        mixed = self.attend(h, h, h, allowed=allowed, noise_keys=noise.fold(keys, 0))
        h = inputs + self.dropout(mixed, noise.fold(keys, 1))
        return self._feed_forward(h, keys)

    def compute_output_shape(self, inputs_shape: Any, *unused_shapes: Any) -> Any:
        return inputs_shape

    def _feed_forward(self, h, keys):
        hidden = self.expand(self.forward_norm(h))
        hidden = self.dropout(hidden, noise.fold(keys, 2))
        return h + self.dropout(self.contract(hidden), noise.fold(keys, 3))

    def init_cache(self, batch_size: int, length: int, channels: int) -> Any:
        """Empty keys and values of `length` positions."""
        heads, width = self.num_heads, channels // self.num_heads
        keys = ops.zeros((batch_size, heads, width, length), dtype=self.compute_dtype)
        values = ops.zeros((batch_size, heads, length, width), dtype=self.compute_dtype)
        return {"keys": keys, "values": values}

    def step(self, inputs: Tensor, position: Tensor, cache: Any) -> tuple[Any, Any]:
        """One position, which looks at itself and those before it.

        Args:
          inputs: float `[B, C]`.
          position: int32 scalar.
          cache: from `init_cache` or the step before.

        Returns:
          float `[B, C]`, cache.
        """
        h = self.attend_norm(inputs)
        keys, values = self.attend.project(h[:, None], h[:, None])
        keys = ops.slice_update(cache["keys"], (0, 0, 0, position), keys)
        values = ops.slice_update(cache["values"], (0, 0, position, 0), values)
        allowed = ops.arange(values.shape[2]) <= position
        h = inputs + self.attend.step(h, [(keys, values, allowed)])
        return self._feed_forward(h, None), {"keys": keys, "values": values}

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "num_heads": self.num_heads,
            "filter_size": self.filter_size,
            "dropout_rate": self.dropout_rate,
        }
