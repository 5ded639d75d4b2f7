"""The blueprint that encoder and decoder share: gated convolutions and attention."""

from typing import Any

import keras
import numpy as np
from keras import ops

from deltavae_tf import backend, errors, noise
from deltavae_tf.backend import Tensor
from deltavae_tf.layers import (
    causal_conv,
    gated_layer,
    positions,
    transformer_block,
    weight_norm,
)

_PREFERRED_SPACING = (5, 2)  # ImageNet and ablations; CIFAR-10 best.


def attention_places(num_layers: int, num_attention: int) -> list[int]:
    """Before which layers attention blocks sit: before layer 0 and after every k.

    Table 4's counts are floor(num_layers / k) + 1 with k = 5 or k = 2; other counts
    take the smallest k that gives them, or else are spread evenly. 0 gives the places
    of k = 5, for blocks of cross-attention alone.

    Args:
      num_layers: int, l.
      num_attention: int, a.

    Returns:
      list of ints in `[0, num_layers]`; `num_layers` is behind the last layer.
    """
    if num_attention == 0:
        return list(range(0, num_layers + 1, _PREFERRED_SPACING[0]))
    for spacing in (*_PREFERRED_SPACING, *range(1, num_layers + 1)):
        if num_layers // spacing + 1 == num_attention:
            return list(range(0, num_layers + 1, spacing))
    if num_attention > num_layers + 1:
        raise errors.UserError(
            f"`num_attention` must be at most num_layers + 1 = {num_layers + 1}. "
            f"Received: {num_attention}"
        )
    return [int(p) for p in np.linspace(0, num_layers, num_attention).round()]


@keras.saving.register_keras_serializable(package="deltavae_tf")
class GatedStack(keras.layers.Layer):
    """Gated two-stack convolutions with attention blocks between them.

    With `causal=True`, output `[b, r, c]` depends on the strict raster past of (r, c):
    on all of it if there is self-attention, else on what the convolutions reach. (The
    horizontal stack reads the image shifted by one along the raster, so the first
    pixel of a row sees the last of the row above: there is no blind spot at the ends
    of rows.)

    Args:
      num_layers: int, gated layers (Table 4's l).
      width: int, channels (h).
      filter_size: int, feed-forward width of the attention blocks (r).
      num_attention: int, attention blocks (a), see `attention_places`.
      num_heads: int.
      kernel_size: odd int.
      causal: bool.
      cross_attention: bool, whether blocks also attend to a memory.
      causal_memory: bool, whether pixel (r, c) looks only at memory rows <= r.
      dropout_rate: float, on hidden units and attention weights.
      normalization: "layer" or "weight".
      rematerialize: bool, whether the backward pass computes the inside of each layer
        and block again (`backend.rematerialize`) instead of keeping it.
      position_signal: bool, whether the vertical stack, and through it every pixel, is
        told its row and column (`positions.pixel_signal`). Convolutions alone know
        them only near the border.
      **kwargs: `name`, `dtype`, ... for `keras.layers.Layer`.

    Call arguments:
      inputs: float `[B, H, W, C]`.
      memory: float `[B, n, M]`, or None without cross-attention.
      keys: uint32 `[B, 2]` for dropout, or None.

    Returns:
      float `[B, H, W, width]`.

    Reference: delta-VAE, section 4.1, appendix E.1 and Figure 5.
    """

    def __init__(
        self,
        num_layers: int,
        width: int,
        filter_size: int,
        num_attention: int = 0,
        num_heads: int = 1,
        kernel_size: int = 3,
        causal: bool = True,
        cross_attention: bool = False,
        causal_memory: bool = True,
        dropout_rate: float = 0.0,
        normalization: str = "layer",
        rematerialize: bool = False,
        position_signal: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.num_layers = num_layers
        self.width = width
        self.filter_size = filter_size
        self.num_attention = num_attention
        self.num_heads = num_heads
        self.kernel_size = kernel_size
        self.causal = causal
        self.cross_attention = cross_attention
        self.causal_memory = causal_memory
        self.dropout_rate = dropout_rate
        self.normalization = normalization
        self.rematerialize = rematerialize
        self.position_signal = position_signal

        shared = {"normalization": normalization, "dtype": self.dtype_policy}
        conv = {"kernel_size": kernel_size, "causal": causal, **shared}
        # The first row sees no image at all. Were the biases 0, layer norm would
        # multiply its gradient by 1 / sqrt(epsilon) in every layer.
        bias = keras.initializers.RandomNormal(stddev=0.1)
        self.vertical_stem = causal_conv.VerticalConv2D(
            width, name="vertical_stem", bias_initializer=bias, **conv
        )
        self.horizontal_stem = causal_conv.HorizontalConv2D(
            width, name="horizontal_stem", **conv
        )
        self.across = weight_norm.Linear(width, name="across", **shared)
        self.gated_layers = [
            gated_layer.GatedLayer(
                width, dropout_rate=dropout_rate, name=f"layer_{i}", **conv
            )
            for i in range(num_layers)
        ]
        self.blocks = {}
        if num_attention or cross_attention:
            for place in attention_places(num_layers, num_attention):
                self.blocks[str(place)] = transformer_block.TransformerBlock(
                    num_heads,
                    filter_size,
                    self_attention=num_attention > 0,
                    cross_attention=cross_attention,
                    causal=causal,
                    causal_memory=causal_memory,
                    dropout_rate=dropout_rate,
                    name=f"block_{place}",
                    **shared,
                )

    def build(self, inputs_shape: Any, memory_shape: Any = None) -> None:
        _, height, width, channels = inputs_shape
        self.image_size = (height, width)
        if self.position_signal:
            self._signal = positions.pixel_signal(height, width, self.width)
        image = (None, height, width, channels + 1)
        hidden = (None, height, width, self.width)
        self.vertical_stem.build(image)
        self.horizontal_stem.build(image)
        self.across.build(hidden)
        for layer in self.gated_layers:
            layer.build(hidden)
        for block in self.blocks.values():
            block.build(hidden, memory_shape)

    def call(
        self, inputs: Tensor, memory: Tensor | None = None, keys: Tensor | None = None
    ) -> Tensor:
        keys = keys if self.dropout_rate else None  # Else folded for nothing.
        image = ops.cast(mark_inside(inputs), self.compute_dtype)
        rows, pixels = image, image
        if self.causal:
            rows, pixels = shift_down(image), shift_along_raster(image)
        v = self._told(self.vertical_stem(rows))
        h = self.horizontal_stem(pixels) + self.across(v)
        h = self._attend(0, h, memory, keys)
        for i, layer in enumerate(self.gated_layers):
            v, h = self._run(layer, [v, h], noise.fold(keys, 2 * i))
            h = self._attend(i + 1, h, memory, keys)
        return h

    def _told(self, v, row=None):
        """The vertical stack's input, of a row or of all, with each pixel's place."""
        if not self.position_signal:
            return v
        signal = self._signal if row is None else ops.take(self._signal, row, axis=0)
        return v + ops.cast(signal, v.dtype)

    def _attend(self, place, h, memory, keys):
        block = self.blocks.get(str(place))
        if block is None:
            return h
        inputs = [h] if memory is None else [h, memory]
        return self._run(block, inputs, noise.fold(keys, 2 * place + 1))

    def _run(self, layer, inputs, keys):
        if self.rematerialize:
            return backend.rematerialize(layer, inputs, keys=keys)
        return layer(*inputs, keys=keys)

    def compute_output_shape(self, inputs_shape: Any, memory_shape: Any = None) -> Any:
        return (*inputs_shape[:-1], self.width)

    def init_cache(
        self, batch_size: int, channels: int, memory: Tensor | None = None
    ) -> Any:
        """The empty cache for images of `channels` channels."""
        height, width = self.image_size
        del height
        return {
            "rows": self.vertical_stem.init_cache(batch_size, width, channels + 1),
            "pixels": self.horizontal_stem.init_cache(batch_size, channels + 1),
            "layers": [x.init_cache(batch_size, width) for x in self.gated_layers],
            "blocks": {
                place: block.init_cache(batch_size, memory)
                for place, block in self.blocks.items()
            },
        }

    def row_step(self, row_above: Tensor, row: Tensor, cache: Any) -> tuple[Any, Any]:
        """Starts a row: runs the vertical stack.

        Args:
          row_above: float `[B, W, C + 1]`, marked by `mark_inside`; zeros above the
            image.
          row: int32 scalar, the row's number.
          cache: from `init_cache` or the step before.

        Returns:
          What the row gives to the horizontal stack (a list, for `step`), cache.
        """
        row_above = ops.cast(row_above, self.compute_dtype)
        v, rows = self.vertical_stem.step(row_above, cache["rows"])
        v = self._told(v, row)
        given, layers = [self.across(v)], []
        for layer, layer_cache in zip(self.gated_layers, cache["layers"], strict=True):
            v, from_row, layer_cache = layer.row_step(v, layer_cache)
            given.append(from_row)
            layers.append(layer_cache)
        cache = {
            "rows": rows,
            "pixels": ops.zeros_like(cache["pixels"]),
            "layers": layers,
            "blocks": {
                place: block.row_step(row, cache["blocks"][place])
                for place, block in self.blocks.items()
            },
        }
        return given, cache

    def step(
        self, pixel_before: Tensor, from_row: Any, position: Tensor, cache: Any
    ) -> tuple[Any, Any]:
        """One pixel.

        Args:
          pixel_before: float `[B, C + 1]`, the pixel before it in raster order,
            marked; zeros before the first.
          from_row: list of `[B, ...]`, `row_step`'s gift at the pixel's column.
          position: int32 scalar, the pixel's place in raster order.
          cache: from `row_step` or the step before.

        Returns:
          float `[B, width]`, cache.
        """
        pixel_before = ops.cast(pixel_before, self.compute_dtype)
        h, pixels = self.horizontal_stem.step(pixel_before, cache["pixels"])
        h = h + from_row[0]
        layers, blocks = [], dict(cache["blocks"])
        h = self._attend_step(0, h, position, blocks)
        for i, layer in enumerate(self.gated_layers):
            h, layer_cache = layer.step(h, from_row[i + 1], cache["layers"][i])
            layers.append(layer_cache)
            h = self._attend_step(i + 1, h, position, blocks)
        return h, {**cache, "pixels": pixels, "layers": layers, "blocks": blocks}

    def _attend_step(self, place, h, position, blocks):
        block = self.blocks.get(str(place))
        if block is None:
            return h
        h, blocks[str(place)] = block.step(h, position, blocks[str(place)])
        return h

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "num_layers": self.num_layers,
            "width": self.width,
            "filter_size": self.filter_size,
            "num_attention": self.num_attention,
            "num_heads": self.num_heads,
            "kernel_size": self.kernel_size,
            "causal": self.causal,
            "cross_attention": self.cross_attention,
            "causal_memory": self.causal_memory,
            "dropout_rate": self.dropout_rate,
            "normalization": self.normalization,
            "rematerialize": self.rematerialize,
            "position_signal": self.position_signal,
        }


def mark_inside(image: Tensor) -> Tensor:
    """Appends a channel of ones, so that zero padding differs from a zero pixel."""
    return ops.concatenate([image, ops.ones_like(image[..., :1])], axis=-1)


def shift_down(image: Tensor) -> Tensor:
    """`[b, r, c]` <- `[b, r - 1, c]`; zeros enter at the top."""
    return ops.pad(image, ((0, 0), (1, 0), (0, 0), (0, 0)))[:, :-1]


def shift_along_raster(image: Tensor) -> Tensor:
    """Each pixel takes the value of the one before it in raster order."""
    _, height, width, channels = image.shape
    flat = ops.reshape(image, (-1, height * width, channels))
    flat = ops.pad(flat, ((0, 0), (1, 0), (0, 0)))[:, :-1]
    return ops.reshape(flat, (-1, height, width, channels))
