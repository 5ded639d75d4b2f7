"""The Transformer that text encoder and decoder share."""

from typing import Any

import keras
from keras import ops

from deltavae_tf import noise
from deltavae_tf import segments as places
from deltavae_tf.backend import Tensor
from deltavae_tf.layers import dropout, layer_norm, positions, sequence_block


@keras.saving.register_keras_serializable(package="deltavae_tf")
class SequenceStack(keras.layers.Layer):
    """Position signal, blocks and a last layer norm.

    Positions count from the start of each segment, and attention stays within it, so
    a sentence gives the same wherever it stands in a row.

    Args:
      num_layers: int (Table 5's l).
      width: int (h).
      filter_size: int (r).
      num_heads: int.
      future: bool, whether a position looks at the future instead of the past.
      dropout_rate: float.
      **kwargs: `name`, `dtype`, ... for `keras.layers.Layer`.

    Call arguments:
      inputs: float `[B, L, width]`, embeddings.
      segments: int32 `[B, L]`, see `segments.segment_ids`.
      keys: uint32 `[B, 2]` for dropout, or None.

    Returns:
      float32 `[B, L, width]`.

    Reference: Vaswani et al. (2017); Tensor2Tensor's `transformer_l4`.
    """

    def __init__(
        self,
        num_layers: int,
        width: int,
        filter_size: int,
        num_heads: int = 8,
        future: bool = False,
        dropout_rate: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.num_layers = num_layers
        self.width = width
        self.filter_size = filter_size
        self.num_heads = num_heads
        self.future = future
        self.dropout_rate = dropout_rate
        policy = self.dtype_policy
        self.dropout = dropout.Dropout(dropout_rate, dtype=policy)
        self.blocks = [
            sequence_block.SequenceBlock(
                num_heads, filter_size, dropout_rate, name=f"block_{i}", dtype=policy
            )
            for i in range(num_layers)
        ]
        self.norm = layer_norm.LayerNorm(name="norm", dtype="float32")

    def build(self, inputs_shape: Any, segments_shape: Any = None) -> None:
        for block in self.blocks:
            block.build((None, None, self.width))
        self.norm.build((None, None, self.width))

    def call(
        self, inputs: Tensor, segments: Tensor, keys: Tensor | None = None
    ) -> Tensor:
        keys = keys if self.dropout_rate else None  # Else folded for nothing.
        signal = positions.sinusoid(segments.shape[1], self.width)
        signal = ops.take(signal, places.positions(segments), axis=0)
        h = ops.cast(inputs, self.compute_dtype) + ops.cast(signal, self.compute_dtype)
        h = self.dropout(h, noise.fold(keys, 0))
        allowed = places.attention_mask(segments, self.future)
        for i, block in enumerate(self.blocks, start=1):
            h = block(h, allowed, keys=noise.fold(keys, i))
        return self.norm(h)

    def compute_output_shape(self, inputs_shape: Any, *unused_shapes: Any) -> Any:
        return inputs_shape

    def init_cache(self, batch_size: int, length: int) -> Any:
        """The empty cache of a segment of `length` positions."""
        caches = [b.init_cache(batch_size, length, self.width) for b in self.blocks]
        return {f"block_{i}": cache for i, cache in enumerate(caches)}

    def step(self, inputs: Tensor, position: Tensor, cache: Any) -> tuple[Any, Any]:
        """One position of the first segment.

        Args:
          inputs: float `[B, width]`.
          position: int32 scalar.
          cache: from `init_cache` or the step before.

        Returns:
          float32 `[B, width]`, cache.
        """
        length = cache["block_0"]["values"].shape[2]
        signal = positions.sinusoid(length, self.width)
        signal = ops.slice(signal, (position, 0), (1, self.width))
        h = ops.cast(inputs, self.compute_dtype) + ops.cast(signal, self.compute_dtype)
        caches = {}
        for i, block in enumerate(self.blocks):
            name = f"block_{i}"
            h, caches[name] = block.step(h, position, cache[name])
        return self.norm(h), caches

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "num_layers": self.num_layers,
            "width": self.width,
            "filter_size": self.filter_size,
            "num_heads": self.num_heads,
            "future": self.future,
            "dropout_rate": self.dropout_rate,
        }
