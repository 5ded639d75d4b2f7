"""What happens to gradients between the loss and Keras's optimizer."""

from typing import Any

import keras
from keras import ops

from deltavae_tf import backend
from deltavae_tf.backend import Tensor


def is_scaled(scale: Any) -> bool:
    """Whether an optimizer scales the loss; `scale` is its `scale_loss(1.0)`."""
    return not isinstance(scale, float) or scale != 1.0


def prepare(
    gradients: list[Tensor], scale: Any, clip_norm: float | None, optimizer: Any
) -> tuple[list[Tensor], Tensor]:
    """Gradients as the optimizer wants them, and their norm.

    Args:
      gradients: of the scaled loss, summed over replicas.
      scale: 1.0, or the factor by which the loss was scaled. The optimizer divides by
        it, and so wants gradients of that size.
      clip_norm: float or None.
      optimizer: keras optimizer.

    Returns:
      This replica's share of the gradients, scaled and clipped; the norm of the
      unscaled gradient before it was clipped.
    """
    unscaled = gradients
    if is_scaled(scale):
        unscaled = [g / ops.cast(scale, g.dtype) for g in gradients]
    norm = backend.norm(unscaled)
    factor = 1.0 / backend.num_replicas()  # The optimizer sums over replicas.
    if clip_norm:
        factor = factor * ops.minimum(1.0, clip_norm / (norm + 1e-12))
    if backend.num_replicas() > 1:
        # Keras clips each replica's share. Clipped here as a whole, the shares are
        # below the bound, and it changes nothing.
        unscaled = _clipped(unscaled, getattr(optimizer, "inner_optimizer", optimizer))
        gradients = [g * ops.cast(scale, g.dtype) for g in unscaled]
    if isinstance(factor, float) and factor == 1.0:
        return gradients, norm
    return [g * ops.cast(factor, g.dtype) for g in gradients], norm


def update_norm(metric: keras.metrics.Mean, norm: Tensor, optimizer: Any) -> None:
    """Takes a step's norm into the mean; not that of a step which Keras leaves out.

    `LossScaleOptimizer` tries scales until gradients are finite.
    """
    if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        finite = ops.isfinite(norm)
        norm = ops.where(finite, norm, ops.zeros_like(norm))
        metric.update_state(norm, sample_weight=ops.cast(finite, norm.dtype))
    else:
        metric.update_state(norm)


def _clipped(gradients, optimizer):
    """As the optimizer's own arguments say."""

    def by_norm(gradient, norm, bound):
        return gradient * ops.minimum(1.0, bound / ops.maximum(norm, 1e-30))

    if optimizer.clipnorm:
        bound = optimizer.clipnorm
        return [by_norm(g, ops.sqrt(ops.sum(ops.square(g))), bound) for g in gradients]
    if optimizer.global_clipnorm:
        norm = backend.norm(gradients)
        return [by_norm(g, norm, optimizer.global_clipnorm) for g in gradients]
    if optimizer.clipvalue:
        bound = optimizer.clipvalue
        return [ops.clip(g, -bound, bound) for g in gradients]
    return gradients
