"""q(z | x) for images: one latent vector a row."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from deltavae_tf import errors
from deltavae_tf.backend import Tensor
from deltavae_tf.layers import gated_stack, layer_norm

_MIN_SCALE = 1e-4


@keras.saving.register_keras_serializable(package="deltavae_tf")
class ImageEncoder(keras.layers.Layer):
    """Maps images to the mean and scale of one latent vector per image row.

    Anti-causal: z_i depends on the image rows >= i, on all of row i, and on none above.
    The image is turned by 180 degrees, padded by a column, run through the causal
    stack, cropped, turned back and averaged over its width. Non-causal: the same
    blueprint unmasked.

    Training starts with `scale = initial_scale` and a small `loc`: with
    `AR1.optimal_scale()`, a little above the committed rate. (From `loc = 0` exactly,
    the decoder learns that latents are noise before the encoder learns anything.)

    Args:
      latent_channels: int, d.
      num_layers: int (Table 4's l_e).
      width: int (h_e).
      filter_size: int (r_e).
      num_attention: int (a_e).
      num_heads: int.
      kernel_size: odd int.
      anti_causal: bool.
      initial_scale: float, or nested list or array `[n, d]`, of the posterior.
      num_levels: int, pixel values are 0 .. num_levels - 1.
      normalization: "layer" or "weight".
      rematerialize: bool, see `gated_stack.GatedStack`.
      initial_loc_scale: float >= 0, multiplies the initial size of the kernel that
        makes `loc`: above 1, latents say more of the image from the start.
      position_signal: bool, see `gated_stack.GatedStack`. Without it a mean over the
        width cannot say where in its row something is.
      **kwargs: `name`, `dtype`, ... for `keras.layers.Layer`.

    Call arguments:
      x: integer `[B, H, W, C]`.

    Returns:
      loc, scale: float32 `[B, H, d]`, scale > 0.

    Example:
      >>> encoder = ImageEncoder(2, num_layers=1, width=8, filter_size=16)
      >>> loc, scale = encoder(np.zeros([3, 8, 6, 1], "uint8"))
      >>> tuple(loc.shape)
      (3, 8, 2)

    Reference: delta-VAE, sections 2.2 and 4.1, appendix E.1.
    """

    def __init__(
        self,
        latent_channels: int,
        num_layers: int,
        width: int,
        filter_size: int,
        num_attention: int = 0,
        num_heads: int = 1,
        kernel_size: int = 3,
        anti_causal: bool = True,
        initial_scale: float | Sequence[Sequence[float]] | np.ndarray = 1.0,
        num_levels: int = 256,
        normalization: str = "layer",
        rematerialize: bool = False,
        initial_loc_scale: float = 1.0,
        position_signal: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(autocast=False, **kwargs)
        self.latent_channels = latent_channels
        self.num_layers = num_layers
        self.width = width
        self.filter_size = filter_size
        self.num_attention = num_attention
        self.num_heads = num_heads
        self.kernel_size = kernel_size
        self.anti_causal = anti_causal
        self.initial_scale = np.asarray(initial_scale, np.float32)
        self.num_levels = num_levels
        self.normalization = normalization
        self.rematerialize = rematerialize
        self.initial_loc_scale = initial_loc_scale
        self.position_signal = position_signal
        self.stack = gated_stack.GatedStack(
            num_layers,
            width,
            filter_size,
            num_attention,
            num_heads,
            kernel_size,
            causal=anti_causal,
            normalization=normalization,
            rematerialize=rematerialize,
            position_signal=position_signal,
            name="stack",
            dtype=self.dtype_policy,
        )
        self.norm = layer_norm.LayerNorm(name="norm", dtype="float32")
        self.head = keras.layers.Dense(
            2 * latent_channels,
            kernel_initializer=SmallLocZeroScale(initial_loc_scale),
            name="head",
            dtype="float32",
        )

    def build(self, x_shape: Any) -> None:
        if len(x_shape) != 4:
            raise errors.UserError(
                f"Images must be [B, H, W, C]. Received: {list(x_shape)}"
            )
        _, height, width, channels = x_shape
        wanted = (height, self.latent_channels)
        try:
            fits = np.broadcast_shapes(self.initial_scale.shape, wanted) == wanted
        except ValueError:
            fits = False
        if not fits:
            raise errors.UserError(
                f"`initial_scale` must be a number or [n, d], {list(wanted)} for "
                f"images of {height} rows. Received: {list(self.initial_scale.shape)}"
            )
        self.image_shape = (height, width, channels)
        self.stack.build((None, height, width + int(self.anti_causal), channels))
        self.norm.build((None, height, self.width))
        self.head.build((None, height, self.width))

    def call(self, x: Tensor) -> tuple[Tensor, Tensor]:
        check_image(x, self.image_shape)
        image = scale_pixels(x, self.num_levels)
        if self.anti_causal:
            # The extra column's outputs know all of their row; cropping the first
            # column instead keeps every row's own pixels and leaks none above.
            turned = ops.pad(turn(image), ((0, 0), (0, 0), (0, 1), (0, 0)))
            # By a split: the gradient of a slice with steps is many times slower.
            features = turn(ops.split(self.stack(turned), [1], axis=2)[1])
        else:
            features = self.stack(image)
        pooled = ops.mean(ops.cast(features, "float32"), axis=2)
        loc, raw_scale = ops.split(self.head(self.norm(pooled)), 2, axis=-1)
        # softplus(ln(e - 1)) = 1: the scale starts at `initial_scale`.
        relative = ops.softplus(raw_scale + float(np.log(np.e - 1.0)))
        return loc, self.initial_scale * ops.maximum(relative, _MIN_SCALE)

    def compute_output_shape(self, x_shape: Any) -> Any:
        shape = (*x_shape[:2], self.latent_channels)
        return shape, shape

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "latent_channels": self.latent_channels,
            "num_layers": self.num_layers,
            "width": self.width,
            "filter_size": self.filter_size,
            "num_attention": self.num_attention,
            "num_heads": self.num_heads,
            "kernel_size": self.kernel_size,
            "anti_causal": self.anti_causal,
            "initial_scale": self.initial_scale.tolist(),
            "num_levels": self.num_levels,
            "normalization": self.normalization,
            "rematerialize": self.rematerialize,
            "initial_loc_scale": self.initial_loc_scale,
            "position_signal": self.position_signal,
        }


class SmallLocZeroScale(keras.initializers.Initializer):
    """For a kernel `[C, 2 d]`: normal of stddev 0.1 * `factor` / sqrt(C), then zeros.

    Args:
      factor: float >= 0.
    """

    def __init__(self, factor: float = 1.0) -> None:
        if not 0 <= factor < np.inf:
            raise errors.UserError(
                f"`initial_loc_scale` must be finite and at least 0. Received: {factor}"
            )
        self.factor = factor

    def __call__(self, shape: Sequence[int], dtype: Any = None) -> Tensor:
        inputs, outputs = shape
        small = keras.initializers.RandomNormal(stddev=0.1 * inputs**-0.5 * self.factor)
        loc = small((inputs, outputs // 2), dtype)
        return ops.concatenate([loc, ops.zeros_like(loc)], axis=1)


def check_image(x: Tensor, image_shape: tuple[int, ...]) -> None:
    """Raises a ValueError unless `x` is an integer batch of `image_shape` (H, W, C)."""
    dtype = keras.backend.standardize_dtype(x.dtype)
    if "int" not in dtype or tuple(x.shape[1:]) != tuple(image_shape):
        raise errors.UserError(
            f"Images must be integers [B, {', '.join(map(str, image_shape))}], "
            f"0 .. num_levels - 1. Received: {dtype} {list(x.shape)}"
        )


def scale_pixels(x: Tensor, num_levels: int) -> Tensor:
    """Integers 0 .. num_levels - 1 to float32 in [-1, 1]."""
    return ops.cast(x, "float32") * (2.0 / (num_levels - 1)) - 1.0


def turn(image: Tensor) -> Tensor:
    """Turns an image `[B, H, W, C]` by 180 degrees."""
    return ops.flip(image, axis=(1, 2))
