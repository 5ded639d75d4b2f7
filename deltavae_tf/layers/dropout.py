"""Dropout from stateless noise."""

from typing import Any

import keras
from keras import ops

from deltavae_tf import errors, noise
from deltavae_tf.backend import Tensor


@keras.saving.register_keras_serializable(package="deltavae_tf")
class Dropout(keras.layers.Layer):
    """Dropout whose mask is a function of a key per example, or the identity.

    Keras's own draws the same mask on every replica and cannot be resumed to the
    bit; this one depends on the example alone.

    Args:
      rate: float in [0, 1), the probability of dropping a unit.
      **kwargs: `name`, `dtype`, ... for `keras.layers.Layer`.

    Call arguments:
      inputs: float `[B, ...]`, all but the first axis static.
      keys: uint32 `[B, 2]`, or None (evaluation, sampling) for the identity.

    Returns:
      float, the shape of `inputs`.
    """

    def __init__(self, rate: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check_rate(rate)
        self.rate = rate
        self.built = True

    def call(self, inputs: Tensor, keys: Tensor | None = None) -> Tensor:
        if keys is None or self.rate == 0.0:
            return inputs
        keep = noise.bernoulli(keys, inputs.shape[1:], 1.0 - self.rate)
        scaled = inputs / ops.cast(1.0 - self.rate, inputs.dtype)
        return ops.where(keep, scaled, ops.zeros_like(inputs))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "rate": self.rate}


def check_rate(rate: float) -> None:
    """Raises a UserError unless `rate` is a probability below 1."""
    if not 0.0 <= rate < 1.0:
        raise errors.UserError(f"A dropout rate must be in [0, 1). Received: {rate}")
