"""Adam as Keras has it, in fewer operations."""

from typing import Any

import keras
from keras import ops

from deltavae_tf import backend


@keras.saving.register_keras_serializable(package="deltavae_tf")
class Adam(keras.optimizers.Adam):
    """`keras.optimizers.Adam`, one operation a variable on TensorFlow.

    Keras writes the update as some forty operations a variable. That is half the graph
    of a small model's training step, and reads and writes each moment several times.
    The formula is the same; numbers agree to rounding.

    Args:
      *args: for `keras.optimizers.Adam`; `amsgrad` is computed as Keras does.
      **kwargs: likewise.

    Reference: Kingma and Ba, "Adam: a method for stochastic optimization" (2015).
    """

    _scalars: Any = None  # Of the step under way, if one operation does it all.

    def _backend_update_step(
        self, grads: Any, trainable_variables: Any, learning_rate: Any
    ) -> None:
        if backend.has_fused_adam() and not self.amsgrad:
            betas = [ops.cast(beta, "float32") for beta in (self.beta_1, self.beta_2)]
            step = ops.cast(self.iterations + 1, "float32")
            first, second = (1.0 - ops.power(beta, step) for beta in betas)
            step_size = ops.cast(learning_rate, "float32") * ops.sqrt(second) / first
            epsilon = ops.cast(self.epsilon, "float32")
            self._scalars = (step_size, *betas, epsilon)
        super()._backend_update_step(grads, trainable_variables, learning_rate)
        self._scalars = None

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Moves a variable and its two moments."""
        if self._scalars is None:
            super().update_step(gradient, variable, learning_rate)
            return
        index = self._get_variable_index(variable)
        moments = self._momentums[index], self._velocities[index]
        backend.fused_adam(gradient, variable, moments, *self._scalars)
