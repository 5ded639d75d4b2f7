"""What a delta-VAE asks of its priors, and plain TFP distributions in that form."""

import abc
import warnings
from typing import Any, Self

from keras import ops

from deltavae_tf import backend, errors
from deltavae_tf.backend import Tensor, tfd


class LatentPrior(abc.ABC):
    """p(z) over latents `[n, d]`: n time steps of d channels.

    The prior that trains and the auxiliary one that is fitted to the posteriors answer
    the same calls. A subclass that has weights is a keras.Layer too; one without is
    registered (`keras.saving.register_keras_serializable`), so that models with it can
    be saved.

    Where examples differ in length, `segments`, int32 `[B, n]`, says which sequence
    each time step belongs to (`deltavae_tf.segments`; 0 is padding), and every sequence
    has a latent path of its own. None: an example is one sequence of n steps. All
    densities are float32 and in nats.

    A prior may also have `kl_of_channels(loc, scale)`, float32 `[B, d]`, which
    objectives with `per_channel` need.
    """

    @property
    @abc.abstractmethod
    def event_shape(self) -> tuple[int | None, int]:
        """(n, d); n is None where any number of time steps will do."""

    @abc.abstractmethod
    def rate(
        self, loc: Tensor, scale: Tensor, z: Tensor, segments: Tensor | None = None
    ) -> Tensor:
        """KL(N(loc, diag(scale^2)) || p), or an estimate given one z from that normal.

        Args:
          loc: float `[B, n, d]`.
          scale: float `[B, n, d]`, standard deviations.
          z: float `[B, n, d]`, a sample of the normal; of no influence where the KL has
            a closed form.
          segments: int32 `[B, n]`, or None.

        Returns:
          float32 `[B]`, nats per example.
        """

    @abc.abstractmethod
    def log_prob(self, z: Tensor) -> Tensor:
        """log p(z) of whole paths: float32 `[B]` for `[B, n, d]`."""

    @abc.abstractmethod
    def sample_from_noise(self, eps: Tensor, temperature: float = 1.0) -> Tensor:
        """The paths that standard normal noise stands for.

        Args:
          eps: float `[B, n, d]`, standard normal.
          temperature: float > 0; below 1 paths are closer to the mean.

        Returns:
          float32 `[B, n, d]`.
        """

    def committed_rate(self, segments: Tensor | None = None) -> float | Tensor:
        """delta, the rate below which no mean-field posterior can go.

        Priors, encoders that keep a rate themselves and models have this method, with
        these arguments.

        Args:
          segments: int32 `[B, n]`, where examples differ in length.

        Returns:
          Nats per example: a float where all examples commit to the same, else float32
          `[B]`. 0 for a prior of which none is known.
        """
        del segments
        return 0.0

    @abc.abstractmethod
    def get_config(self) -> dict[str, Any]:
        """What `from_config` takes."""

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """The prior that `get_config` came from."""
        return cls(**config)


class DistributionPrior(LatentPrior):
    """A plain TFP distribution over `[n, d]` as a prior, as far as that goes.

    The rate is TFP's KL where one is registered, else log q(z) - log p(z) of the one
    sampled z: unbiased, but noisy, and not always above 0. Nothing is known of what it
    commits to, so `committed_rate` is 0. It has no temperature, and cannot be saved.

    Args:
      distribution: `tfd.Distribution` of batch shape `[]` and event shape `[n, d]`.
    """

    def __init__(self, distribution: tfd.Distribution) -> None:
        batch, event = distribution.batch_shape, distribution.event_shape
        if len(batch) != 0 or len(event) != 2:
            raise errors.UserError(
                "A distribution as a prior must have batch shape [] and event shape "
                "[n, d], as tfd.Independent(tfd.Normal(loc, scale), 2) with loc [n, d] "
                f"has. Received: batch shape {list(batch)}, event shape {list(event)}"
            )
        self.distribution = distribution

    @property
    def event_shape(self) -> tuple[int | None, int]:
        """(n, d)."""
        return tuple(self.distribution.event_shape)

    def rate(
        self, loc: Tensor, scale: Tensor, z: Tensor, segments: Tensor | None = None
    ) -> Tensor:
        """As `LatentPrior.rate`."""
        if segments is not None:
            raise self._lacks("sequences of different lengths", "rate(.., segments)")
        q = tfd.Independent(tfd.Normal(loc, scale), 2)
        try:
            return ops.cast(tfd.kl_divergence(q, self.distribution), "float32")
        except NotImplementedError:  # No KL is registered.
            return q.log_prob(z) - self.log_prob(z)

    def log_prob(self, z: Tensor) -> Tensor:
        """As `LatentPrior.log_prob`."""
        return ops.cast(self.distribution.log_prob(z), "float32")

    def sample_from_noise(self, eps: Tensor, temperature: float = 1.0) -> Tensor:
        """An error: TFP has no sample that is a function of given noise."""
        raise self._lacks("samples of given noise", "sample_from_noise")

    def sample_from_keys(self, keys: Tensor, temperature: float = 1.0) -> Tensor:
        """Samples, each from a key of its own.

        Args:
          keys: uint32 `[B, 2]`.
          temperature: 1.0; an error if another is asked for.

        Returns:
          float32 `[B, n, d]`.
        """
        if temperature != 1:
            raise self._lacks("a temperature", "sample_from_noise")
        seeds = [backend.sampler_seed(keys[i]) for i in range(keys.shape[0])]
        each = [self.distribution.sample(seed=seed) for seed in seeds]
        return ops.cast(ops.stack(each), "float32")

    def get_config(self) -> dict[str, Any]:
        """An error: TFP's distributions do not say what they were made of."""
        raise self._lacks("a config to be saved with", "get_config")

    def _lacks(self, what, method):
        return errors.UserError(
            f"A plain distribution as a prior lacks {what}: use AR1, or a subclass of "
            f"LatentPrior with `{method}`. Received: {self.distribution.name}"
        )


_METHODS = ("rate", "log_prob", "sample_from_noise", "committed_rate")


def as_prior(prior: Any) -> Any:
    """A prior as it is, None too; a plain distribution as a `DistributionPrior`.

    Raises:
      UserError: it is neither, and has not the methods of a `LatentPrior`.
    """
    if prior is None or all(hasattr(prior, name) for name in _METHODS):
        return prior
    if isinstance(prior, tfd.Distribution):
        warnings.warn(
            f"The prior {prior.name} is a plain distribution: its committed rate is "
            "taken for 0, it has no temperature, and it cannot be saved",
            stacklevel=3,
        )
        return DistributionPrior(prior)
    raise errors.UserError(
        "A prior must be a LatentPrior, such as AR1, or a tfd.Distribution over "
        f"[n, d]. Received: {prior!r}"
    )
