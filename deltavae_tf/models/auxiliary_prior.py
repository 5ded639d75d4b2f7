"""The auxiliary prior: an LSTM fitted to the aggregate posterior."""

from typing import Any

import keras
import numpy as np
from keras import ops

from deltavae_tf import segments as places
from deltavae_tf.backend import Tensor, tfd
from deltavae_tf.distributions import latent_prior


@keras.saving.register_keras_serializable(package="deltavae_tf")
class LSTMPrior(keras.layers.Layer, latent_prior.LatentPrior):
    """p_aux(z_t | z_<t): one LSTM layer and a diagonal Gaussian per time step.

    It starts at N(0, 1) whatever came before.

    Args:
      units: int (Table 4's h_aux).
      latent_channels: int, d.
      **kwargs: `name`, `dtype`, ... for `keras.layers.Layer`.

    Call arguments:
      z: float `[B, n, d]`; teacher forcing behind a learned start.
      first: bool `[B, n]`, where a sequence begins: there the start and the state of
        the first step return, so sequences on end do not see each other. None: one
        sequence a row.

    Returns:
      loc, scale: float32 `[B, n, d]`; those at t depend on z_<t of the same sequence
      alone.

    Reference: delta-VAE, section 4.1.
    """

    def __init__(self, units: int, latent_channels: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.units = units
        self.latent_channels = latent_channels
        self.lstm = keras.layers.LSTM(
            units, return_sequences=True, name="lstm", dtype=self.dtype_policy
        )
        self.restarting = keras.layers.RNN(
            _RestartingCell(self.lstm.cell, dtype=self.dtype_policy),
            return_sequences=True,
            name="restarting",
            dtype=self.dtype_policy,
        )
        self.head = keras.layers.Dense(
            2 * latent_channels,
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

    def call(self, z: Tensor, first: Tensor | None = None) -> tuple[Tensor, Tensor]:
        z = ops.cast(z, self.compute_dtype)
        start = ops.zeros_like(z[:, :1]) + ops.cast(self.start, self.compute_dtype)
        before = ops.concatenate([start, z[:, :-1]], axis=1)
        if first is None:
            return self._moments(self.lstm(before))
        flag = ops.cast(first, self.compute_dtype)[..., None]
        before = flag * start + (1 - flag) * before
        return self._moments(self.restarting(ops.concatenate([before, flag], axis=-1)))

    def compute_output_shape(self, z_shape: Any, first_shape: Any = None) -> Any:
        return z_shape, z_shape

    def _moments(self, hidden):
        loc, raw_scale = ops.split(self.head(hidden), 2, axis=-1)
        # softplus(ln(e - 1)) = 1.
        relative = ops.softplus(raw_scale + float(np.log(np.e - 1.0)))
        return loc, ops.maximum(relative, 1e-4)

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
        kl = tfd.kl_divergence(tfd.Normal(loc, scale), tfd.Normal(*self(z)))
        return ops.sum(kl, axis=(1, 2))

    def rate_of_steps(
        self, loc: Tensor, scale: Tensor, z: Tensor, segments: Tensor
    ) -> Tensor:
        """What each time step adds to `rate`: float32 `[B, n]`, nats; 0 in padding.

        Args: as `rate`.
        """
        moments = self(z, places.is_first(segments))
        kl = tfd.kl_divergence(tfd.Normal(loc, scale), tfd.Normal(*moments))
        kl = ops.sum(kl, axis=-1)
        return ops.where(ops.equal(segments, 0), ops.zeros_like(kl), kl)

    def log_prob(self, z: Tensor) -> Tensor:
        """log p(z) of whole paths: float32 `[B]` for `[B, n, d]`."""
        return ops.sum(tfd.Normal(*self(z)).log_prob(z), axis=(1, 2))

    def init_cache(self, batch_size: int) -> dict[str, Any]:
        """The learned start and the LSTM's state before the first step."""
        start = ops.zeros((batch_size, self.latent_channels)) + self.start
        state = [ops.zeros((batch_size, self.units), self.compute_dtype)] * 2
        return {"z": ops.cast(start, self.compute_dtype), "state": state}

    def step(
        self, z: Tensor, cache: dict[str, Any]
    ) -> tuple[tuple[Tensor, Tensor], dict[str, Any]]:
        """One time step.

        Args:
          z: float `[B, d]`, the latent before this step (from the cache at the first).
          cache: from `init_cache` or the step before.

        Returns:
          (loc, scale) each float32 `[B, d]`, cache.
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
            (loc, scale), cache = self.step(z, cache)
            z = loc + temperature * scale * ops.take(eps, t, axis=1)
            path = ops.slice_update(path, (0, t, 0), z[:, None])
            return path, ops.cast(z, self.compute_dtype), cache

        state = (ops.zeros_like(eps), cache["z"], cache)
        return ops.fori_loop(0, eps.shape[1], next_step, state)[0]

    def get_config(self) -> dict[str, Any]:
        return {
            **keras.layers.Layer.get_config(self),
            "units": self.units,
            "latent_channels": self.latent_channels,
        }


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
