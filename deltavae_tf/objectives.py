"""Objectives: the delta-VAE's, and those that it is compared with.

All are pure functions of a batch's per-example terms. What an objective has to
remember from one step to the next (GECO's multiplier) is a dict of numbers that goes in
and comes out; `DeltaVAE` keeps it in its weights, so it is saved and resumed with them.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import keras
from keras import ops

from deltavae_tf import errors
from deltavae_tf.backend import Tensor

Terms: TypeAlias = Mapping[str, Tensor]
State: TypeAlias = Mapping[str, Any]
Mean: TypeAlias = Callable[[Tensor], Tensor]
Loss: TypeAlias = tuple[Tensor, State]

_MAX_LOG_MULTIPLIER = math.log(1e6)


class Objective:
    """The base class: no state, no arguments.

    Attributes:
      per_channel: bool, whether the terms must hold `rate_channels`.
    """

    per_channel: bool = False

    def initial_state(self) -> dict[str, float]:
        """What the objective remembers, at step 0: dict from str to float."""
        return {}

    def __call__(self, terms: Terms, step: Tensor, state: State, mean: Mean) -> Loss:
        """The loss of each example.

        Args:
          terms: dict of float32, nats: `distortion` `[B]`, -log p(x | z) for one
            z ~ q; `rate` `[B]`, KL(q(z | x) || p(z)); with `per_channel` also
            `rate_channels` `[B, d]`, which sums to `rate`.
          step: int32 scalar, training steps so far, this one included.
          state: dict of float32 scalars, named as in `initial_state`.
          mean: function from `[B, ...]` to `[...]`, the mean over the examples of the
            whole batch, those of other replicas included.

        Returns:
          float32 `[B]`, nats, lower is better; and the state after this step.
        """
        raise NotImplementedError

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor."""
        return {}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> "Objective":
        """The inverse of `get_config`."""
        return cls(**config)


@keras.saving.register_keras_serializable(package="deltavae_tf")
class ELBO(Objective):
    """The negative evidence lower bound, distortion + rate. A delta-VAE needs no more.

    Example:
      >>> terms = {"distortion": np.array([30.0, 10.0]), "rate": np.array([2.0, 4.0])}
      >>> loss, _ = ELBO()(terms, 1, {}, np.mean)
      >>> loss.tolist()
      [32.0, 14.0]

    Reference: delta-VAE, section 2.
    """

    def __call__(self, terms: Terms, step: Tensor, state: State, mean: Mean) -> Loss:
        """As `Objective`."""
        del step, mean
        return terms["distortion"] + terms["rate"], state


@keras.saving.register_keras_serializable(package="deltavae_tf")
class BetaVAE(Objective):
    """distortion + beta * rate. Below 1 it buys rate, and is no bound any more.

    Args:
      beta: float >= 0.

    Example:
      >>> terms = {"distortion": np.array([30.0, 10.0]), "rate": np.array([2.0, 4.0])}
      >>> loss, _ = BetaVAE(0.5)(terms, 1, {}, np.mean)
      >>> loss.tolist()
      [31.0, 12.0]

    Reference: Higgins et al. (2017); Alemi et al. (2018).
    """

    def __init__(self, beta: float) -> None:
        self.beta = _at_least("beta", beta, 0)

    def __call__(self, terms: Terms, step: Tensor, state: State, mean: Mean) -> Loss:
        """As `Objective`."""
        del step, mean
        return terms["distortion"] + self.beta * terms["rate"], state

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor."""
        return {"beta": self.beta}


@keras.saving.register_keras_serializable(package="deltavae_tf")
class KLAnnealing(Objective):
    """distortion + weight * rate, the weight growing linearly to 1.

    It is `initial_weight` up to `start_step`, and 1 from `num_steps` on. A start that
    waits lets the decoder learn to read the latents while their rate costs little.

    Args:
      num_steps: int >= 1, the first step with weight 1.
      start_step: int in [0, num_steps), the last step with `initial_weight`.
      initial_weight: float in [0, 1].

    Example:
      >>> terms = {"distortion": np.array([30.0, 10.0]), "rate": np.array([2.0, 4.0])}
      >>> loss, _ = KLAnnealing(num_steps=100)(terms, 25, {}, np.mean)
      >>> [float(x) for x in loss]  # A quarter of the way.
      [30.5, 11.0]

    Reference: Bowman et al. (2016); the start that waits is ours.
    """

    def __init__(
        self, num_steps: int, start_step: int = 0, initial_weight: float = 0.0
    ) -> None:
        self.num_steps = _at_least("num_steps", num_steps, 1)
        self.start_step = _at_least("start_step", start_step, 0)
        self.initial_weight = _at_least("initial_weight", initial_weight, 0.0)
        if self.start_step >= self.num_steps:
            raise errors.UserError(
                "`start_step` must be before `num_steps`. "
                f"Received: {start_step} and {num_steps}"
            )
        if self.initial_weight > 1:
            raise errors.UserError(
                f"`initial_weight` must be at most 1. Received: {initial_weight}"
            )

    def __call__(self, terms: Terms, step: Tensor, state: State, mean: Mean) -> Loss:
        """As `Objective`."""
        del mean
        length = self.num_steps - self.start_step
        way = (ops.cast(step, "float32") - self.start_step) / length
        way = ops.clip(way, 0.0, 1.0)
        weight = self.initial_weight + (1.0 - self.initial_weight) * way
        return terms["distortion"] + weight * terms["rate"], state

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor."""
        return {
            "num_steps": self.num_steps,
            "start_step": self.start_step,
            "initial_weight": self.initial_weight,
        }


@keras.saving.register_keras_serializable(package="deltavae_tf")
class FreeBits(Objective):
    """distortion + sum_j max(free rate, mean rate of group j): no gain below it.

    As in the paper it is from, the rate that is compared is the mean over the batch
    (the whole one, on any number of replicas). The loss of an example has its own
    rate where that mean is above the free one.

    Args:
      rate: float >= 0, nats per example that cost nothing, over all groups.
      per_channel: bool; False: the latents are one group. True: each of the d channels
        (all its time steps together) is one, with `rate / d` free.

    Example:
      >>> terms = {"distortion": np.array([30.0, 10.0]), "rate": np.array([2.0, 4.0])}
      >>> def mean(x):
      ...     return np.mean(x, axis=0)
      >>> loss, _ = FreeBits(rate=5.0)(terms, 1, {}, mean)
      >>> [float(x) for x in loss]  # The mean rate, 3 nats, is below what is free.
      [35.0, 15.0]

    Reference: Kingma et al. (2016), equation 15.
    """

    def __init__(self, rate: float, per_channel: bool = False) -> None:
        self.rate = _at_least("rate", rate, 0)
        self.per_channel = per_channel

    def __call__(self, terms: Terms, step: Tensor, state: State, mean: Mean) -> Loss:
        """As `Objective`."""
        del step
        rates = terms["rate_channels" if self.per_channel else "rate"]
        rates = rates if self.per_channel else rates[:, None]
        free = self.rate / rates.shape[1]
        above = ops.stop_gradient(mean(rates)) > free
        return terms["distortion"] + ops.sum(ops.where(above, rates, free), 1), state

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor."""
        return {"rate": self.rate, "per_channel": self.per_channel}


@keras.saving.register_keras_serializable(package="deltavae_tf")
class GECO(Objective):
    """rate + multiplier * (distortion - target): the least rate for a distortion.

        now        = clip((mean distortion - target) / target, largest_error)
        error      = decay * error + (1 - decay) * now
        multiplier = multiplier * exp(speed * error)

    The average starts with the first batch's error, the multiplier at 1, where the
    objective is the ELBO; it stays in [1e-6, 1e6]. Ours, not of the reference: the
    error is relative to the target, so that one speed fits all sizes of data; and it
    is clipped. A new model is far above any target because it has learned nothing, and
    that would wind up the multiplier: without the clip it reached 16,000 in 260 steps
    on the digits, where about 10 was wanted, and the rate 460 bits instead of 10.

    Args:
      distortion: float > 0, the target, nats per example (of the training images).
      speed: float >= 0, of the multiplier: with the largest error it grows by a factor
        of exp(speed * largest_error) a step, e in 100 steps by default.
      decay: float in [0, 1), of the moving average.
      largest_error: float > 0, of either sign.

    Example:
      >>> terms = {
      ...     "distortion": np.float32([30.0, 10.0]),
      ...     "rate": np.float32([2.0, 4.0]),
      ... }
      >>> objective = GECO(distortion=15.0)
      >>> loss, state = objective(terms, 1, objective.initial_state(), np.mean)
      >>> [float(x) for x in loss]
      [17.0, -1.0]
      >>> bool(state["log_multiplier"] > 0)  # The mean, 20 nats, is above the target.
      True

    Reference: Rezende and Viola, "Taming VAEs" (2018), algorithm 1.
    """

    def __init__(
        self,
        distortion: float,
        speed: float = 0.1,
        decay: float = 0.99,
        largest_error: float = 0.1,
    ) -> None:
        self.distortion = _at_least("distortion", distortion, 1e-6)
        self.speed = _at_least("speed", speed, 0)
        self.decay = _at_least("decay", decay, 0)
        self.largest_error = _at_least("largest_error", largest_error, 1e-6)
        if decay >= 1:
            raise errors.UserError(f"`decay` must be below 1. Received: {decay}")

    def initial_state(self) -> dict[str, float]:
        """The logarithm of the multiplier, the moving average, updates so far."""
        return {"log_multiplier": 0.0, "error": 0.0, "updates": 0.0}

    def __call__(self, terms: Terms, step: Tensor, state: State, mean: Mean) -> Loss:
        """As `Objective`."""
        del step
        excess = terms["distortion"] - self.distortion
        now = ops.stop_gradient(mean(excess)) / self.distortion
        now = ops.clip(now, -self.largest_error, self.largest_error)
        decay = ops.where(state["updates"] > 0, self.decay, 0.0)
        error = decay * state["error"] + (1.0 - decay) * now
        log_multiplier = ops.clip(
            state["log_multiplier"] + self.speed * error,
            -_MAX_LOG_MULTIPLIER,
            _MAX_LOG_MULTIPLIER,
        )
        after = {
            "log_multiplier": log_multiplier,
            "error": error,
            "updates": state["updates"] + 1.0,
        }
        return terms["rate"] + ops.exp(state["log_multiplier"]) * excess, after

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor."""
        return {
            "distortion": self.distortion,
            "speed": self.speed,
            "decay": self.decay,
            "largest_error": self.largest_error,
        }


def _at_least(name, value, low):
    if not low <= value < math.inf:
        raise errors.UserError(
            f"`{name}` must be finite and at least {low}. Received: {value}"
        )
    return value
