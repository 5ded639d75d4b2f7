"""What the machine at hand reaches, and how far above its floor a training step is."""

import dataclasses
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

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


def measure(
    dtype: str, step: Callable[[], Any] | None = None, rounds: int = 12
) -> tuple[Rates, float | None]:
    """Measures this machine, in seconds, and a step among it.

    All are called in turn: what else the machine does, and how fast its processor
    happens to run, is then the same for each.

    Args:
      dtype: str, a set's: "float32", "mixed_bfloat16", "bfloat16" ...
      step: callable that returns tensors; None to measure the rates alone.
      rounds: int, of which the median counts.

    Returns:
      `Rates`, seconds of a step.
    """
    dtype = dtype.removeprefix("mixed_")
    rng = np.random.default_rng(0)

    def numbers(*shape):
        return tf.cast(tf.constant(rng.normal(size=shape), tf.float32), dtype)

    rows, inner, columns = _PRODUCT
    a, b = numbers(rows, inner), numbers(inner, columns)
    images, kernel = numbers(*_IMAGES), numbers(*_KERNEL)
    # In place: else the operating system's work for fresh memory is measured too.
    memory = tf.Variable(tf.zeros([_BYTES // 4]))
    one = tf.ones([_BYTES // 4])
    functions = {
        "product": tf.function(lambda: tf.matmul(a, b)[0, 0]),
        "convolution": tf.function(
            lambda: tf.nn.conv2d(images, kernel, 1, "VALID")[0, 0, 0]
        ),
        "memory": tf.function(lambda: memory.assign_add(one)[0]),
    }
    if step is not None:
        functions["step"] = step
    seconds = medians(functions, rounds)
    positions = np.prod(_IMAGES[:3]) * (1 - 2 / _IMAGES[1]) * (1 - 2 / _IMAGES[2])
    found = Rates(
        dtype,
        2 * rows * inner * columns / seconds["product"],
        float(2 * positions * np.prod(_KERNEL)) / seconds["convolution"],
        3 * _BYTES / seconds["memory"],
    )
    return found, seconds.get("step")


def medians(
    functions: Mapping[str, Callable[[], Any]], rounds: int
) -> dict[str, float]:
    """The median seconds of functions that are called in turn.

    Args:
      functions: name -> callable, whose tensors are waited for.
      rounds: int.
    """

    def seconds(function):
        start = time.perf_counter()
        tf.nest.map_structure(lambda x: x.numpy(), function())
        return time.perf_counter() - start

    found: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(rounds + 1):  # The first makes graphs and kernels.
        for name, function in functions.items():
            seconds(function)  # Brings its own arrays into the caches.
            found[name].append(seconds(function))
    return {name: float(np.median(times[1:])) for name, times in found.items()}


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
