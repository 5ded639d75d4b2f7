"""Self-attention, cross-attention and a feed-forward network over an image's pixels."""

from typing import Any

import keras
import numpy as np
from keras import ops

from deltavae_tf import noise
from deltavae_tf.backend import Tensor
from deltavae_tf.layers import attention, dropout, positions, weight_norm

ROWS_PER_BLOCK = 8  # Of the cache: so many rows are looked at or left out together.


@keras.saving.register_keras_serializable(package="deltavae_tf")
class TransformerBlock(keras.layers.Layer):
    """The attention block between gated convolutions.

    Self-attention -> cross-attention -> feed-forward with ReLU; each is added to its
    input and followed by layer normalization, as in the Transformer. Pixels carry a
    row and a column signal on queries and keys; the memory's rows carry the row
    signal on keys.

    Args:
      num_heads: int.
      filter_size: int, width of the feed-forward network (Table 4's r).
      self_attention: bool, whether pixels attend to pixels.
      cross_attention: bool, whether pixels attend to the memory.
      causal: bool, whether self-attention looks only at the own and earlier pixels
        in raster order.
      causal_memory: bool, whether pixel (r, c) looks only at memory rows <= r.
      dropout_rate: float, on hidden units and attention weights.
      normalization: "layer" (layer norm after each part) or "weight".
      **kwargs: `name`, `dtype`, ... for `keras.layers.Layer`.

    Call arguments:
      inputs: float `[B, H, W, C]`.
      memory: float `[B, n, M]`, or None without cross-attention.
      keys: uint32 `[B, 2]` for dropout, or None.

    Returns:
      float `[B, H, W, C]`.

    Reference: delta-VAE, appendix E.1 and Figure 5; Vaswani et al. (2017); Chen et
    al., "PixelSNAIL" (2017).
    """

    def __init__(
        self,
        num_heads: int,
        filter_size: int,
        self_attention: bool = True,
        cross_attention: bool = False,
        causal: bool = True,
        causal_memory: bool = True,
        dropout_rate: float = 0.0,
        normalization: str = "layer",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.num_heads = num_heads
        self.filter_size = filter_size
        self.self_attention = self_attention
        self.cross_attention = cross_attention
        self.causal = causal
        self.causal_memory = causal_memory
        self.dropout_rate = dropout_rate
        self.normalization = normalization

    def build(self, inputs_shape: Any, memory_shape: Any = None) -> None:
        _, self.height, self.width, channels = inputs_shape
        self._pixel_signal = positions.pixel_signal(self.height, self.width, channels)
        sequence = (None, self.height * self.width, channels)
        policy = self.dtype_policy

        def attend(name, keys_shape, causal=False):
            layer = attention.MultiHeadAttention(
                self.num_heads,
                channels,
                self.dropout_rate,
                self.normalization,
                causal,
                name=name,
                dtype=policy,
            )
            layer.build(sequence, keys_shape, keys_shape)
            return layer

        def linear(name, units, inputs):
            layer = weight_norm.Linear(
                units, self.normalization, name=name, dtype=policy
            )
            layer.build((*sequence[:-1], inputs))
            return layer

        def norm(name):
            layer = weight_norm.layer_norm(self.normalization, name=name, dtype=policy)
            layer.build(sequence)
            return layer

        if self.self_attention:
            self.self_attend = attend("self_attention", sequence, self.causal)
            self.self_norm = norm("self_norm")
        if self.cross_attention:
            rows = memory_shape[1]
            self._row_signal = positions.row_signal(rows, channels)
            self.embed_memory = linear("embed_memory", channels, memory_shape[-1])
            self.cross_attend = attend("cross_attention", (None, rows, channels))
            self.cross_norm = norm("cross_norm")
        self.expand = linear("expand", self.filter_size, channels)
        self.contract = linear("contract", channels, self.filter_size)
        self.forward_norm = norm("forward_norm")
        self.dropout = dropout.Dropout(self.dropout_rate, dtype=policy)

    def call(
        self, inputs: Tensor, memory: Tensor | None = None, keys: Tensor | None = None
    ) -> Tensor:
        channels = inputs.shape[-1]
        area = self.height * self.width
        h = ops.reshape(inputs, (-1, area, channels))
        signal = ops.cast(
            self._pixel_signal.reshape((area, channels)), self.compute_dtype
        )
        if self.self_attention:
            keyed = h + signal
            mixed = self.self_attend(keyed, keyed, h, noise_keys=noise.fold(keys, 0))
            h = self.self_norm(h + self.dropout(mixed, noise.fold(keys, 1)))
        if self.cross_attention:
            rows = self.embed_memory(memory)
            signed = rows + ops.cast(self._row_signal, self.compute_dtype)
            mixed = self.cross_attend(
                h + signal,
                signed,
                rows,
                allowed=self._memory_mask(),
                noise_keys=noise.fold(keys, 2),
            )
            h = self.cross_norm(h + self.dropout(mixed, noise.fold(keys, 3)))
        h = self._feed_forward(h, keys)
        return ops.reshape(h, (-1, self.height, self.width, channels))

    def compute_output_shape(self, inputs_shape: Any, *unused_shapes: Any) -> Any:
        return inputs_shape

    def init_cache(self, batch_size: int, memory: Tensor | None = None) -> Any:
        """Cache of the one-position form.

        Args:
          batch_size: int or int tensor.
          memory: float `[B, n, M]`, or None without cross-attention.

        Returns:
          dict of projected keys and values: of the row in progress, of the finished
          rows in blocks of `ROWS_PER_BLOCK`, and of the memory.
        """
        cache = {}
        if self.self_attention:
            heads = (batch_size, self.num_heads)
            size = self._pixel_signal.shape[-1] // self.num_heads

            def empty(length):
                shapes = (*heads, size, length), (*heads, length, size)
                return [ops.zeros(shape, dtype=self.compute_dtype) for shape in shapes]

            sizes = self._block_rows()
            cache["blocks"] = [empty(rows * self.width) for rows in sizes]
            cache["row"] = empty(self.width)
        if self.cross_attention:
            rows = self.embed_memory(memory)
            signed = rows + ops.cast(self._row_signal, self.compute_dtype)
            cache["memory"] = list(self.cross_attend.project(signed, rows))
        return cache

    def _block_rows(self):
        """How many rows each block holds."""
        firsts = range(0, self.height, ROWS_PER_BLOCK)
        return [min(ROWS_PER_BLOCK, self.height - first) for first in firsts]

    def row_step(self, row: Tensor, cache: Any) -> Any:
        """Starts row `row` (int32 scalar): files keys and values of the row above.

        Row 0 files the zeros of the empty cache; row 1 overwrites them.
        """
        if not self.self_attention:
            return cache
        above = ops.maximum(row - 1, 0)
        new_keys, new_values = cache["row"]
        blocks = []
        for i, (keys, values) in enumerate(cache["blocks"]):
            here = above // ROWS_PER_BLOCK == i
            first = ops.where(here, above % ROWS_PER_BLOCK, 0) * self.width
            keys = _replace_if(here, keys, (0, 0, 0, first), new_keys)
            values = _replace_if(here, values, (0, 0, first, 0), new_values)
            blocks.append([keys, values])
        return {**cache, "blocks": blocks}

    def step(self, inputs: Tensor, position: Tensor, cache: Any) -> tuple[Any, Any]:
        """One pixel.

        Args:
          inputs: float `[B, C]`.
          position: int32 scalar, the pixel's place in raster order.
          cache: from `row_step` or the step before.

        Returns:
          float `[B, C]`, cache.
        """
        h = inputs
        channels = inputs.shape[-1]
        flat_signal = self._pixel_signal.reshape((-1, channels))
        signal = ops.cast(
            ops.slice(flat_signal, (position, 0), (1, channels)), self.compute_dtype
        )
        row, column = position // self.width, position % self.width
        if self.self_attention:
            keys, values = self.self_attend.project((h + signal)[:, None], h[:, None])
            cache = {
                **cache,
                "row": [
                    ops.slice_update(cache["row"][0], (0, 0, 0, column), keys),
                    ops.slice_update(cache["row"][1], (0, 0, column, 0), values),
                ],
            }
            h = self.self_norm(h + self._look_back(h + signal, row, column, cache))
        if self.cross_attention:
            rows = np.arange(self._row_signal.shape[0])
            allowed = rows <= row if self.causal_memory else None
            mixed = self.cross_attend.step(h + signal, [(*cache["memory"], allowed)])
            h = self.cross_norm(h + mixed)
        return self._feed_forward(h, None), cache

    def _look_back(self, query, row, column, cache):
        """Self-attention to the row so far and to the blocks that hold earlier rows."""
        pieces = [(*cache["row"], ops.arange(self.width) <= column)]
        for i, block in enumerate(cache["blocks"]):
            first = i * ROWS_PER_BLOCK * self.width
            places = ops.arange(first, first + block[0].shape[-1])
            pieces.append((*block, places < row * self.width))
        # Most of a sampler's time goes into reading keys and values, of which half
        # do not exist yet on average.
        num_filled = (row + ROWS_PER_BLOCK - 1) // ROWS_PER_BLOCK
        return self.self_attend.step(query, pieces, 1 + num_filled)

    def _feed_forward(self, h, keys):
        hidden = self.dropout(ops.relu(self.expand(h)), noise.fold(keys, 4))
        return self.forward_norm(
            h + self.dropout(self.contract(hidden), noise.fold(keys, 5))
        )

    def _memory_mask(self):
        """bool `[H * W, n]`: pixel (r, c) looks at memory row j <= r."""
        if not self.causal_memory:
            return None
        pixel_row = np.repeat(np.arange(self.height), self.width)
        return np.arange(self._row_signal.shape[0])[None] <= pixel_row[:, None]

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "num_heads": self.num_heads,
            "filter_size": self.filter_size,
            "self_attention": self.self_attention,
            "cross_attention": self.cross_attention,
            "causal": self.causal,
            "causal_memory": self.causal_memory,
            "dropout_rate": self.dropout_rate,
            "normalization": self.normalization,
        }


def _replace_if(condition, inputs, start, new):
    """`ops.slice_update` where `condition` holds; in place under XLA either way."""
    old = ops.slice(inputs, start, ops.shape(new))
    return ops.slice_update(inputs, start, ops.where(condition, new, old))
