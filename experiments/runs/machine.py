"""What the machine at hand reaches, and how far above its floor a training step is."""

import dataclasses
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

_REPEATS = 10
# Sizes at which a product and a convolution reach what the processor can. The
# convolution is one of `cifar10_small`.
_PRODUCT = (2048, 512, 512)
_IMAGES, _KERNEL = (16, 34, 34, 48), (3, 3, 48, 96)
_BYTES = 2**27  # More than the caches of a processor hold.


@dataclasses.dataclass(frozen=True)
class Rates:
    """What was measured.

    Attributes:
      dtype: str, of the products: "float32" or "bfloat16".
      product_flops: float, operations a second of a product of matrices.
      convolution_flops: float, likewise of a convolution.
      bytes_per_second: float, read and written, of memory that no cache holds.
    """

    dtype: str
    product_flops: float
    convolution_flops: float
    bytes_per_second: float

    @property
    def flops(self) -> float:
        """The faster of product and convolution, so that a floor is one."""
        return max(self.product_flops, self.convolution_flops)


def rates(dtype: str) -> Rates:
    """Measures this machine, in seconds.

    Args:
      dtype: str, a set's: "float32", "mixed_bfloat16", "bfloat16" ...
    """
    dtype = dtype.removeprefix("mixed_")
    rows, inner, columns = _PRODUCT
    a, b = (tf.ones(shape, dtype) for shape in ((rows, inner), (inner, columns)))
    product = tf.function(lambda: tf.matmul(a, b))
    images, kernel = tf.ones(_IMAGES, dtype), tf.ones(_KERNEL, dtype)
    convolution = tf.function(lambda: tf.nn.conv2d(images, kernel, 1, "VALID"))
    outputs = np.prod(convolution().shape)
    numbers = _BYTES // 4
    # In place: else the operating system's work for fresh memory is measured too.
    memory = tf.Variable(tf.zeros([numbers]))
    step = tf.ones([numbers])
    add = tf.function(lambda: memory.assign_add(step))
    return Rates(
        dtype,
        2 * rows * inner * columns / fastest(product),
        2 * outputs * np.prod(_KERNEL[:3]) / fastest(convolution),
        3 * _BYTES / fastest(lambda: (add(), memory[0])[1]),
    )


def fastest(function: Callable[[], Any], repeats: int = _REPEATS) -> float:
    """The least seconds of several calls; what it returns is waited for."""
    return min(_seconds(function, repeats))


def median(function: Callable[[], Any], repeats: int = _REPEATS) -> float:
    """The median seconds of several calls; what it returns is waited for."""
    return float(np.median(_seconds(function, repeats)))


def _seconds(function, repeats):
    found = []
    for _ in range(repeats + 2):
        start = time.perf_counter()
        tf.nest.map_structure(lambda x: x.numpy(), function())
        found.append(time.perf_counter() - start)
    return found[2:]  # The first calls make graphs and kernels.


def step(
    model: Any, spec: Mapping[str, tf.TensorSpec]
) -> Callable[[], Mapping[str, tf.Tensor]]:
    """The model's training step, compiled as the loop does, on an arbitrary batch.

    Args:
      model: compiled `DeltaVAE`, built.
      spec: dict of `tf.TensorSpec`, a batch's.
    """
    rng = np.random.default_rng(0)

    def values(spec):
        if spec.dtype == tf.uint8:
            return rng.integers(0, 256, spec.shape, "uint8")
        return np.ones(spec.shape, spec.dtype.as_numpy_dtype)  # A token, a mask ...

    model.optimizer.build(model.trainable_variables)
    batch = {name: tf.constant(values(part)) for name, part in spec.items()}
    train = tf.function(model.train_step, autograph=False)
    return lambda: train(batch)


def floor(costs: Any, found: Rates, step_seconds: float | None = None) -> dict:
    """The floor of a step: a dict, times in milliseconds.

    Products and convolutions take their operations at the measured rate; what they,
    the optimizer and the average read and write takes its bytes at the measured
    bandwidth; all else is taken to be fused into them. A processor may do the two at
    once, and may find in a cache what another operation left, so that the sum is a
    yardstick and the products alone are the bound.

    Args:
      costs: `costs.Costs`.
      found: `Rates`.
      step_seconds: float, the step as it is; None if it was not measured.
    """
    products = 1e3 * costs.flops(matrix=True) / found.flops
    moved = costs.bytes(matrix=True) + costs.update_bytes
    fused = 1e3 * moved / found.bytes_per_second
    numbers = {"products": products, "bytes, fused": fused, "sum": products + fused}
    if step_seconds is not None:
        step = 1e3 * step_seconds
        numbers |= {
            "step": step,
            "step / products": step / products,
            "step / sum": step / (products + fused),
        }
    return numbers
