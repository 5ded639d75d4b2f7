"""p(x | z) for images: a PixelSNAIL-like autoregressive decoder."""

from typing import Any

import keras
from keras import ops

from deltavae_tf import errors, noise
from deltavae_tf.backend import Tensor
from deltavae_tf.distributions import mixture_logistic
from deltavae_tf.layers import gated_stack, weight_norm
from deltavae_tf.models import image_encoder


@keras.saving.register_keras_serializable(package="deltavae_tf")
class ImageDecoder(keras.layers.Layer):
    """Autoregressive over pixels in raster order, cross-attending to the rows of z.

    Pixel (r, c) depends on the strict raster past and on z_j with j <= r (with
    `causal_latents=False`: on every z_j). Without z it is the autoregressive baseline.

    Args:
      num_layers: int (Table 4's l_d).
      width: int (h_d).
      filter_size: int (r_d).
      num_attention: int (a_d); 0 keeps the cross-attention.
      num_heads: int.
      num_mixtures: int, logistics per pixel.
      kernel_size: odd int.
      use_latents: bool, `False` for the autoregressive baseline.
      causal_latents: bool.
      dropout_rate: float, on hidden units and attention weights, in training.
      num_levels: int, pixel values are 0 .. num_levels - 1.
      normalization: "layer", or "weight": then there is no layer norm at all.
      rematerialize: bool, see `gated_stack.GatedStack`.
      position_signal: bool, see `gated_stack.GatedStack`. Without it a pixel far from
        the border does not know its column, and latents cannot tell it what is there.
      **kwargs: `name`, `dtype`, ... for `keras.layers.Layer`.

    Call arguments:
      z: float `[B, H, d]`, one latent a row; None for the baseline.
      x: integer `[B, H, W, C]`, C = 1 or 3.
      keys: uint32 `[B, 2]` for dropout, or None.

    Returns:
      `DiscretizedLogisticMixture` of batch shape `[B]`, event shape `[H, W, C]`.

    Example:
      >>> decoder = ImageDecoder(num_layers=1, width=8, filter_size=16, num_mixtures=2)
      >>> images = np.zeros([3, 8, 6, 1], "uint8")
      >>> distribution = decoder(np.zeros([3, 8, 2], "float32"), images)
      >>> tuple(distribution.log_prob(images).shape)  # nats
      (3,)

    Reference: delta-VAE, section 4.1 and appendix E.1; Salimans et al.,
    "PixelCNN++" (2017); Chen et al., "PixelSNAIL" (2017).
    """

    def __init__(
        self,
        num_layers: int,
        width: int,
        filter_size: int,
        num_attention: int = 0,
        num_heads: int = 1,
        num_mixtures: int = 10,
        kernel_size: int = 3,
        use_latents: bool = True,
        causal_latents: bool = True,
        dropout_rate: float = 0.0,
        num_levels: int = 256,
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
        self.num_mixtures = num_mixtures
        self.kernel_size = kernel_size
        self.use_latents = use_latents
        self.causal_latents = causal_latents
        self.dropout_rate = dropout_rate
        self.num_levels = num_levels
        self.normalization = normalization
        self.rematerialize = rematerialize
        self.position_signal = position_signal
        self.stack = gated_stack.GatedStack(
            num_layers,
            width,
            filter_size,
            num_attention,
            num_heads,
            kernel_size,
            cross_attention=use_latents,
            causal_memory=causal_latents,
            dropout_rate=dropout_rate,
            normalization=normalization,
            rematerialize=rematerialize,
            position_signal=position_signal,
            name="stack",
            dtype=self.dtype_policy,
        )
        self.norm = weight_norm.layer_norm(normalization, name="norm", dtype="float32")

    def build(self, z_shape: Any = None, x_shape: Any = None) -> None:
        if x_shape is None:  # A saved baseline: Keras kept the one shape there was.
            z_shape, x_shape = None, z_shape
        if len(x_shape) != 4:
            raise errors.UserError(
                f"Images must be [B, H, W, C]. Received: {list(x_shape)}"
            )
        _, height, width, channels = x_shape
        if channels not in (1, 3):
            raise errors.UserError(
                f"Images must have 1 or 3 channels. Received: shape {x_shape}"
            )
        if self.use_latents and z_shape[1] != height:
            raise errors.UserError(
                "The decoder wants one latent for each image row. "
                f"Received: {z_shape[1]} latents, {height} rows"
            )
        self.image_shape = (height, width, channels)
        self.stack.build(x_shape, z_shape if self.use_latents else None)
        outputs = mixture_logistic.DiscretizedLogisticMixture.num_parameters(
            self.num_mixtures, channels
        )
        self.head = weight_norm.Linear(
            outputs, self.normalization, name="head", dtype="float32"
        )
        self.norm.build((None, height, width, self.width))
        self.head.build((None, height, width, self.width))

    def call(self, z: Tensor | None, x: Tensor, keys: Tensor | None = None) -> Any:
        image_encoder.check_image(x, self.image_shape)
        h = self.stack(image_encoder.scale_pixels(x, self.num_levels), z, keys=keys)
        return self._distribution(h)

    def _distribution(self, h):
        return mixture_logistic.DiscretizedLogisticMixture.from_parameters(
            self.head(self.norm(h)), self.image_shape[-1], self.num_levels
        )

    def init_cache(self, batch_size: int, z: Tensor | None = None) -> Any:
        """The empty cache of the one-position form."""
        return self.stack.init_cache(batch_size, self.image_shape[-1], z)

    def sample(
        self,
        z: Tensor | None,
        keys: Tensor,
        temperature: float | Tensor = 1.0,
        given: Tensor | None = None,
        num_given: int | Tensor = 0,
    ) -> Tensor:
        """Samples images, one pixel at a time, from cached features.

        The vertical stack runs once a row and the horizontal stack once a pixel: the
        arithmetic of one parallel pass, and exactly its distribution. Compile it
        (`backend.compile`): it is one loop of static shapes.

        Args:
          z: float `[B, H, d]`, or None for the baseline.
          keys: uint32 `[B, 2]`, one for each image.
          temperature: float > 0 or scalar tensor; 1 samples the model itself.
          given: integer `[B, H, W, C]`, an image to complete, or None.
          num_given: int, or int32 tensor `[]` or `[B]`: how many pixels of `given`,
            in raster order, are kept. The rest is an exact sample of
            p(rest | z, kept); what `given` holds there has no influence.

        Returns:
          int32 `[B, H, W, C]`.
        """
        height, width, channels = self.image_shape
        batch_size = ops.shape(keys)[0]
        uniforms = noise.uniform(keys, (height * width, 1 + channels))
        if given is not None:
            image_encoder.check_image(given, self.image_shape)
            given = ops.cast(given, "int32")
            num_given = ops.reshape(ops.cast(num_given, "int32"), (-1, 1, 1, 1))

        def blank(*shape):
            return ops.zeros((batch_size, *shape), dtype="float32")

        def next_pixel(column, state):
            row, image, from_rows, before, cache = state
            position = row * width + column
            from_row = [ops.take(g, column, axis=1) for g in from_rows]
            h, cache = self.stack.step(before, from_row, position, cache)
            uniform = ops.take(uniforms, position, axis=1)
            pixel = self._distribution(h[:, None, None]).sample_from_uniforms(
                uniform[:, None, None, 0], uniform[:, None, None, 1:], temperature
            )
            if given is not None:
                known = ops.take(ops.take(given, row, axis=1), column, axis=1)
                pixel = ops.where(position < num_given, known[:, None, None], pixel)
            image = ops.slice_update(image, (0, row, column, 0), pixel)
            before = gated_stack.mark_inside(
                image_encoder.scale_pixels(pixel[:, 0, 0], self.num_levels)
            )
            return row, image, from_rows, before, cache

        def next_row(row, state):
            image, before, cache = state
            above = ops.take(image, ops.maximum(row - 1, 0), axis=1)
            above = gated_stack.mark_inside(
                image_encoder.scale_pixels(above, self.num_levels)
            )
            above = ops.where(row > 0, above, ops.zeros_like(above))
            from_rows, cache = self.stack.row_step(above, row, cache)
            _, image, _, before, cache = ops.fori_loop(
                0, width, next_pixel, (row, image, from_rows, before, cache)
            )
            return image, before, cache

        image = ops.zeros((batch_size, height, width, channels), dtype="int32")
        state = (image, blank(channels + 1), self.init_cache(batch_size, z))
        return ops.fori_loop(0, height, next_row, state)[0]

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "num_layers": self.num_layers,
            "width": self.width,
            "filter_size": self.filter_size,
            "num_attention": self.num_attention,
            "num_heads": self.num_heads,
            "num_mixtures": self.num_mixtures,
            "kernel_size": self.kernel_size,
            "use_latents": self.use_latents,
            "causal_latents": self.causal_latents,
            "dropout_rate": self.dropout_rate,
            "num_levels": self.num_levels,
            "normalization": self.normalization,
            "rematerialize": self.rematerialize,
            "position_signal": self.position_signal,
        }
