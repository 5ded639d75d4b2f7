"""q(z | x) for text: a Transformer that looks at a token and the future."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from deltavae_tf import segments as places
from deltavae_tf.backend import Tensor
from deltavae_tf.distributions import segmented_ar1
from deltavae_tf.layers import sequence_stack, token_embedding
from deltavae_tf.models import image_encoder

_MIN_SCALE = 1e-4  # Relative to the optimum.


@keras.saving.register_keras_serializable(package="deltavae_tf")
class TextEncoder(keras.layers.Layer):
    """Mean and scale of a latent for every token, from upper triangular attention.

    z_t depends on the tokens from t to the end of its sentence, and on how far it is
    from the sentence's start; never on another sentence of the row. As in the image
    models, dropout is the decoder's alone.

    Args:
      vocabulary_size: int.
      latent_channels: int (Table 5's z).
      num_layers: int (l).
      width: int (h).
      filter_size: int (r).
      num_heads: int.
      alpha: `[latent_channels]`, of the AR(1) prior: scales start where its KL is the
        committed rate. None: of N(0, 1).
      initial_loc_scale: float >= 0, multiplies the initial size of the kernel that
        makes `loc`: above 1, latents say more of the tokens from the start.
      **kwargs: `name`, `dtype`, ... for `keras.layers.Layer`.

    Call arguments:
      x: int `[B, L]`, tokens; sentences end with EOS 1, the rest is PAD 0.

    Returns:
      loc, scale: float32 `[B, L, latent_channels]`.

    Reference: delta-VAE, section 4.4, appendix E.2 and Table 5.
    """

    def __init__(
        self,
        vocabulary_size: int,
        latent_channels: int,
        num_layers: int,
        width: int,
        filter_size: int,
        num_heads: int = 8,
        alpha: Sequence[float] | np.ndarray | None = None,
        initial_loc_scale: float = 1.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.vocabulary_size = vocabulary_size
        self.latent_channels = latent_channels
        self.num_layers = num_layers
        self.width = width
        self.filter_size = filter_size
        self.num_heads = num_heads
        self.alpha = list(np.zeros(latent_channels) if alpha is None else alpha)
        self.initial_loc_scale = initial_loc_scale
        self._prior = segmented_ar1.SegmentedAR1(self.alpha)
        self.embedding = token_embedding.TokenEmbedding(
            vocabulary_size, width, name="embedding", dtype=self.dtype_policy
        )
        self.stack = sequence_stack.SequenceStack(
            num_layers,
            width,
            filter_size,
            num_heads,
            future=True,
            name="stack",
            dtype=self.dtype_policy,
        )
        self.head = keras.layers.Dense(
            2 * latent_channels,
            kernel_initializer=image_encoder.SmallLocZeroScale(initial_loc_scale),
            name="head",
            dtype="float32",
        )

    def build(self, x_shape: Any) -> None:
        self.embedding.build()
        self.stack.build((None, None, self.width))
        self.head.build((None, None, self.width))

    def call(self, x: Tensor) -> tuple[Tensor, Tensor]:
        segments = places.segment_ids(x)
        h = self.stack(self.embedding(x), segments)
        loc, raw_scale = ops.split(self.head(h), 2, axis=-1)
        # softplus(ln(e - 1)) = 1: the scale starts at the optimum.
        relative = ops.softplus(raw_scale + float(np.log(np.e - 1.0)))
        optimum = self._prior.optimal_scale(segments)
        return loc, optimum * ops.maximum(relative, _MIN_SCALE)

    def compute_output_shape(self, x_shape: Any) -> Any:
        shape = (*x_shape, self.latent_channels)
        return shape, shape

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "vocabulary_size": self.vocabulary_size,
            "latent_channels": self.latent_channels,
            "num_layers": self.num_layers,
            "width": self.width,
            "filter_size": self.filter_size,
            "num_heads": self.num_heads,
            "alpha": [float(a) for a in self.alpha],
            "initial_loc_scale": self.initial_loc_scale,
        }
