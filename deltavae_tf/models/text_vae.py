"""The delta-VAE of sentences: rows of tokens, any length, one AR(1) chain each."""

from typing import Any

import keras
from keras import ops

from deltavae_tf import errors, objectives
from deltavae_tf import segments as places
from deltavae_tf.backend import Tensor
from deltavae_tf.models import delta_vae, text_sampling


@keras.saving.register_keras_serializable(package="deltavae_tf")
class TextVAE(text_sampling.TextSampling, delta_vae.DeltaVAE):
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
      training: bool. In training the noise is that of the step to come.

    Returns:
      dict of float32 `[B]`, nats: `distortion`, `rate`, `rate_aux` as `DeltaVAE`, and
      `committed_rate`, the sum over the row's sentences of n tokens of delta(n).

    Example:
      >>> model = TextVAE(
      ...     TextEncoder(20, 2, 1, 8, 16, num_heads=2, alpha=[0.2, 0.4]),
      ...     TextDecoder(20, 1, 8, 16, num_heads=2),
      ...     SegmentedAR1([0.2, 0.4]),
      ...     LSTMPrior(units=4, latent_channels=2),
      ...     max_length=6,
      ... )
      >>> tokens = np.array([[5, 6, 1, 7, 1, 0], [8, 9, 4, 3, 2, 1]], "int32")
      >>> terms = model(tokens)
      >>> bool(np.all(terms["rate"] >= terms["committed_rate"]))
      True
      >>> tuple(model.sample_latents(3, prior="training").shape)
      (3, 6, 2)

    Reference: delta-VAE, section 4.4 and appendix E.2.
    """

    unit, unit_name = "per_token", "nats/token"
    per_unit = (*delta_vae.DeltaVAE.per_unit, "distortion", "committed_rate")
    also_in_nats = ("committed_rate",)
    sample_data: Any  # `TextSampling`'s, whose settings are not those of images.

    def __init__(
        self,
        encoder: Any,
        decoder: Any,
        prior: Any,
        auxiliary_prior: Any = None,
        objective: objectives.Objective | None = None,
        seed: int = 0,
        max_length: int = 128,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            encoder, decoder, prior, auxiliary_prior, objective, seed, **kwargs
        )
        self.max_length = max_length
        self._samplers: dict[tuple[int, float], Any] = {}

    def segments(self, x: Tensor) -> Tensor:
        """The sentence of each token: int32 `[B, L]`, 0 for PAD."""
        return places.segment_ids(x)

    def terms(
        self, x: Tensor, keys: Tensor | None, dropout_keys: Tensor | None = None
    ) -> dict[str, Tensor]:
        """As `DeltaVAE.terms`, and `committed_rate` of each row."""
        terms = super().terms(x, keys, dropout_keys)
        return {**terms, "committed_rate": self.committed_rate(self.segments(x))}

    def auxiliary_rates(
        self, loc: Tensor, scale: Tensor, z: Tensor, segments: Tensor
    ) -> Tensor:
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
        return self.auxiliary_prior.rate_of_steps(loc, scale, z, segments)

    def committed_rate(self, segments: Tensor | None = None) -> Tensor:
        """delta of each row, the rate below which no posterior can go.

        Args:
          segments: int32 `[B, L]`, as `segments(tokens)` gives them; a sentence's delta
            depends on its length.

        Returns:
          float32 `[B]`, nats.
        """
        if segments is None:
            raise errors.UserError(
                "Sentences commit to a rate by their length: give `segments`, as "
                "`segments(tokens)` of this model. Received: None"
            )
        if self.prior is None:
            return ops.zeros(ops.shape(segments)[:1], dtype="float32")
        return super().committed_rate(segments)

    def in_unit(self, nats: Tensor, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Nats per token; see `TrainingStep.in_unit`."""
        # The ratio of sums: weighted by tokens, the mean of each row's ratio.
        tokens = places.num_tokens(x)
        return nats / ops.maximum(tokens, 1.0), tokens * mask

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor, serialized."""
        return {**super().get_config(), "max_length": self.max_length}
