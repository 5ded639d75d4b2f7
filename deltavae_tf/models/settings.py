"""What `compile` may be asked for, and what it refuses, each in one line."""

import math
import numbers
from collections.abc import Mapping
from typing import Any

from deltavae_tf import errors

_OF_THE_OBJECTIVE = {
    "loss": "The objective belongs to the model: DeltaVAE(..., objective=...)",
    "loss_weights": "There is one loss, the objective's: loss_weights weigh nothing",
    "metrics": "The model's metrics are the terms of its objective: leave out metrics",
    "weighted_metrics": (
        "The model's metrics are the terms of its objective: leave out weighted_metrics"
    ),
}


def check_compile(
    optimizer: Any, clip_norm: Any, others: Mapping[str, Any], replicas: int
) -> None:
    """Raises a UserError if `compile` was asked for what would not be done.

    Args:
      optimizer: keras optimizer.
      clip_norm: float or None.
      others: the other arguments of `compile`.
      replicas: int, how many the model trains on.
    """
    for name, reason in _OF_THE_OBJECTIVE.items():
        if others.get(name) is not None:
            raise errors.UserError(f"{reason}. Received: {name}={others[name]!r}")
    if optimizer is None:
        raise errors.UserError("`compile` needs an optimizer. Received: None")
    real = isinstance(clip_norm, numbers.Real)
    good = real and 0 <= clip_norm < math.inf
    if clip_norm is not None and not good:
        raise errors.UserError(
            "`clip_norm` must be None, or above 0, the norm of the longest gradient. "
            f"Received: {clip_norm!r}"
        )
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    steps = inner.gradient_accumulation_steps
    if steps and clip_norm:
        raise errors.UserError(
            "`clip_norm` would clip each part of an accumulated gradient: with "
            "gradient_accumulation_steps, clip by the optimizer's global_clipnorm. "
            f"Received: clip_norm={clip_norm}"
        )
    if replicas == 1:
        return
    refused = {
        "jit_compile": others.get("jit_compile"),
        "steps_per_execution": others.get("steps_per_execution", 1) - 1,
        "gradient_accumulation_steps": steps,
        "ema_overwrite_frequency": inner.use_ema and inner.ema_overwrite_frequency,
    }
    for name, asked in refused.items():
        if asked:
            value = others.get(name, asked)
            raise errors.UserError(
                f"Keras cannot do `{name}` on several replicas: leave it out. "
                f"Received: {name}={value}, {replicas} replicas"
            )
