"""Convolutions of the two stacks of a Gated PixelCNN, whole and one step at a time."""

from typing import Any

import keras
from keras import ops

from deltavae_tf import errors
from deltavae_tf.backend import Tensor
from deltavae_tf.layers import weight_norm


class _StackConv2D(keras.layers.Layer):
    """What the two convolutions share: a small dense kernel and explicit padding."""

    def __init__(
        self,
        filters: int,
        kernel_size: int = 3,
        causal: bool = True,
        normalization: str = "layer",
        bias_initializer: Any = "zeros",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if kernel_size % 2 != 1 or kernel_size < 1:
            raise errors.UserError(
                f"`kernel_size` must be odd and positive. Received: {kernel_size}"
            )
        weight_norm.check_normalization(normalization)
        self.filters = filters
        self.kernel_size = kernel_size
        self.causal = causal
        self.normalization = normalization
        self.bias_initializer = keras.initializers.get(bias_initializer)

    def _window(self):
        """(height, width) of the kernel; ((top, bottom), (left, right)) padding."""
        raise NotImplementedError

    def build(self, input_shape: Any) -> None:
        window, _ = self._window()
        kernel_shape = (*window, input_shape[-1], self.filters)
        self.weights_ = weight_norm.KernelAndBias(
            kernel_shape,
            self.normalization,
            self.bias_initializer,
            name="weights",
            dtype=self.dtype_policy,
        )
        self.weights_.build(input_shape)

    def call(self, inputs: Tensor) -> Tensor:
        _, padding = self._window()
        padded = ops.pad(inputs, ((0, 0), *padding, (0, 0)))
        return self.weights_.apply_to(padded, _valid_conv)

    def compute_output_shape(self, input_shape: Any) -> Any:
        return (*input_shape[:-1], self.filters)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "causal": self.causal,
            "normalization": self.normalization,
            "bias_initializer": keras.initializers.serialize(self.bias_initializer),
        }


def _valid_conv(inputs, kernel):
    return ops.conv(inputs, kernel, padding="valid")


@keras.saving.register_keras_serializable(package="deltavae_tf")
class VerticalConv2D(_StackConv2D):
    """Convolution of the vertical stack: sees its own row and the rows above.

    Output `[b, r, c]` depends on inputs `[b, r - k//2 .. r, c - k//2 .. c + k//2]`
    (with `causal=False`, on rows `r - k//2 .. r + k//2`). Feed it features that know
    only earlier rows and its outputs do too.

    Args:
      filters: int, output channels.
      kernel_size: odd int, k.
      causal: bool, `False` for a full k x k window.
      normalization: "layer" (plain weights) or "weight" (weight normalization).
      bias_initializer: keras initializer or its name.
      **kwargs: `name`, `dtype`, ... for `keras.layers.Layer`.

    Call arguments:
      inputs: float `[B, H, W, C]`.

    Returns:
      float `[B, H, W, filters]` in `compute_dtype`.

    Reference: van den Oord et al., "Conditional image generation with PixelCNN
    decoders" (2016), section 2.2.
    """

    def _window(self):
        half = self.kernel_size // 2
        below = 0 if self.causal else half
        return (half + 1 + below, self.kernel_size), ((half, below), (half, half))

    def init_cache(self, batch_size: int, width: int, channels: int) -> Any:
        """The rows above the image: zeros `[B, k//2, W, C]`."""
        shape = (batch_size, self.kernel_size // 2, width, channels)
        return ops.zeros(shape, dtype=self.compute_dtype)

    def step(self, row: Tensor, cache: Any) -> tuple[Any, Any]:
        """One row: `[B, W, C]` and the `k//2` rows above -> `[B, W, filters]`."""
        rows = ops.concatenate([cache, row[:, None]], axis=1)
        half = self.kernel_size // 2
        padded = ops.pad(rows, ((0, 0), (0, 0), (half, half), (0, 0)))
        outputs = self.weights_.apply_to(padded, _valid_conv)
        return outputs[:, 0], rows[:, 1:]


@keras.saving.register_keras_serializable(package="deltavae_tf")
class HorizontalConv2D(_StackConv2D):
    """Convolution of the horizontal stack: sees its own pixel and those to the left.

    Output `[b, r, c]` depends on inputs `[b, r, c - k//2 .. c]` (with
    `causal=False`, to `c + k//2`).

    Args:
      filters: int, output channels.
      kernel_size: odd int, k.
      causal: bool, `False` for a window that is open to both sides.
      normalization: "layer" (plain weights) or "weight" (weight normalization).
      bias_initializer: keras initializer or its name.
      **kwargs: `name`, `dtype`, ... for `keras.layers.Layer`.

    Call arguments:
      inputs: float `[B, H, W, C]`.

    Returns:
      float `[B, H, W, filters]` in `compute_dtype`.

    Reference: van den Oord et al. (2016), section 2.2.
    """

    def _window(self):
        half = self.kernel_size // 2
        right = 0 if self.causal else half
        return (1, half + 1 + right), ((0, 0), (half, right))

    def init_cache(self, batch_size: int, channels: int) -> Any:
        """The pixels left of the image: zeros `[B, k//2, C]`."""
        shape = (batch_size, self.kernel_size // 2, channels)
        return ops.zeros(shape, dtype=self.compute_dtype)

    def step(self, pixel: Tensor, cache: Any) -> tuple[Any, Any]:
        """One pixel: `[B, C]` and the `k//2` to its left -> `[B, filters]`."""
        pixels = ops.concatenate([cache, pixel[:, None]], axis=1)
        flat = ops.reshape(pixels, (-1, pixels.shape[1] * pixels.shape[2]))

        def product(inputs, kernel):
            return ops.matmul(inputs, ops.reshape(kernel, (-1, self.filters)))

        return self.weights_.apply_to(flat, product), pixels[:, 1:]
