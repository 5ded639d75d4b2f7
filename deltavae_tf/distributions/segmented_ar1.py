"""AR(1) chains of any length on one time axis: a chain a sentence."""

from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import ArrayLike

from deltavae_tf import errors
from deltavae_tf import segments as places
from deltavae_tf.backend import Tensor
from deltavae_tf.distributions import ar1, checks, latent_prior


@keras.saving.register_keras_serializable(package="deltavae_tf")
class SegmentedAR1(latent_prior.LatentPrior):
    """The AR(1) prior of sequences of varying length, restarting at each.

    Each segment of n time steps is a chain of its own, `AR1(alpha, n)`. What comes by
    position, `[B, L]`, sums over a segment to the chain's, and is 0 in padding.

    A chain of one step is N(0, 1), and its committed rate is 0: a sentence that is
    nothing but its end commits to nothing.

    Args:
      alpha: static `[d]`, each in [0, 1).

    References:
      delta-VAE, sections 2.1 and 4.4, Eqs. 1 and 3.
    """

    def __init__(self, alpha: ArrayLike) -> None:
        self._alpha = np.array(alpha, np.float64)
        chain = ar1.AR1(alpha, 3)  # Checks alpha, and knows the optimum of all steps.
        self._end_scale, self._inner_scale = chain.optimal_scale()[:2]
        # Eq. 1 by position: ends have 1/2 of -1/2 ln(1 - a^2), inner steps
        # 1/2 ln(1 + a^2), and a chain of one step nothing.
        at_end, inner = ar1.committed_rate(alpha, 2) / 2, np.log1p(self._alpha**2)
        self._end_rate, self._inner_rate = at_end, 0.5 * float(np.sum(inner))

    @property
    def alpha(self) -> np.ndarray:
        """float64 numpy `[d]`."""
        return self._alpha.copy()

    @property
    def event_shape(self) -> tuple[None, int]:
        """(None, d): chains have any length."""
        return None, len(self._alpha)

    def chain(self, num_timesteps: int) -> ar1.AR1:
        """The `AR1` of one segment of `num_timesteps` >= 2."""
        return ar1.AR1(self._alpha, num_timesteps)

    def committed_rate(self, segments: Tensor | None = None) -> Tensor:
        """delta (Eq. 1) of each row, the sum of its segments': float32 `[B]`, nats.

        Args:
          segments: int32 `[B, L]`, see `segments.segment_ids`; 0 is padding.
        """
        if segments is None:
            raise errors.UserError(
                "Sequences commit to a rate by their length: give `segments`, as "
                "`segments.segment_ids(tokens)`. Received: None"
            )
        return ops.sum(self.committed_rate_of_steps(segments), axis=1)

    def committed_rate_of_steps(self, segments: Tensor) -> Tensor:
        """delta (Eq. 1) by position: float32 `[B, L]`, nats; sums over a segment.

        Args:
          segments: int32 `[B, L]`, see `segments.segment_ids`; 0 is padding.
        """
        first, last = places.is_first(segments), places.is_last(segments)
        rate = ops.where(ops.logical_or(first, last), self._end_rate, self._inner_rate)
        nothing = ops.logical_or(ops.logical_and(first, last), ops.equal(segments, 0))
        return ops.cast(ops.where(nothing, 0.0, rate), "float32")

    def optimal_scale(self, segments: Tensor) -> Tensor:
        """Where, with `loc` zero, the KL is the committed rate: float32 `[B, L, d]`."""
        first = places.is_first(segments)[..., None]
        last = places.is_last(segments)[..., None]
        end, inner = (_constant(x) for x in (self._end_scale, self._inner_scale))
        scale = ops.where(ops.logical_or(first, last), end, inner)
        return ops.where(ops.logical_and(first, last), ops.ones_like(scale), scale)

    def rate(
        self,
        loc: Tensor,
        scale: Tensor,
        z: Tensor | None = None,
        segments: Tensor | None = None,
    ) -> Tensor:
        """The KL of all segments of a row together: float32 `[B]`, nats.

        Args: as `LatentPrior.rate`; without `segments` a row is one.
        """
        del z
        if segments is None:
            segments = ops.ones_like(loc[..., 0], dtype="int32")
        return ops.sum(self.kl_from_normal(loc, scale, segments), axis=1)

    def kl_from_normal(self, loc: Tensor, scale: Tensor, segments: Tensor) -> Tensor:
        """KL(N(loc, diag(scale^2)) || prior) by position, closed form (Eq. 3).

        Args:
          loc: float `[B, L, d]`.
          scale: float `[B, L, d]`, standard deviations.
          segments: int32 `[B, L]`, see `segments.segment_ids`; 0 is padding.

        Returns:
          float32 `[B, L]`, nats; those of a segment sum to its KL.
        """
        loc, scale = ops.cast(loc, "float32"), ops.cast(scale, "float32")
        event = (*segments.shape, len(self._alpha))
        checks.check_event("loc", loc, event)
        checks.check_event("scale", scale, event)
        # As in `AR1.kl_from_normal`: the terms of one s_i together are at least a
        # constant, and the constants add up to delta. s_i stands in its own step's
        # term, with 1 / (1 - a^2) unless the step is first, and in the next one's,
        # with a^2 / (1 - a^2) unless it is last; hence three optima.
        log_ratio2 = 2 * (ops.log(scale) - ops.log(self.optimal_scale(segments)))
        excess = 0.5 * (ops.expm1(log_ratio2) - log_ratio2)
        step = loc - _constant(self._alpha) * _previous(loc)
        innovation = _constant(1 - self._alpha**2)
        first = places.is_first(segments)[..., None]
        energy = ops.where(first, ops.square(loc), ops.square(step) / innovation)
        more = ops.sum(excess + 0.5 * energy, axis=-1)
        more = ops.where(ops.equal(segments, 0), ops.zeros_like(more), more)
        return self.committed_rate_of_steps(segments) + more

    def log_prob(self, z: Tensor) -> Tensor:
        """Of one chain a row: float32 `[B]` for `[B, L, d]`."""
        return self.chain(z.shape[1]).log_prob(z)

    def sample_from_noise(self, eps: Tensor, temperature: float = 1.0) -> Tensor:
        """One chain as long as the noise: float32 `[B, L, d]` for `[B, L, d]`."""
        checks.check_event("eps", eps, (None, len(self._alpha)))
        return self.chain(eps.shape[1]).sample_from_noise(eps, temperature)

    def continue_from(self, z: Tensor, num_given: Tensor, other: Tensor) -> Tensor:
        """The chain that goes on from given steps with the noise of another chain.

        Args:
          z: float `[B, L, d]`.
          num_given: int32 `[B]`, each at least 1: how many time steps of z are kept.
          other: float `[B, L, d]`, a sample of this prior.

        Returns:
          float32 `[B, L, d]`.
        """
        # Two chains with the same noise differ by alpha^k k steps on.
        length = z.shape[1]
        step = ops.arange(length)[None] - (num_given[:, None] - 1)
        last = ops.one_hot(num_given - 1, length)[..., None]
        apart = ops.sum((z - other) * last, axis=1, keepdims=True)
        steps_on = ops.cast(ops.maximum(step, 0), "float32")[..., None]
        moved = other + ops.power(_constant(self._alpha), steps_on) * apart
        return ops.where(step[..., None] <= 0, z, moved)

    def get_config(self) -> dict[str, Any]:
        """What `from_config` takes."""
        return {"alpha": self._alpha.tolist()}


def _previous(x):
    """x of the time step before; zeros before the first."""
    return ops.pad(x[:, :-1], ((0, 0), (1, 0), (0, 0)))


def _constant(x):
    return ops.convert_to_tensor(np.asarray(x, np.float32))
