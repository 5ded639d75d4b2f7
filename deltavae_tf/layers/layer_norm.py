"""Layer normalization whose gradient passes over memory as seldom as may be."""

from typing import Any

import keras
from keras import ops

from deltavae_tf import backend
from deltavae_tf.backend import Tensor


@keras.saving.register_keras_serializable(package="deltavae_tf")
class LayerNorm(keras.layers.LayerNormalization):
    """`keras.layers.LayerNormalization` of the last axis, with its gradient written
    out.

    The gradient that TensorFlow derives takes twice the time: it knows neither that
    what is normalized has mean 0, nor that the forward pass has computed it already.
    Weights, their names and the formula are Keras's; numbers agree to rounding.

    Args:
      epsilon: float, added to the variance.
      **kwargs: `name`, `dtype`, ... for `keras.layers.Layer`.

    Call arguments:
      inputs: float `[..., C]`.

    Returns:
      float `[..., C]` in `compute_dtype`.

    Reference: Ba et al., "Layer normalization" (2016).
    """

    def __init__(self, epsilon: float = 1e-6, **kwargs: Any) -> None:
        super().__init__(epsilon=epsilon, **kwargs)

    def call(self, inputs: Tensor) -> Tensor:
        gain, offset = (ops.convert_to_tensor(v) for v in (self.gamma, self.beta))
        outputs = normalize(inputs, gain, offset, self.epsilon)
        return ops.cast(outputs, self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        return {
            **keras.layers.Layer.get_config(self),
            "epsilon": self.epsilon,
        }


def normalize(inputs: Tensor, gain: Tensor, offset: Tensor, epsilon: float) -> Tensor:
    """Mean 0 and variance 1 over the last axis, then gain and offset.

    It is computed in float32 at least; what the gradient needs is kept in the inputs'
    dtype.

    Args:
      inputs: float `[..., C]`.
      gain: float `[C]`.
      offset: float `[C]`.
      epsilon: float.

    Returns:
      float `[..., C]`, of the inputs' dtype.
    """
    wide = keras.backend.result_type(inputs.dtype, "float32")
    weights = gain.dtype
    examples = tuple(range(len(inputs.shape) - 1))

    @backend.custom_gradient
    def normalized(inputs, gain, offset):
        x = ops.cast(inputs, wide)
        gain, offset = ops.cast(gain, wide), ops.cast(offset, wide)
        x = x - ops.mean(x, axis=-1, keepdims=True)
        variance = ops.mean(ops.square(x), axis=-1, keepdims=True)
        scale = ops.rsqrt(variance + epsilon)
        x = x * scale
        kept = ops.cast(x, inputs.dtype)

        def gradient(upstream):
            x, dy = ops.cast(kept, wide), ops.cast(upstream, wide)
            dx = dy * gain
            along = ops.mean(dx * x, axis=-1, keepdims=True)
            dx = scale * (dx - ops.mean(dx, axis=-1, keepdims=True) - x * along)
            return (
                ops.cast(dx, inputs.dtype),
                ops.cast(ops.sum(dy * x, axis=examples), weights),
                ops.cast(ops.sum(dy, axis=examples), weights),
            )

        return ops.cast(x * gain + offset, inputs.dtype), gradient

    return normalized(inputs, gain, offset)
