"""The delta-VAE of sentences: rows of tokens, any length, one AR(1) chain each."""

import keras
from keras import ops

from deltavae_tf import backend, noise
from deltavae_tf import segments as places
from deltavae_tf.layers import token_embedding
from deltavae_tf.models import delta_vae, text_decoder, token_sampling

_POSTERIOR, _, _LATENTS, _TOKENS = range(4)  # As `delta_vae` numbers the purposes.
_MOMENT_SAMPLES = 256


@keras.saving.register_keras_serializable(package="deltavae_tf")
class TextVAE(delta_vae.DeltaVAE):
    """A `DeltaVAE` whose examples are rows of tokens with a latent for each token.

    A row `[L]` holds a sentence, or many on end; each ends with EOS 1, the rest is
    PAD 0. Terms are sums over the row's tokens, EOS included and PAD not. The AR(1)
    chain, the auxiliary prior, attention and positions start anew at each sentence,
    so the terms of a packed row are the sums of its sentences'.

    Args:
      encoder: `TextEncoder`, or None for the autoregressive baseline.
      decoder: `TextDecoder`.
      prior: `SegmentedAR1`; None with `encoder=None`.
      auxiliary_prior: `LSTMPrior` or None.
      objective: as for `DeltaVAE`; an example is a row.
      seed: int, of all noise.
      max_length: int, tokens of a sampled sentence unless said otherwise.
      **kwargs: `name`, `dtype`, ... for `keras.Model`.

    Call arguments:
      batch: dict with `tokens` int `[B, L]`, `index`, `mask`; or the tokens alone.
      training: bool.

    Returns:
      dict of float32 `[B]`, nats: `distortion`, `rate`, `rate_aux` as `DeltaVAE`, and
      `committed_rate`, the sum over the row's sentences of n tokens of delta(n).

    Reference: delta-VAE, section 4.4 and appendix E.2.
    """

    unit, unit_name = "per_token", "nats/token"
    per_unit = (*delta_vae.DeltaVAE.per_unit, "distortion", "committed_rate")

    def __init__(
        self,
        encoder,
        decoder,
        prior,
        auxiliary_prior=None,
        objective=None,
        seed=0,
        max_length=128,
        **kwargs,
    ):
        super().__init__(
            encoder, decoder, prior, auxiliary_prior, objective, seed, **kwargs
        )
        self.max_length = max_length
        name = "committed_rate_nats"
        self._term_metrics[name] = keras.metrics.Mean(name=name)
        self._samplers = {}

    # The per-example terms.

    def terms(self, x, keys, dropout_keys=None):
        if self.encoder is None:
            distribution = self._decode(None, x, dropout_keys)
            nothing = ops.zeros(ops.shape(x)[:1], dtype="float32")
            distortion = -ops.cast(distribution.log_prob(x), "float32")
            rates = dict.fromkeys(("rate", "rate_aux", "committed_rate"), nothing)
            return {"distortion": distortion, **rates}
        segments = places.segment_ids(x)
        posterior = self.encode(x).distribution
        loc, scale = posterior.loc, posterior.scale
        z = self._draw(loc, scale, noise.fold(keys, _POSTERIOR))
        distribution = self._decode(z, x, dropout_keys)
        rate = self.prior.kl_from_normal(loc, scale, segments)
        return {
            "distortion": -ops.cast(distribution.log_prob(x), "float32"),
            "rate": ops.sum(rate, axis=1),
            "rate_aux": ops.sum(self.auxiliary_rates(loc, scale, z, segments), axis=1),
            "committed_rate": ops.sum(self.prior.committed_rate(segments), axis=1),
        }

    def auxiliary_rates(self, loc, scale, z, segments):
        """KL(q(z_t | x) || p_aux(z_t | z_<t)) of every token: float32 `[B, L]`, nats.

        Args:
          loc: float `[B, L, d]`.
          scale: float `[B, L, d]`.
          z: float `[B, L, d]`, the sampled prefix.
          segments: int32 `[B, L]`, see `segments.segment_ids`.
        """
        if self.auxiliary_prior is None:
            return self.prior.kl_from_normal(loc, scale, segments)
        loc, scale, z = (ops.stop_gradient(t) for t in (loc, scale, z))
        normal = backend.tfd.Normal
        moments = self.auxiliary_prior(z, places.is_first(segments))
        kl = backend.tfd.kl_divergence(normal(loc, scale), normal(*moments))
        kl = ops.sum(kl, axis=-1)
        return ops.where(ops.equal(segments, 0), ops.zeros_like(kl), kl)

    def committed_rate(self, x=None):
        """delta of each row, the rate below which no posterior can go.

        Args:
          x: int `[B, L]`, tokens; a sentence's delta depends on its length.

        Returns:
          float32 `[B]`, nats.
        """
        if x is None:
            raise ValueError("Sentences commit to a rate by their length: give `x`.")
        if self.prior is None:
            return ops.zeros(ops.shape(x)[:1], dtype="float32")
        return ops.sum(self.prior.committed_rate(places.segment_ids(x)), axis=1)

    def _update_metrics(self, batch, terms):
        x, _, mask = delta_vae.unpack(batch)
        tokens = num_tokens(x)
        named = {
            **terms,
            "nelbo": terms["distortion"] + terms["rate"],
            "nelbo_aux": terms["distortion"] + terms["rate_aux"],
        }
        for name, metric in self._term_metrics.items():
            term, unit = name.rsplit("_nats", 1)[0], name.endswith(self.unit)
            if unit:
                # The ratio of sums: weighted by tokens, the mean of each row's ratio.
                term = name.removesuffix(f"_{self.unit}")
                each = named[term] / ops.maximum(tokens, 1.0)
                metric.update_state(each, sample_weight=tokens * mask)
            else:
                metric.update_state(named[term], sample_weight=mask)

    # What users do with a trained model.

    def decode(self, z, x):
        """p(x | z), teacher-forced: `tfd.Independent` over `[L]`, batch shape `[B]`."""
        return self._decode(z, x)

    def sample_posterior(self, x, seed=0, first=0):
        """z ~ q(z | x): float32 `[B, L, d]`; `seed` and `first` as for `sample`."""
        posterior = self.encode(x).distribution
        keys = sample_keys(seed, first, ops.shape(x)[0], _POSTERIOR)
        return self._draw(posterior.loc, posterior.scale, keys)

    def _draw(self, loc, scale, keys):
        return loc + scale * noise.normal_sequence(keys, *loc.shape[1:])

    def sample_latents(
        self, n, prior="aux", temperature=1.0, seed=0, first=0, length=None
    ):
        """Latents from a prior: float32 `[n, length, d]`; arguments as for `sample`."""
        samplers = {"ar1": self.prior, "aux": self.auxiliary_prior}
        if prior not in samplers or samplers[prior] is None:
            known = [name for name, value in samplers.items() if value is not None]
            raise ValueError(f"`prior` must be one of {known}. Received: {prior!r}")
        keys = sample_keys(seed, first, n, _LATENTS)
        channels = len(self.prior.alpha)
        eps = noise.normal_sequence(keys, length or self.max_length, channels)
        return samplers[prior].sample_from_noise(eps, temperature)

    def continue_latents(self, z, num_given, seed=0, first=0):
        """Samples the AR(1) chain that goes on from given latents.

        Args:
          z: float `[B, L, d]`.
          num_given: int32 `[B]`, each at least 1: how many time steps of z are kept.
          seed: int.
          first: int, or ints `[B]`: as `sample`.

        Returns:
          float32 `[B, L, d]`.
        """
        n, length = ops.shape(z)[0], z.shape[1]
        other = self.sample_latents(n, "ar1", 1.0, seed, first, length)
        # Two chains with the same noise differ by alpha^k k steps on.
        step = ops.arange(length)[None] - (num_given[:, None] - 1)
        last = ops.one_hot(num_given - 1, length)[..., None]
        apart = ops.sum((z - other) * last, axis=1, keepdims=True)
        steps_on = ops.cast(ops.maximum(step, 0), "float32")[..., None]
        alpha = ops.convert_to_tensor(self.prior.alpha.astype("float32"))
        moved = other + ops.power(alpha, steps_on) * apart
        return ops.where(step[..., None] <= 0, z, moved)

    def latent_moments(self, prior="aux", seed=0):
        """Mean and deviation of a prior's latents over samples and time: each `[d]`.

        Those of the AR(1) prior are 0 and 1; the auxiliary prior's are estimated from
        256 samples.
        """
        z = self.sample_latents(_MOMENT_SAMPLES, prior, seed=seed)
        if prior == "ar1":
            return ops.zeros(z.shape[-1:]), ops.ones(z.shape[-1:])
        return ops.mean(z, axis=(0, 1)), ops.std(z, axis=(0, 1))

    def sample(
        self,
        n,
        prior="aux",
        temperature=1.0,
        seed=0,
        first=0,
        length=None,
        top_k=0,
        top_p=1.0,
    ):
        """Samples sentences from the model.

        Sample i of a seed is the same whatever `n` and `first`.

        Args:
          n: int, how many.
          prior: "aux" or "ar1". Ignored by the autoregressive baseline.
          temperature: float > 0, of the decoder's tokens. Latents are drawn from the
            prior itself.
          seed: int.
          first: int, the number of the first sample, to draw many in parts.
          length: int, the most tokens of a sentence, by default `max_length`.
          top_k: int, only the k most probable tokens; 0: all.
          top_p: float in (0, 1], the nucleus; 1: all.

        Returns:
          int32 `[n, length]`; PAD after EOS. A row without EOS was cut.
        """
        if not n >= 1:
            raise ValueError(f"`n` must be at least 1. Received: {n}")
        length = length or self.max_length
        z = None
        if self.encoder is not None:
            z = self.sample_latents(n, prior, 1.0, seed, first, length)
        return self.sample_data(
            z, n, temperature, seed, first, length=length, top_k=top_k, top_p=top_p
        )

    def sample_data(
        self,
        z,
        n,
        temperature=1.0,
        seed=0,
        first=0,
        given=None,
        num_given=0,
        length=None,
        top_k=0,
        top_p=1.0,
    ):
        """x ~ p(x | z), through the decoder's cache.

        Args:
          z: float `[n, L, d]`, or None for the autoregressive baseline.
          n: int.
          temperature: float > 0.
          seed: int.
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
            raise ValueError(
                f"`given` must be [n, {length}], padded. Received: {list(given.shape)}"
            )
        if given is not None:
            token_embedding.check_tokens(given, self.decoder.vocabulary_size)
        if (top_k, top_p) not in self._samplers:

            def draw(*arguments):
                sample = self.decoder.sample_from_uniforms
                return sample(*arguments, top_k=top_k, top_p=top_p)

            self._samplers[top_k, top_p] = backend.compile(draw, self.decoder)
        keys = sample_keys(seed, first, n, _TOKENS)
        # Noise outside: XLA would take longer to compile it than all the rest.
        uniforms = text_decoder.uniforms_of(keys, length)
        temperature = ops.convert_to_tensor(temperature, dtype="float32")
        if given is not None:
            given = ops.cast(given, "int32")
            num_given = ops.zeros((n,), dtype="int32") + num_given
        draw = self._samplers[top_k, top_p]
        return draw(z, uniforms, temperature, given, num_given)

    def reconstruct(self, x, temperature=1.0, seed=0, top_k=0, top_p=1.0):
        """x' ~ p(x | z) with z ~ q(z | x): int32 `[B, L]` for sentences `[B, L]`.

        Behind the end of x the latents go on as the AR(1) prior does.
        """
        z = self.continue_latents(
            self.sample_posterior(x, seed), ops.cast(num_tokens(x), "int32"), seed
        )
        return self.sample_data(
            z, x.shape[0], temperature, seed, top_k=top_k, top_p=top_p
        )

    def get_config(self):
        """The arguments of the constructor, serialized."""
        return {**super().get_config(), "max_length": self.max_length}


def num_tokens(x):
    """How many tokens of each row are no padding: float32 `[B]`."""
    return ops.sum(ops.cast(ops.not_equal(x, places.PAD), "float32"), axis=1)


def sample_keys(seed, first, n, purpose):
    """Keys uint32 `[n, 2]` of the samples from number `first` on, or of those given."""
    numbers = first
    if not len(getattr(first, "shape", ())):
        numbers = ops.arange(first, first + n)
    return noise.fold(noise.fold(noise.make_key(seed), purpose)[None], numbers)
