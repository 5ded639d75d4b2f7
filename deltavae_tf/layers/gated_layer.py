"""One gated convolutional layer of the two stacks of a Gated PixelCNN."""

from typing import Any

import keras
from keras import ops

from deltavae_tf import backend
from deltavae_tf.backend import Tensor
from deltavae_tf.layers import causal_conv, dropout, weight_norm


@keras.saving.register_keras_serializable(package="deltavae_tf")
class GatedLayer(keras.layers.Layer):
    """Vertical stack feeds horizontal stack; tanh * sigmoid gates; residual on the
    horizontal stack.

    With `causal=True`: if `vertical[b, r]` knows rows < r and `horizontal[b, r, c]`
    knows the strict raster past of (r, c), so do the outputs.

    Args:
      width: int, channels of either stack.
      kernel_size: odd int.
      causal: bool, `False` opens both windows.
      dropout_rate: float, on the horizontal gate's output.
      normalization: "layer" normalizes the input of each convolution; "weight" its
        weights.
      **kwargs: `name`, `dtype`, ... for `keras.layers.Layer`.

    Call arguments:
      vertical: float `[B, H, W, width]`.
      horizontal: float `[B, H, W, width]`.
      keys: uint32 `[B, 2]` for dropout, or None.

    Returns:
      Two tensors like `vertical` and `horizontal`.

    Reference: van den Oord et al. (2016), Figure 2.
    """

    def __init__(
        self,
        width: int,
        kernel_size: int = 3,
        causal: bool = True,
        dropout_rate: float = 0.0,
        normalization: str = "layer",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.width = width
        self.kernel_size = kernel_size
        self.causal = causal
        self.dropout_rate = dropout_rate
        self.normalization = normalization
        policy = self.dtype_policy
        conv = {
            "filters": 2 * width,
            "kernel_size": kernel_size,
            "causal": causal,
            "normalization": normalization,
            "dtype": policy,
        }
        self.vertical_conv = causal_conv.VerticalConv2D(name="vertical", **conv)
        self.horizontal_conv = causal_conv.HorizontalConv2D(name="horizontal", **conv)
        self.across = weight_norm.Linear(
            2 * width, normalization, name="across", dtype=policy
        )
        self.project = weight_norm.Linear(
            width, normalization, name="project", dtype=policy
        )
        self.vertical_norm = weight_norm.layer_norm(
            normalization, name="vertical_norm", dtype=policy
        )
        self.horizontal_norm = weight_norm.layer_norm(
            normalization, name="horizontal_norm", dtype=policy
        )
        self.dropout = dropout.Dropout(dropout_rate, dtype=policy)

    def build(self, vertical_shape: Any, horizontal_shape: Any = None) -> None:
        self.vertical_norm.build(vertical_shape)
        self.horizontal_norm.build(vertical_shape)
        self.vertical_conv.build(vertical_shape)
        self.horizontal_conv.build(vertical_shape)
        self.across.build((*vertical_shape[:-1], 2 * self.width))
        self.project.build((*vertical_shape[:-1], self.width))

    def call(
        self, vertical: Tensor, horizontal: Tensor, keys: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        rows = self.vertical_conv(self.vertical_norm(vertical))
        pixels = self.horizontal_conv(self.horizontal_norm(horizontal))
        gated = self.dropout(gate(pixels + self.across(rows)), keys)
        return gate(rows), horizontal + self.project(gated)

    def compute_output_shape(self, vertical_shape: Any, horizontal_shape: Any) -> Any:
        return vertical_shape, horizontal_shape

    def init_cache(self, batch_size: int, image_width: int) -> Any:
        """Cache of the row above and of the pixels to the left."""
        return {
            "rows": self.vertical_conv.init_cache(batch_size, image_width, self.width),
            "pixels": self.horizontal_conv.init_cache(batch_size, self.width),
        }

    def row_step(self, vertical: Tensor, cache: Any) -> tuple[Tensor, Tensor, Any]:
        """Starts a row.

        Args:
          vertical: float `[B, W, width]`, the vertical stack's row.
          cache: from `init_cache` or the step before.

        Returns:
          The vertical stack's next row `[B, W, width]`; what the row gives to the
          horizontal stack, `[B, W, 2 * width]`; the cache with no pixel to the left.
        """
        rows, seen = self.vertical_conv.step(
            self.vertical_norm(vertical), cache["rows"]
        )
        cache = {"rows": seen, "pixels": ops.zeros_like(cache["pixels"])}
        return gate(rows), self.across(rows), cache

    def step(self, horizontal: Tensor, from_row: Any, cache: Any) -> tuple[Any, Any]:
        """One pixel: `[B, width]` and `row_step`'s `[B, 2 * width]` at its column."""
        pixels, left = self.horizontal_conv.step(
            self.horizontal_norm(horizontal), cache["pixels"]
        )
        outputs = horizontal + self.project(gate(pixels + from_row))
        return outputs, {**cache, "pixels": left}

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "width": self.width,
            "kernel_size": self.kernel_size,
            "causal": self.causal,
            "dropout_rate": self.dropout_rate,
            "normalization": self.normalization,
        }


def gate(inputs: Tensor) -> Tensor:
    """tanh(a) * sigmoid(b) of the two halves of the last axis.

    It is computed in float32 at least: a processor has no such functions of bfloat16,
    and is slow to make do. What the gradient needs is kept in the inputs' dtype.

    Args:
      inputs: float `[..., 2 C]`.

    Returns:
      float `[..., C]`, of the inputs' dtype.
    """
    wide = keras.backend.result_type(inputs.dtype, "float32")

    @backend.custom_gradient
    def gated(inputs):
        a, b = (ops.cast(half, wide) for half in ops.split(inputs, 2, axis=-1))
        a, b = ops.tanh(a), ops.sigmoid(b)
        kept = [ops.cast(half, inputs.dtype) for half in (a, b)]

        def gradient(upstream):
            a, b = (ops.cast(half, wide) for half in kept)
            dy = ops.cast(upstream, wide)
            da, db = dy * b, dy * a * b
            halves = da - da * ops.square(a), db - db * b
            halves = [ops.cast(half, inputs.dtype) for half in halves]
            return ops.concatenate(halves, axis=-1)

        return ops.cast(a * b, inputs.dtype), gradient

    return gated(inputs)
