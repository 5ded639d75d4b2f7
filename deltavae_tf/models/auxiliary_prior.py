"""The auxiliary prior: an LSTM fitted to the aggregate posterior."""

from typing import Any

import keras
import numpy as np
from keras import ops

from deltavae_tf import errors
from deltavae_tf import segments as places
from deltavae_tf.backend import Tensor, tfd
from deltavae_tf.distributions import latent_prior

COVARIANCES = ("diagonal", "full")


@keras.saving.register_keras_serializable(package="deltavae_tf")
class LSTMPrior(keras.layers.Layer, latent_prior.LatentPrior):
    """p_aux(z_t | z_<t): one LSTM layer and a Gaussian per time step.

    It starts at N(0, I) whatever came before. The channels of one time step are
    independent given the steps before it, or with `covariance="full"` correlated: what
    a posterior's mean says of one channel often tells another, and a diagonal Gaussian
    pays for both.

    Args:
      units: int (Table 4's h_aux).
      latent_channels: int, d.
      covariance: "diagonal" or "full", of z_t given z_<t. The paper says "Gaussian
        outputs" and leaves it open. Full has d (d - 1) / 2 more numbers a time step.
      **kwargs: `name`, `dtype`, ... for `keras.layers.Layer`.

    Call arguments:
      z: float `[B, n, d]`; teacher forcing behind a learned start.
      first: bool `[B, n]`, where a sequence begins: there the start and the state of
        the first step return, so sequences on end do not see each other. None: one
        sequence a row.

    Returns:
      loc, scale: float32 `[B, n, d]`; with full covariance also `mixing`, float32
      `[B, n, d, d]`, strictly lower triangular: (I + mixing_t) (z_t - loc_t) / scale_t
      is standard normal. Those at t depend on z_<t of the same sequence alone.

    Raises:
      UserError: another covariance.

    Reference: delta-VAE, section 4.1.
    """

    def __init__(
        self,
        units: int,
        latent_channels: int,
        covariance: str = "diagonal",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if covariance not in COVARIANCES:
            raise errors.UserError(
                f"`covariance` must be one of {', '.join(COVARIANCES)}. "
                f"Received: {covariance!r}"
            )
        self.units = units
        self.latent_channels = latent_channels
        self.covariance = covariance
        self.lstm = keras.layers.LSTM(
            units, return_sequences=True, name="lstm", dtype=self.dtype_policy
        )
        self.restarting = keras.layers.RNN(
            _RestartingCell(self.lstm.cell, dtype=self.dtype_policy),
            return_sequences=True,
            name="restarting",
            dtype=self.dtype_policy,
        )
        # Row and column of what is below the diagonal.
        self._below = np.tril_indices(latent_channels, -1)
        below = len(self._below[0]) if covariance == "full" else 0
        self.head = keras.layers.Dense(
            2 * latent_channels + below,
            kernel_initializer="zeros",
            name="head",
            dtype="float32",
        )

    def build(self, z_shape: Any, first_shape: Any = None) -> None:
        self.start = self.add_weight(
            name="start", shape=(self.latent_channels,), initializer="zeros"
        )
        self.lstm.build((None, z_shape[1], self.latent_channels))
        self.restarting.build((None, z_shape[1], self.latent_channels + 1))
        self.head.build((None, z_shape[1], self.units))

    def call(self, z: Tensor, first: Tensor | None = None) -> tuple[Tensor, ...]:
        z = ops.cast(z, self.compute_dtype)
        start = ops.zeros_like(z[:, :1]) + ops.cast(self.start, self.compute_dtype)
        before = ops.concatenate([start, z[:, :-1]], axis=1)
        if first is None:
            return self._moments(self.lstm(before))
        flag = ops.cast(first, self.compute_dtype)[..., None]
        before = flag * start + (1 - flag) * before
        return self._moments(self.restarting(ops.concatenate([before, flag], axis=-1)))

    def compute_output_shape(self, z_shape: Any, first_shape: Any = None) -> Any:
        if self.covariance == "diagonal":
            return z_shape, z_shape
        return z_shape, z_shape, (*z_shape, z_shape[-1])

    def _moments(self, hidden):
        d = self.latent_channels
        outputs = self.head(hidden)
        loc, raw_scale = outputs[..., :d], outputs[..., d : 2 * d]
        # softplus(ln(e - 1)) = 1.
        relative = ops.softplus(raw_scale + float(np.log(np.e - 1.0)))
        scale = ops.maximum(relative, 1e-4)
        if self.covariance == "diagonal":
            return loc, scale
        place = np.zeros((len(self._below[0]), d, d), "float32")
        place[(np.arange(len(place)), *self._below)] = 1.0
        return loc, scale, ops.tensordot(outputs[..., 2 * d :], place, axes=1)

    @property
    def event_shape(self) -> tuple[None, int]:
        """(None, d): paths have any length."""
        return None, self.latent_channels

    def rate(
        self, loc: Tensor, scale: Tensor, z: Tensor, segments: Tensor | None = None
    ) -> Tensor:
        """sum_t KL(N(loc_t, scale_t^2) || p_aux(z_t | z_<t)): float32 `[B]`, nats.

        Args: as `LatentPrior.rate`.
        """
        if segments is not None:
            return ops.sum(self.rate_of_steps(loc, scale, z, segments), axis=1)
        return ops.sum(_kl(loc, scale, *self(z)), axis=1)

    def rate_of_steps(
        self, loc: Tensor, scale: Tensor, z: Tensor, segments: Tensor
    ) -> Tensor:
        """What each time step adds to `rate`: float32 `[B, n]`, nats; 0 in padding.

        Args: as `rate`.
        """
        moments = self(z, places.is_first(segments))
        kl = _kl(loc, scale, *moments)
        return ops.where(ops.equal(segments, 0), ops.zeros_like(kl), kl)

    def log_prob(self, z: Tensor) -> Tensor:
        """log p(z) of whole paths: float32 `[B]` for `[B, n, d]`."""
        loc, scale, *mixing = self(z)
        eps = _mixed((z - loc) / scale, *mixing)
        each = tfd.Normal(0.0, 1.0).log_prob(eps) - ops.log(scale)
        return ops.sum(each, axis=(1, 2))

    def init_cache(self, batch_size: int) -> dict[str, Any]:
        """The learned start and the LSTM's state before the first step."""
        start = ops.zeros((batch_size, self.latent_channels)) + self.start
        state = [ops.zeros((batch_size, self.units), self.compute_dtype)] * 2
        return {"z": ops.cast(start, self.compute_dtype), "state": state}

    def step(
        self, z: Tensor, cache: dict[str, Any]
    ) -> tuple[tuple[Tensor, ...], dict[str, Any]]:
        """One time step.

        Args:
          z: float `[B, d]`, the latent before this step (from the cache at the first).
          cache: from `init_cache` or the step before.

        Returns:
          what `call` returns of one time step (loc float32 `[B, d]`), cache.
        """
        hidden, state = self.lstm.cell(ops.cast(z, self.compute_dtype), cache["state"])
        return self._moments(hidden), {**cache, "state": state}

    def sample_from_noise(self, eps: Tensor, temperature: float = 1.0) -> Tensor:
        """A path of the prior from standard normal noise.

        Args:
          eps: float `[B, n, d]`.
          temperature: float or scalar tensor, multiplies the scales.

        Returns:
          float32 `[B, n, d]`.
        """
        cache = self.init_cache(ops.shape(eps)[0])

        def next_step(t, state):
            path, z, cache = state
            (loc, scale, *mixing), cache = self.step(z, cache)
            x = _unmixed(temperature * ops.take(eps, t, axis=1), *mixing)
            z = loc + scale * x
            path = ops.slice_update(path, (0, t, 0), z[:, None])
            return path, ops.cast(z, self.compute_dtype), cache

        state = (ops.zeros_like(eps), cache["z"], cache)
        return ops.fori_loop(0, eps.shape[1], next_step, state)[0]

    def get_config(self) -> dict[str, Any]:
        return {
            **keras.layers.Layer.get_config(self),
            "units": self.units,
            "latent_channels": self.latent_channels,
            "covariance": self.covariance,
        }


def _kl(loc, scale, mean, deviation, mixing=None):
    """KL(N(loc, diag(scale^2)) || the Gaussian of a time step): `[B, n]`, nats."""
    kl = tfd.kl_divergence(tfd.Normal(loc, scale), tfd.Normal(mean, deviation))
    if mixing is not None:
        # With W = (I + mixing) / deviation the KL has |W scale|^2 and |W away|^2, where
        # that without mixing has these of 1 / deviation.
        away = (loc - mean) / deviation
        kl += (_mixed(away, mixing) ** 2 - away**2) / 2
        more = ops.sum(mixing**2, axis=-2)  # Of each column: mixing has no diagonal.
        kl += (scale / deviation) ** 2 * more / 2
    return ops.sum(kl, axis=-1)


def _mixed(x, mixing=None):
    """(I + mixing) x, of `[..., d]`."""
    return x if mixing is None else x + ops.matmul(mixing, x[..., None])[..., 0]


def _unmixed(eps, mixing=None):
    """The x of which `_mixed` makes eps."""
    if mixing is None:
        return eps
    unit = ops.eye(mixing.shape[-1]) + mixing
    return ops.solve_triangular(unit, eps[..., None], lower=True)[..., 0]


class _RestartingCell(keras.layers.Layer):
    """Another cell, which forgets its state where the last input channel is 1."""

    def __init__(self, cell: keras.layers.Layer, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.cell = cell
        self.state_size = cell.state_size
        self.output_size = cell.output_size

    def build(self, inputs_shape):
        del inputs_shape  # The cell is built by its owner.

    def call(self, inputs, states, training=False):
        kept = 1.0 - inputs[:, -1:]
        states = [state * kept for state in states]
        return self.cell(inputs[:, :-1], states, training=training)

    def get_initial_state(self, batch_size=None):
        return self.cell.get_initial_state(batch_size)
