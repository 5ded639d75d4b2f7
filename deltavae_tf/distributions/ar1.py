"""The AR(1) prior, its committed rate, and the KL from a mean-field posterior."""

import math
import numbers
from typing import Any, Self

import keras
import numpy as np
from keras import ops
from numpy.typing import ArrayLike
from scipy import optimize

from deltavae_tf import errors
from deltavae_tf.backend import Tensor, linalg, tfd
from deltavae_tf.distributions import checks, latent_prior


def committed_rate(alpha: ArrayLike, num_timesteps: int) -> float:
    """delta: the smallest KL(q || AR1) over all mean-field normal q (Eq. 1).

        delta = 1/2 sum_k [ (n - 2) ln(1 + alpha_k^2) - ln(1 - alpha_k^2) ]

    Args:
      alpha: `[d]`, each in [0, 1).
      num_timesteps: int, n >= 2. (For n = 1 the minimum is 0: nothing is committed.)

    Returns:
      float (float64), nats for all n steps and d channels.
    """
    checked = _check_alpha(alpha)
    num_timesteps = check_num_timesteps(num_timesteps)
    per_channel = (num_timesteps - 2) * np.log1p(checked**2) - _log_innovation(checked)
    return float(0.5 * np.sum(per_channel))


def solve_alpha(
    rate: float,
    num_timesteps: int,
    num_channels: int,
    alpha_min: float | None = None,
) -> np.ndarray:
    """The coefficients whose committed rate is `rate`: the inverse of `committed_rate`.

    Args:
      rate: float, nats for all n steps and d channels.
      num_timesteps: int, n >= 2.
      num_channels: int, d.
      alpha_min: `None` for one alpha in all channels; or a float in [0, 1), for
        `linspace(alpha_min, alpha_max, d)` inclusive with alpha_max solved for.

    Returns:
      float64 numpy `[d]`, not decreasing.

    Raises:
      UserError: no alpha below 1 gives this rate; the message names the interval.
    """
    num_timesteps = check_num_timesteps(num_timesteps)
    if not isinstance(num_channels, numbers.Integral) or num_channels < 1:
        raise errors.UserError(
            f"`num_channels` must be a positive integer. Received: {num_channels}"
        )
    if alpha_min is not None:
        _check_alpha([alpha_min])
        if num_channels < 2:
            raise errors.UserError(
                "With `alpha_min`, `num_channels` must be at least 2: one channel has "
                f"alpha_min and nothing to solve for. Received: {num_channels}"
            )

    def alpha(t):
        # alpha_max = 1 - exp(-t): t tells apart values next to 1 that alpha does not.
        alpha_max = -math.expm1(-t)
        return np.linspace(
            alpha_max if alpha_min is None else alpha_min, alpha_max, num_channels
        )

    low = 0.0 if alpha_min is None else -math.log1p(-alpha_min)
    high = -math.log(np.finfo(np.float64).epsneg)  # The last alpha below 1.
    rates = [committed_rate(alpha(t), num_timesteps) for t in (low, high)]
    if not rates[0] <= rate <= rates[1]:
        raise errors.UserError(
            f"`rate` must be in [{rates[0]:.6g}, {rates[1]:.6g}] nats for "
            f"{num_timesteps} steps, {num_channels} channels and alpha_min={alpha_min}."
            f" Received: {rate}"
        )
    return alpha(
        optimize.brentq(
            lambda t: committed_rate(alpha(t), num_timesteps) - rate,
            low,
            high,
            xtol=1e-15,
            rtol=4 * np.finfo(np.float64).eps,
        )
    )


@keras.saving.register_keras_serializable(package="deltavae_tf")
class AR1(tfd.LinearGaussianStateSpaceModel, latent_prior.LatentPrior):
    """z[1] ~ N(0, 1), z[t] = alpha z[t-1] + sqrt(1 - alpha^2) eps[t], d channels apart.

    Every marginal is N(0, 1), so `alpha` alone sets the correlation:
    `corr(z[s], z[t]) = alpha ** |s - t|`. No posterior with independent time steps
    comes closer to this prior than `committed_rate()`. With alpha = 0 it is N(0, I) and
    commits nothing.

    It is a linear Gaussian state space model without observation noise, and all of
    TFP's methods for those (filtering, smoothing, missing steps) are here;
    `log_prob`, `sample` and the KL have closed forms, which are much faster. The KL is
    registered: `tfd.kl_divergence(tfd.Independent(tfd.Normal(loc, scale), 2), prior)`
    is `kl_from_normal(loc, scale)`. All densities are float32 and in nats.

    Shapes:
      event: `[n, d]`; batch: `[]`.

    Args:
      alpha: static `[d]`, each in [0, 1).
      num_timesteps: int, n >= 2.
      name: str.

    Example:
      >>> prior = AR1(alpha=[0.5, 0.9], num_timesteps=8)
      >>> loc = np.zeros([3, 8, 2], "float32")
      >>> posterior = tfd.Independent(tfd.Normal(loc, 0.5), 2)
      >>> rate = tfd.kl_divergence(posterior, prior)  # float32 [3], nats
      >>> bool(np.all(rate >= prior.committed_rate()))
      True

    References:
      delta-VAE, section 2.1 and appendices A to C.
    """

    def __init__(self, alpha: ArrayLike, num_timesteps: int, name: str = "AR1") -> None:
        self._alpha = _check_alpha(alpha)
        self._n = check_num_timesteps(num_timesteps)
        # float64 as far as possible: 1 - alpha**2 has no digits left in float32 where
        # alpha is close to 1.
        self._innovation = np.exp(_log_innovation(self._alpha))  # 1 - alpha^2
        dim = len(self._alpha)

        def normal(variance):
            return tfd.MultivariateNormalDiag(scale_diag=_constant(np.sqrt(variance)))

        super().__init__(
            num_timesteps=self._n,
            transition_matrix=linalg.LinearOperatorDiag(_constant(self._alpha)),
            transition_noise=normal(self._innovation),
            observation_matrix=linalg.LinearOperatorIdentity(dim),
            observation_noise=normal(np.zeros(dim)),
            initial_state_prior=normal(np.ones(dim)),
            name=name,
        )
        self._parameters = {
            "alpha": alpha,
            "num_timesteps": num_timesteps,
            "name": name,
        }

    @property
    def alpha(self) -> np.ndarray:
        """float64 numpy `[d]`."""
        return self._alpha.copy()

    def get_config(self) -> dict[str, Any]:
        """What `from_config` takes."""
        return {
            "alpha": self._alpha.tolist(),
            "num_timesteps": self._n,
            "name": self.parameters["name"],
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """The prior that `get_config` came from."""
        return cls(**config)

    def committed_rate(self, segments: Tensor | None = None) -> float:
        """delta (Eq. 1): the least `kl_from_normal` over all arguments; float, nats.

        `segments` is of no influence: all examples have n time steps.
        """
        del segments
        return committed_rate(self._alpha, self._n)

    def optimal_scale(self) -> np.ndarray:
        """The scale where, with `loc` zero, the KL is the committed rate.

        Returns:
          float64 numpy `[n, d]`: sqrt(1 - alpha^2) at both ends, and inside
          sqrt((1 - alpha^2) / (1 + alpha^2)).
        """
        variance = np.tile(self._innovation / (1 + self._alpha**2), (self._n, 1))
        variance[[0, -1]] = self._innovation
        return np.sqrt(variance)

    def _log_prob(self, x, mask=None):
        if mask is not None:
            return super()._log_prob(x, mask=mask)
        x = ops.cast(x, "float32")
        normalizer = 0.5 * (self._n - 1) * np.sum(_log_innovation(self._alpha))
        normalizer += 0.5 * self._n * len(self._alpha) * math.log(2 * math.pi)
        return -ops.sum(self._energy(x), axis=-1) - normalizer

    def rate(
        self,
        loc: Tensor,
        scale: Tensor,
        z: Tensor | None = None,
        segments: Tensor | None = None,
    ) -> Tensor:
        """The registered KL, in the form of `LatentPrior.rate`: float32 `[B]`, nats."""
        del z, segments
        # By this road loc has one consumer here, and its gradient is added up in one
        # order: results stay the same to the bit.
        return tfd.kl_divergence(tfd.Independent(tfd.Normal(loc, scale), 2), self)

    def kl_from_normal(self, loc: Tensor, scale: Tensor) -> Tensor:
        """KL(N(loc, diag(scale^2)) || prior), closed form (Eq. 3).

        Args:
          loc: float `[..., n, d]`.
          scale: float `[..., n, d]`, standard deviations.

        Returns:
          float32 `[...]`, nats.
        """
        excess, energy = self._excess_and_energy(loc, scale)
        rate = self.committed_rate()
        return rate + ops.sum(excess, axis=(-2, -1)) + ops.sum(energy, axis=-1)

    def kl_of_channels(self, loc: Tensor, scale: Tensor) -> Tensor:
        """What each channel, with all its time steps, adds to `kl_from_normal`.

        Args: as `kl_from_normal`.

        Returns:
          float32 `[..., d]`, nats; each at least the channel's own committed rate.
        """
        excess, energy = self._excess_and_energy(loc, scale)
        rates = [committed_rate([alpha], self._n) for alpha in self._alpha]
        return _constant(rates) + ops.sum(excess, axis=-2) + energy

    def _excess_and_energy(self, loc, scale):
        """KL minus the committed rate: float32 `[..., n, d]` and `[..., d]`."""
        loc, scale = ops.cast(loc, "float32"), ops.cast(scale, "float32")
        self._check_event("loc", loc)
        self._check_event("scale", scale)
        # Eq. 3 with the terms of one s_i put together. With r_i the ratio of s_i to
        # its optimum, each is 1/2 (r_i^2 - ln r_i^2 - 1) plus a constant, and the
        # constants add up to delta: so no rounding can hide the floor.
        log_ratio2 = 2 * (ops.log(scale) - _constant(np.log(self.optimal_scale())))
        excess = 0.5 * (ops.expm1(log_ratio2) - log_ratio2)
        return excess, self._energy(loc)

    def _energy(self, z):
        """1/2 [ z_1^2 + sum_t (z_t - alpha z_{t-1})^2 / (1 - alpha^2) ]: `[..., d]`."""
        now, before = z[..., 1:, :], z[..., :-1, :]
        innovation = now - _constant(self._alpha) * before
        innovation = innovation * _constant(1 / np.sqrt(self._innovation))
        return 0.5 * (
            ops.square(z[..., 0, :]) + ops.sum(ops.square(innovation), axis=-2)
        )

    def sample_from_noise(self, eps: Tensor, temperature: float = 1.0) -> Tensor:
        """The sample that standard normal noise stands for: exact, a linear map.

        Args:
          eps: float `[..., n, d]`, standard normal.
          temperature: float, multiplies the sample (every marginal's deviation).

        Returns:
          float32 `[..., n, d]`.
        """
        eps = ops.cast(eps, "float32")
        self._check_event("eps", eps)
        deviation = np.tile(np.sqrt(self._innovation), (self._n, 1))
        deviation[0] = 1
        z = eps * _constant(deviation) * temperature
        # z_t = sum_j alpha^j w_{t-j}, doubling how many j are in: log2(n) steps.
        reach = 1
        while reach < self._n:
            past = z[..., :-reach, :] * _constant(self._alpha**reach)
            start = ops.zeros_like(z[..., :reach, :])
            z = z + ops.concatenate([start, past], axis=-2)
            reach *= 2
        return z

    def _sample_n(self, n, seed=None):
        normal = tfd.Normal(np.float32(0), np.float32(1))
        return self.sample_from_noise(
            normal.sample((n, self._n, len(self._alpha)), seed=seed)
        )

    def _check_event(self, name, x):
        checks.check_event(name, x, (self._n, len(self._alpha)))


@tfd.RegisterKL(tfd.Independent, AR1)
def _kl_independent_ar1(q, prior, name=None):
    del name
    normal = q.distribution
    if not isinstance(normal, tfd.Normal) or len(q.event_shape) != 2:
        raise NotImplementedError(
            "The KL to AR1 is known for tfd.Independent(tfd.Normal(loc, scale), 2). "
            f"Received: {q}"
        )
    loc, scale = normal.loc, normal.scale
    return prior.kl_from_normal(
        loc + ops.zeros_like(scale), scale + ops.zeros_like(loc)
    )


def _constant(x):
    return ops.convert_to_tensor(np.asarray(x, np.float32))


def _log_innovation(alpha):
    """ln(1 - alpha^2), to full precision next to 1."""
    return np.log1p(-alpha) + np.log1p(alpha)


def _check_alpha(alpha):
    alpha = np.array(alpha, np.float64)
    if alpha.ndim != 1 or not alpha.size or not np.all((0 <= alpha) & (alpha < 1)):
        raise errors.UserError(
            "`alpha` must be one list of numbers in [0, 1), a channel each. "
            f"Received: {alpha.tolist()}"
        )
    return alpha


def check_num_timesteps(num_timesteps: int) -> int:
    """`num_timesteps` as an int; a UserError unless it is one of at least 2."""
    if not isinstance(num_timesteps, numbers.Integral) or num_timesteps < 2:
        raise errors.UserError(
            "`num_timesteps` must be an integer of at least 2: with 1 the committed "
            f"rate is 0. Received: {num_timesteps!r}"
        )
    return int(num_timesteps)
