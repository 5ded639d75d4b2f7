"""What users do with a trained delta-VAE of sentences; see `latent_sampling`."""

from typing import Any

from keras import ops

from deltavae_tf import backend, errors, noise
from deltavae_tf import segments as places
from deltavae_tf.backend import Tensor
from deltavae_tf.distributions import segmented_ar1
from deltavae_tf.layers import token_embedding
from deltavae_tf.models import latent_sampling, text_decoder, token_sampling

_MOMENT_SAMPLES = 256


class TextSampling(latent_sampling.LatentSampling):
    """The methods of `TextVAE` that draw latents and sentences."""

    max_length: int
    _samplers: dict[tuple[int, float], Any]

    def latent_noise(self, keys: Tensor, shape: tuple[int, ...]) -> Tensor:
        """Standard normal: float32 `[B, L, d]`; a step's does not depend on L."""
        return noise.normal_sequence(keys, *shape)

    def latent_shape(self, length: int | None = None) -> tuple[int, int]:
        """(L, d) of the latents of a sentence of `length`, by default the longest."""
        return super().latent_shape(length or self.max_length)

    def continue_latents(
        self, z: Tensor, num_given: Tensor, seed: Any = 0, first: Any = 0
    ) -> Tensor:
        """Samples the AR(1) chain that goes on from given latents.

        Args:
          z: float `[B, L, d]`.
          num_given: int32 `[B]`, each at least 1: how many time steps of z are kept.
          seed: int, or key uint32 `[2]`.
          first: int, or ints `[B]`: as `sample`.

        Returns:
          float32 `[B, L, d]`.
        """
        n, length = ops.shape(z)[0], z.shape[1]
        other = self.sample_latents(n, "training", 1.0, seed, first, length)
        return self.prior.continue_from(z, num_given, other)

    def latent_moments(
        self, prior: str | None = None, seed: Any = 0
    ) -> tuple[Tensor, Tensor]:
        """Mean and deviation of a prior's latents over samples and time: each `[d]`.

        Those of the AR(1) prior are 0 and 1; any other's are estimated from 256
        samples.
        """
        chosen = self.chosen_prior(prior)
        if isinstance(chosen, segmented_ar1.SegmentedAR1):
            channels = chosen.event_shape[-1]
            return ops.zeros((channels,)), ops.ones((channels,))
        z = self.sample_latents(_MOMENT_SAMPLES, prior, seed=seed)
        return ops.mean(z, axis=(0, 1)), ops.std(z, axis=(0, 1))

    def sample(
        self,
        n: int,
        prior: str | None = None,
        temperature: float = 1.0,
        seed: Any = 0,
        first: Any = 0,
        length: int | None = None,
        top_k: int = 0,
        top_p: float = 1.0,
    ) -> Tensor:
        """Samples sentences from the model.

        Args:
          n: int, how many.
          prior: "auxiliary", or "training" for the prior that the model trains with.
            Ignored by the autoregressive baseline.
          temperature: float > 0, of the decoder's tokens. Latents are drawn from the
            prior itself.
          seed: int, or key uint32 `[2]`.
          first: int, the number of the first sample, to draw many in parts; or ints
            `[n]`, the number of each.
          length: int, the most tokens of a sentence, by default `max_length`.
          top_k: int, only the k most probable tokens; 0: all.
          top_p: float in (0, 1], the nucleus; 1: all.

        Returns:
          int32 `[n, length]`; PAD after EOS. A row without EOS was cut.
        """
        latent_sampling.check_count(n)
        length = length or self.max_length
        z = None
        if self.encoder is not None:
            z = self.sample_latents(n, prior, 1.0, seed, first, length)
        return self.sample_data(
            z, n, temperature, seed, first, length=length, top_k=top_k, top_p=top_p
        )

    def sample_data(
        self,
        z: Tensor | None,
        n: int,
        temperature: float = 1.0,
        seed: Any = 0,
        first: Any = 0,
        given: Tensor | None = None,
        num_given: int | Tensor = 0,
        length: int | None = None,
        top_k: int = 0,
        top_p: float = 1.0,
    ) -> Tensor:
        """x ~ p(x | z), through the decoder's cache.

        Args:
          z: float `[n, L, d]`, or None for the autoregressive baseline.
          n: int.
          temperature: float > 0.
          seed: int, or key uint32 `[2]`.
          first: int, or ints `[n]`, the numbers of the samples.
          given: int `[n, L]`, tokens to complete, or None.
          num_given: int or ints `[n]`, how many tokens of `given` are kept.
          length: int, L.
          top_k: int, see `sample`.
          top_p: float, see `sample`.

        Returns:
          As `sample`.
        """
        token_sampling.check(temperature, top_k, top_p)
        length = length or (z.shape[1] if z is not None else self.max_length)
        if given is not None and given.shape[1] != length:
            raise errors.UserError(
                f"`given` must be [n, {length}], padded. Received: {list(given.shape)}"
            )
        if given is not None:
            token_embedding.check_tokens(given, self.decoder.vocabulary_size)
        self.check_built("sample")
        if (top_k, top_p) not in self._samplers:

            def draw(*arguments):
                sample = self.decoder.sample_from_uniforms
                return sample(*arguments, top_k=top_k, top_p=top_p)

            self._samplers[top_k, top_p] = backend.compile(draw, self.decoder)
        keys = noise.sample_keys(seed, first, n, noise.Purpose.DATA)
        # Noise outside: XLA would take longer to compile it than all the rest.
        uniforms = text_decoder.uniforms_of(keys, length)
        temperature = ops.convert_to_tensor(temperature, dtype="float32")
        if given is not None:
            given = ops.cast(given, "int32")
            num_given = ops.zeros((n,), dtype="int32") + num_given
        draw = self._samplers[top_k, top_p]
        return draw(z, uniforms, temperature, given, num_given)

    def reconstruct(
        self,
        x: Any,
        temperature: float = 1.0,
        seed: Any = 0,
        top_k: int = 0,
        top_p: float = 1.0,
    ) -> Tensor:
        """x' ~ p(x | z) with z ~ q(z | x): int32 `[B, L]` for sentences `[B, L]`.

        Behind the end of x the latents go on as the AR(1) prior does.
        """
        num_given = ops.cast(places.num_tokens(x), "int32")
        z = self.continue_latents(self.sample_posterior(x, seed), num_given, seed)
        return self.sample_data(
            z, x.shape[0], temperature, seed, top_k=top_k, top_p=top_p
        )
