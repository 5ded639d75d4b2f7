"""Weights of a linear map, plain or weight-normalized with a data-dependent start."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from deltavae_tf import errors
from deltavae_tf.backend import Tensor
from deltavae_tf.layers import layer_norm as norms

NORMALIZATIONS = ("layer", "weight")


def check_normalization(normalization: str) -> None:
    """Raises a UserError unless `normalization` is a known one."""
    if normalization not in NORMALIZATIONS:
        raise errors.UserError(
            f"`normalization` must be one of {NORMALIZATIONS}. "
            f"Received: {normalization!r}"
        )


class KernelAndBias(keras.layers.Layer):
    """Kernel and bias of a linear map; with "weight", kernel = gain * v / |v|.

    With weight normalization the first training batch sets gain and bias so that
    every output channel starts with mean 0 and variance 1: call
    `DeltaVAE.initialize_from(batch)`, which runs the model once in that mode.

    Args:
      kernel_shape: tuple, the last axis counts the output channels.
      normalization: "layer" (plain weights) or "weight".
      bias_initializer: keras initializer or its name.
      **kwargs: `name`, `dtype`, ... for `keras.layers.Layer`.

    Reference: Salimans and Kingma, "Weight normalization" (2016), sections 2 and 3.
    """

    def __init__(
        self,
        kernel_shape: Sequence[int],
        normalization: str = "layer",
        bias_initializer: Any = "zeros",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_normalization(normalization)
        self.kernel_shape = tuple(kernel_shape)
        self.normalization = normalization
        self.bias_initializer = bias_initializer
        self.starts_from_data = False

    def build(self, input_shape: Any) -> None:
        filters = self.kernel_shape[-1]
        self.direction = self.add_weight(
            name="kernel", shape=self.kernel_shape, initializer="glorot_uniform"
        )
        self.bias = self.add_weight(
            name="bias", shape=(filters,), initializer=self.bias_initializer
        )
        if self.normalization == "weight":
            self.gain = self.add_weight(
                name="gain", shape=(filters,), initializer="ones"
            )

    def kernel(self) -> Tensor:
        """The kernel in use, in `compute_dtype`."""
        direction = ops.convert_to_tensor(self.direction)
        if self.normalization == "weight":
            axes = tuple(range(len(self.kernel_shape) - 1))
            norm = ops.sqrt(ops.sum(ops.square(direction), axis=axes) + 1e-12)
            direction = direction * (self.gain / norm)
        return ops.cast(direction, self.compute_dtype)

    def apply_to(
        self, inputs: Tensor, linear_map: Callable[[Tensor, Tensor], Tensor]
    ) -> Tensor:
        """`linear_map(inputs, kernel) + bias`, for a convolution or a product."""
        outputs = linear_map(inputs, self.kernel())
        if self.normalization == "weight" and self.starts_from_data:
            outputs = self._start_from(outputs)
        return outputs + ops.cast(self.bias, self.compute_dtype)

    def _start_from(self, outputs):
        axes = tuple(range(len(outputs.shape) - 1))
        values = ops.cast(outputs, "float32")
        scale = 1.0 / (ops.std(values, axis=axes) + 1e-6)
        self.gain.assign(self.gain * scale)
        self.bias.assign(-ops.mean(values, axis=axes) * scale)
        return outputs * ops.cast(scale, outputs.dtype)


@keras.saving.register_keras_serializable(package="deltavae_tf")
class Linear(keras.layers.Layer):
    """A linear map of the last axis (a 1x1 convolution), weight-normalizable.

    Args:
      units: int, output channels.
      normalization: "layer" (plain weights) or "weight" (weight normalization).
      **kwargs: `name`, `dtype`, ... for `keras.layers.Layer`.

    Call arguments:
      inputs: float `[..., C]`.

    Returns:
      float `[..., units]` in `compute_dtype`.
    """

    def __init__(self, units: int, normalization: str = "layer", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check_normalization(normalization)
        self.units = units
        self.normalization = normalization

    def build(self, input_shape: Any) -> None:
        self.weights_ = KernelAndBias(
            (input_shape[-1], self.units),
            self.normalization,
            name="weights",
            dtype=self.dtype_policy,
        )
        self.weights_.build(input_shape)

    def call(self, inputs: Tensor) -> Tensor:
        return self.weights_.apply_to(inputs, ops.matmul)

    def compute_output_shape(self, input_shape: Any) -> Any:
        return (*input_shape[:-1], self.units)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "units": self.units,
            "normalization": self.normalization,
        }


@contextlib.contextmanager
def starting_from_data(layer: keras.layers.Layer) -> Iterator[None]:
    """Context in which calls of a layer set the gains and biases inside it.

    It changes the weight-normalized parts of this layer alone.
    """
    found = [x for x in layer._flatten_layers() if isinstance(x, KernelAndBias)]
    for part in found:
        part.starts_from_data = True
    try:
        yield
    finally:
        for part in found:
            part.starts_from_data = False


def layer_norm(normalization: str, **kwargs: Any) -> keras.layers.Layer:
    """Layer normalization; with "weight", which takes its place, a layer that does
    nothing. `kwargs`: `name`, `dtype`."""
    if normalization == "weight":
        return keras.layers.Identity(**kwargs)
    return norms.LayerNorm(**kwargs)


def num_weights(layer: keras.layers.Layer) -> int:
    """Trainable parameters of a built layer or model, an int."""
    return int(sum(np.prod(v.shape) for v in layer.trainable_variables))
