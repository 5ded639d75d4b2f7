"""The independent delta-VAE's posterior, around any encoder."""

from collections.abc import Mapping
from typing import Any

import keras
from keras import ops

from deltavae_tf import errors
from deltavae_tf.backend import Tensor
from deltavae_tf.distributions import delta_normal


@keras.saving.register_keras_serializable(package="deltavae_tf")
class IndependentDeltaEncoder(keras.layers.Layer):
    """Makes an encoder keep its distance from N(0, 1) in every latent.

    The wrapped encoder's loc and log scale become the two free parameters of a
    `DeltaNormal`: whatever the encoder says, KL(q || N(0, I)) >= n * d * `rate`. To be
    used with an N(0, I) prior, `AR1` with alpha = 0.

    Args:
      encoder: layer, x -> (loc, scale), each `[B, n, d]`, scale > 0.
      rate: float > 0, delta per latent, nats.
      **kwargs: `name`, `dtype`, ... for `keras.layers.Layer`.

    Call arguments:
      x: what the encoder takes; further arguments are passed on.

    Returns:
      loc, scale: float32 `[B, n, d]`.

    Reference: delta-VAE, appendix D.
    """

    def __init__(self, encoder: keras.layers.Layer, rate: float, **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)
        self.encoder = encoder
        self.rate = rate
        self._event_shape: tuple[int, ...] | None = None  # (n, d), once called.
        delta_normal.scale_interval(rate)  # Its error, now.

    def build(self, x_shape: Any) -> None:
        if not self.encoder.built:
            self.encoder.build(x_shape)

    def call(self, x: Tensor, **kwargs: Any) -> tuple[Tensor, Tensor]:
        loc, scale = self.encoder(x, **kwargs)
        self._event_shape = tuple(loc.shape[1:])
        log_scale = ops.log(ops.cast(scale, "float32"))
        q = delta_normal.DeltaNormal(loc, log_scale, self.rate)
        return q.loc, q.scale

    def compute_output_shape(self, x_shape: Any) -> Any:
        return self.encoder.compute_output_shape(x_shape)

    def committed_rate(self, segments: Tensor | None = None) -> float | Tensor:
        """delta of all latents of an example, nats; see `LatentPrior.committed_rate`.

        How many latents there are is known once the encoder was called.
        """
        if self._event_shape is None:
            raise errors.UserError(
                "How many latents the encoder has is known after its first call. "
                "Received: an encoder that was never called"
            )
        steps, channels = self._event_shape
        if segments is None:
            return self.rate * float(steps * channels)
        real = ops.cast(ops.not_equal(segments, 0), "float32")
        return self.rate * float(channels) * ops.sum(real, axis=1)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "encoder": keras.saving.serialize_keras_object(self.encoder),
            "rate": self.rate,
        }

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> "IndependentDeltaEncoder":
        """The inverse of `get_config`."""
        encoder = keras.saving.deserialize_keras_object(config["encoder"])
        return cls(**{**config, "encoder": encoder})
