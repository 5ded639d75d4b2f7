"""What users do with a trained delta-VAE: latents, samples, reconstructions."""

from typing import Any

from keras import ops

from deltavae_tf import errors, noise
from deltavae_tf.backend import Tensor

_Purpose = noise.Purpose


class LatentSampling:
    """The methods of `DeltaVAE` that draw; data is drawn by `sample_data`.

    All noise is a function of `seed` and of a sample's number, so sample i of a seed is
    the same whatever `n` and `first`.
    """

    encoder: Any
    decoder: Any
    prior: Any
    auxiliary_prior: Any
    encode: Any
    sample_data: Any
    check_built: Any

    def latent_noise(self, keys: Tensor, shape: tuple[int, ...]) -> Tensor:
        """Standard normal: float32 `[B, n, d]` of keys `[B, 2]` and shape (n, d)."""
        return noise.normal(keys, shape)

    def latent_shape(self, length: int | None = None) -> tuple[int, int]:
        """(n, d) of the latents of an example.

        Args:
          length: int, n where the prior leaves it open.
        """
        steps, channels = tuple(self.prior.event_shape)
        steps = length if steps is None else steps
        if steps is None:
            raise errors.UserError(
                "The prior has no number of time steps of its own: it must be an AR1, "
                f"or the like, to sample images. Received: {self.prior!r}"
            )
        return steps, channels

    def chosen_prior(self, prior: str | None = None) -> Any:
        """The prior that "training" or "auxiliary" stands for; None: see `sample`."""
        priors = {"training": self.prior, "auxiliary": self.auxiliary_prior}
        if prior is None:
            prior = "training" if self.auxiliary_prior is None else "auxiliary"
        if priors.get(prior) is None:
            known = [name for name, value in priors.items() if value is not None]
            raise errors.UserError(
                f"`prior` must be one of {known}. Received: {prior!r}"
            )
        if not getattr(priors[prior], "built", True):
            self.check_built("sample_latents")
        return priors[prior]

    def sample_posterior(self, x: Any, seed: Any = 0, first: Any = 0) -> Tensor:
        """z ~ q(z | x): float32 `[B, n, d]`.

        Args:
          x: data as in a batch, `[B, ...]`.
          seed: int, or key uint32 `[2]`.
          first: int, or ints `[B]`: as `sample`.
        """
        posterior = self.encode(x).distribution
        keys = noise.sample_keys(seed, first, ops.shape(x)[0], _Purpose.POSTERIOR)
        eps = self.latent_noise(keys, posterior.loc.shape[1:])
        return posterior.loc + posterior.scale * eps

    def sample_latents(
        self,
        n: int,
        prior: str | None = None,
        temperature: float = 1.0,
        seed: Any = 0,
        first: Any = 0,
        length: int | None = None,
    ) -> Tensor:
        """Latents from a prior: float32 `[n, time steps, d]`.

        Args: as `sample`, and
          length: int, time steps where the prior leaves them open.
        """
        chosen = self.chosen_prior(prior)
        keys = noise.sample_keys(seed, first, n, _Purpose.LATENTS)
        if hasattr(chosen, "sample_from_keys"):
            return chosen.sample_from_keys(keys, temperature)
        eps = self.latent_noise(keys, self.latent_shape(length))
        return chosen.sample_from_noise(eps, temperature)

    def sample(
        self,
        n: int,
        prior: str | None = None,
        temperature: float = 1.0,
        seed: Any = 0,
        first: Any = 0,
    ) -> Tensor:
        """Samples x from the model, through the decoder's cache if it has one.

        Args:
          n: int, how many.
          prior: "auxiliary", or "training" for the prior that the model trains with;
            None: the auxiliary one if there is one. Ignored by the autoregressive
            baseline.
          temperature: float > 0; below 1 prior and decoder are sharper.
          seed: int, or key uint32 `[2]`.
          first: int, the number of the first sample, to draw many in parts; or ints
            `[n]`, the number of each.

        Returns:
          Array `[n, ...]` of the decoder's dtype, int32 `[n, H, W, C]` for images.
        """
        check_count(n)
        z = None
        if self.encoder is not None:
            z = self.sample_latents(n, prior, temperature, seed, first)
        return self.sample_data(z, n, temperature, seed, first)

    def reconstruct(self, x: Any, temperature: float = 1.0, seed: Any = 0) -> Tensor:
        """x' ~ p(x | z) with z ~ q(z | x), both from the noise of `seed`.

        Args:
          x: data as in a batch, `[B, ...]`.
          temperature: float > 0, of the decoder.
          seed: int, or key uint32 `[2]`.

        Returns:
          Array like x, int32 for images.
        """
        z = self.sample_posterior(x, seed)
        return self.sample_data(z, ops.shape(x)[0], temperature, seed)


def check_count(n: int) -> None:
    """Raises a UserError unless there is something to draw."""
    if not n >= 1:
        raise errors.UserError(f"`n` must be at least 1. Received: {n}")
