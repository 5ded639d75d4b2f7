"""Learning-rate schedules, on any Keras backend.

Keras hands a schedule the number of updates made so far, so the update that is about
to happen has the 1-based number `s = step + 1`. All formulas below are in `s`.
"""

import inspect
import math
from typing import Any

import keras
from keras import ops

from deltavae_tf import backend, errors

_SCHEDULES: dict[str, type["_Schedule"]] = {}


def _register(name):
    def decorate(cls):
        _SCHEDULES[name] = cls
        return keras.saving.register_keras_serializable(package="deltavae_tf")(cls)

    return decorate


class _Schedule(keras.optimizers.schedules.LearningRateSchedule):
    """Keeps one attribute per argument; subclasses write `_rate(s)`."""

    def __init__(self, **arguments: float) -> None:
        for name, value in arguments.items():
            # No floor or no warm-up is a choice; the rest must be positive.
            lowest = 0 if name in ("floor", "warmup_steps") else math.ulp(0.0)
            if not lowest <= value < math.inf:
                raise errors.UserError(
                    f"`{name}` must be finite and "
                    f"{'>= 0' if lowest == 0 else '> 0'}. Received: {value}"
                )
            setattr(self, name, value)
        self._arguments = arguments

    def _rate(self, s):
        """The learning rate of update `s`, float32 [], `s` counted from 1."""
        raise NotImplementedError

    def __call__(self, step: Any) -> backend.Tensor:
        return self._rate(ops.cast(step, "float32") + 1.0)

    def get_config(self):
        return dict(self._arguments)


@_register("constant")
class Constant(_Schedule):
    """The same `learning_rate` at every step (Appendix E.1, the ablations)."""

    def __init__(self, learning_rate: float) -> None:
        super().__init__(learning_rate=learning_rate)

    def _rate(self, s):
        return ops.zeros_like(s) + self.learning_rate


@_register("paper")
class Paper(_Schedule):
    """`scale * width**-0.5 * min(s**-0.35, s * warmup_steps**-1.5)` (Appendix E.1).

    As printed. The pieces meet at `s = warmup_steps**(1.5 / 1.35)`, two to three times
    later than `warmup_steps` says: see `PaperContinuous`.

    Args:
      scale: float, .18 for ImageNet and .36 for CIFAR-10.
      width: int, the decoder's width `h_d`.
      warmup_steps: int, 4000 for ImageNet and 8000 for CIFAR-10.
    """

    exponent = -1.5

    def __init__(self, scale: backend.Tensor, width: int, warmup_steps: int) -> None:
        if warmup_steps < 1:
            raise errors.UserError(
                f"`warmup_steps` must be >= 1. Received: {warmup_steps}"
            )
        super().__init__(scale=scale, width=width, warmup_steps=warmup_steps)

    def _rate(self, s):
        rising = s * self.warmup_steps**self.exponent
        return self.scale * self.width**-0.5 * ops.minimum(ops.power(s, -0.35), rising)


@_register("paper_continuous")
class PaperContinuous(Paper):
    """`Paper` with `s * warmup_steps**-1.35`: the pieces meet at `warmup_steps`."""

    exponent = -1.35


@_register("warmup_cosine")
class WarmupCosine(_Schedule):
    """Linear warm-up to `learning_rate`, then half a cosine down to `floor`.

    Ours, for the small sets: it finishes, so the last weights are good ones.

    Args:
      learning_rate: float, the peak, reached at update `warmup_steps`.
      warmup_steps: int.
      decay_steps: int, the update at which `floor` is reached, counted from the
        start; it stays there.
      floor: float, the last learning rate.
    """

    def __init__(
        self,
        learning_rate: float,
        warmup_steps: int,
        decay_steps: int,
        floor: float = 0.0,
    ) -> None:
        if decay_steps <= warmup_steps:
            raise errors.UserError(
                "`decay_steps` counts from the start and must exceed `warmup_steps`. "
                f"Received: decay_steps={decay_steps}, warmup_steps={warmup_steps}"
            )
        if floor > learning_rate:
            raise errors.UserError(
                "`floor` must not exceed `learning_rate`. "
                f"Received: floor={floor}, learning_rate={learning_rate}"
            )
        super().__init__(
            learning_rate=learning_rate,
            warmup_steps=warmup_steps,
            decay_steps=decay_steps,
            floor=floor,
        )

    def _rate(self, s):
        rising = self.learning_rate * s / max(self.warmup_steps, 1)
        done = (s - self.warmup_steps) / (self.decay_steps - self.warmup_steps)
        wave = 0.5 * (1.0 + ops.cos(math.pi * ops.clip(done, 0.0, 1.0)))
        falling = self.floor + (self.learning_rate - self.floor) * wave
        return ops.where(s < self.warmup_steps, rising, falling)


def names() -> list[str]:
    """The names that `make` knows."""
    return sorted(_SCHEDULES)


def make(name: str, **values: Any) -> _Schedule:
    """The schedule `name`, given what it needs out of `values`.

    `values` may name arguments of other schedules too, so that a caller can hand over
    all its settings whichever schedule they choose; a name no schedule has is an error.
    """
    if name not in _SCHEDULES:
        raise errors.UserError(
            f"Unknown learning-rate schedule {name!r}{errors.near(name, names())} "
            f"Known: {', '.join(names())}"
        )
    known = {n: set(_parameters(cls)) for n, cls in _SCHEDULES.items()}
    unknown = set(values) - set().union(*known.values())
    missing = {
        parameter.name
        for parameter in _parameters(_SCHEDULES[name]).values()
        if parameter.default is parameter.empty
    } - set(values)
    if unknown or missing:
        raise errors.UserError(
            f"The learning-rate schedule {name!r} takes {sorted(known[name])}. "
            f"Missing: {sorted(missing)}. Unknown: {sorted(unknown)}"
        )
    return _SCHEDULES[name](**{k: v for k, v in values.items() if k in known[name]})


def _parameters(cls):
    return inspect.signature(cls).parameters
