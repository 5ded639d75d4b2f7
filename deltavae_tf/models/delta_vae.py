"""The delta-VAE: encoder, decoder, prior and auxiliary prior under one objective.

This module has its terms. How it trains is in `training_step`, what it draws in
`latent_sampling`, and what is an image's, or a text's, in `image_data` and `text_vae`.
"""

import inspect
import warnings
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
from keras import ops

from deltavae_tf import backend, errors, noise, objectives
from deltavae_tf.backend import Tensor
from deltavae_tf.distributions import latent_prior
from deltavae_tf.models import batch as batches
from deltavae_tf.models import (
    contract,
    decoder_contract,
    image_data,
    keras_methods,
    latent_sampling,
)


@keras.saving.register_keras_serializable(package="deltavae_tf")
class DeltaVAE(
    image_data.ImageData, latent_sampling.LatentSampling, keras_methods.KerasMethods
):
    """A variational autoencoder whose rate cannot fall below delta.

    Called on a batch it gives, for each example, the terms of the one-sample negative
    ELBO. All noise is a function of (`seed`, training step, example index): it does
    not depend on the number of replicas, and every evaluation draws the same.

    Args:
      encoder: layer or model, x -> (loc, scale), each `[B, n, d]`. None for the
        autoregressive baseline, whose rate is 0. If it has `committed_rate(segments)`,
        as `IndependentDeltaEncoder`, its posteriors keep that many nats from the
        prior, which then has to be N(0, I).
      decoder: layer or model, (z, x) -> a `tfd.Distribution` with batch shape `[B]`
        over x. If it takes `keys` (uint32 `[B, 2]`), it gets them in training. If it
        has `sample(z, keys, temperature)`, the model samples through that.
      prior: `LatentPrior` over `[n, d]`, such as `AR1`; or a `tfd.Distribution`, see
        `latent_prior.DistributionPrior`. None with `encoder=None`.
      auxiliary_prior: `LatentPrior` with weights, such as `LSTMPrior`, or None. It is
        trained on stop_gradient(z) and moves neither encoder nor decoder.
      objective: `objectives.Objective`, by default `ELBO()`.
      seed: int, of all noise.
      **kwargs: `name`, `dtype`, ... for `keras.Model`.

    Call arguments:
      batch: dict as the batch contract (`image` or `tokens`, `index`, `mask`), or the
        data alone: then the position in the batch serves as the index.
      training: bool. In training the noise is that of the step to come.

    Returns:
      dict of float32 `[B]`, nats: `distortion` = -log p(x | z), `rate` = KL(q || p),
      `rate_aux` = KL(q || p_aux) given one prefix z (equal to `rate` without an
      auxiliary prior). If the objective asks for it also `rate_channels` `[B, d]`,
      the rate of each channel over all time steps.

    Example:
      >>> prior = AR1(alpha=[0.5, 0.9], num_timesteps=8)
      >>> model = DeltaVAE(
      ...     ImageEncoder(2, 1, 8, 16, initial_scale=prior.optimal_scale()),
      ...     ImageDecoder(1, 8, 16, num_mixtures=2),
      ...     prior,
      ...     LSTMPrior(units=4, latent_channels=2),
      ... )
      >>> images = np.zeros([4, 8, 8, 1], "uint8")
      >>> model.compile("adam")
      >>> history = model.fit(images, batch_size=2, verbose=0)
      >>> bool(np.all(model(images)["rate"] >= model.committed_rate()))
      True
      >>> tuple(model.sample_latents(3, prior="training").shape)
      (3, 8, 2)

    Reference: Razavi et al., "Preventing posterior collapse with delta-VAEs" (2019).
    """

    def __init__(
        self,
        encoder: Any,
        decoder: Any,
        prior: Any,
        auxiliary_prior: Any = None,
        objective: objectives.Objective | None = None,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(objective, **kwargs)
        noise.make_key(seed)  # Its error, now.
        if (encoder is None) != (prior is None):
            raise errors.UserError(
                "`encoder` and `prior` go together: give both, or neither for the "
                f"autoregressive baseline. Received: {encoder}, {prior}"
            )
        contract.check_parts(encoder, decoder, auxiliary_prior)
        self.encoder = encoder
        self.decoder = decoder
        self.prior = latent_prior.as_prior(prior)
        self.auxiliary_prior = auxiliary_prior
        self.seed = seed
        self._decoder_takes_keys = "keys" in inspect.signature(decoder.call).parameters
        self._example: dict[str, Any] | None = None  # For saving.
        if hasattr(encoder, "committed_rate"):
            delta = self.prior.committed_rate(np.ones((1, 3), "int32"))
            if np.any(delta):
                raise errors.UserError(
                    "An encoder that commits a rate itself needs the prior N(0, I), "
                    f"such as AR1 with alpha = 0. Received: {float(np.max(delta))} nats"
                )
        if self.objective.per_channel and not hasattr(self.prior, "kl_of_channels"):
            raise errors.UserError(
                "The objective asks for the rate of each channel: the prior must have "
                f"`kl_of_channels(loc, scale)`, as AR1. Received: {prior}"
            )

    def __call__(self, batch: Any, *args: Any, **kwargs: Any) -> Any:
        """As `keras.Model.__call__`; the first call makes the weights."""
        if self.built:
            return super().__call__(batch, *args, **kwargs)
        before = self._example
        self._example = before or batches.describe(batch)
        with warnings.catch_warnings():
            # Of what the call itself raises when it comes to it.
            warnings.filterwarnings("ignore", "Layer .* looks like it has unbuilt")
            try:
                return super().__call__(batch, *args, **kwargs)
            except Exception:
                self._example, self.built = before, False
                raise

    def call(self, batch: Any, training: bool = False) -> dict[str, Tensor]:
        x, index, _ = batches.unpack(batch)
        root = noise.make_key(self.seed)
        step = self.steps + 1 if training else 0
        keys = noise.fold(noise.fold(root, step)[None], index)
        dropout_keys = noise.fold(keys, noise.Purpose.DROPOUT) if training else None
        terms = self.terms(x, keys, dropout_keys)
        contract.check_terms(self, terms)
        return terms

    def segments(self, x: Tensor) -> Tensor | None:
        """Which sequence each latent belongs to; None where an example is one."""
        del x
        return None

    def terms(
        self, x: Tensor, keys: Tensor | None, dropout_keys: Tensor | None = None
    ) -> dict[str, Tensor]:
        """What `call` returns, with the noise of given keys.

        Args:
          x: data, `[B, ...]`.
          keys: uint32 `[B, 2]`, of the posterior's sample.
          dropout_keys: uint32 `[B, 2]`, or None without dropout.
        """
        if self.encoder is None:
            nothing = ops.zeros(ops.shape(x)[:1], dtype="float32")
            distribution = self._decode(None, x, dropout_keys)
            distortion = -decoder_contract.log_prob(self.decoder, distribution, x)
            return {"distortion": distortion, "rate": nothing, "rate_aux": nothing}

        segments = self.segments(x)
        posterior = self.encode(x).distribution
        loc, scale = posterior.loc, posterior.scale
        eps_keys = noise.fold(keys, noise.Purpose.POSTERIOR)
        z = loc + scale * self.latent_noise(eps_keys, loc.shape[1:])
        distribution = self._decode(z, x, dropout_keys)
        rate = contract.rate(self.prior, loc, scale, z, segments)
        terms = {
            "distortion": -decoder_contract.log_prob(self.decoder, distribution, x),
            "rate": rate,
            "rate_aux": self._auxiliary_rate(loc, scale, z, segments, rate),
        }
        if self.objective.per_channel:
            terms["rate_channels"] = self.prior.kl_of_channels(loc, scale)
        return terms

    def _auxiliary_rate(self, loc, scale, z, segments, rate):
        """sum_t KL(q(z_t | x) || p_aux(z_t | z_<t)) for the sampled prefix, nats."""
        if self.auxiliary_prior is None:
            return rate
        loc, scale, z = (ops.stop_gradient(t) for t in (loc, scale, z))
        return contract.rate(self.auxiliary_prior, loc, scale, z, segments)

    def committed_rate(self, segments: Tensor | None = None) -> float | Tensor:
        """delta, the rate below which no posterior can go: nats per example.

        Args and returns: as `LatentPrior.committed_rate`. It is the encoder's where
        that keeps a rate itself, and otherwise the prior's.
        """
        if self.prior is None:
            return 0.0
        keeps = self.encoder if hasattr(self.encoder, "committed_rate") else self.prior
        return keeps.committed_rate(segments)

    def encode(self, x: Any) -> backend.tfd.Distribution:
        """q(z | x): `tfd.Independent(tfd.Normal)` over `[n, d]`, batch shape `[B]`."""
        if self.encoder is None:
            raise errors.UserError(
                "The autoregressive baseline has no latents to encode to."
            )
        loc, scale = contract.check_posterior(
            self.encoder, self.encoder(x), x, self.prior
        )
        return backend.tfd.Independent(backend.tfd.Normal(loc, scale), 2)

    def decode(self, z: Any, x: Any) -> backend.tfd.Distribution:
        """p(x | z): a distribution of batch shape `[B]`, teacher-forced on x."""
        return self._decode(z, x)

    def _decode(self, z, x, dropout_keys=None):
        if dropout_keys is not None and self._decoder_takes_keys:
            return self.decoder(z, x, keys=dropout_keys)
        return self.decoder(z, x)

    # Saving.

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor, serialized."""
        serialize = keras.saving.serialize_keras_object
        return {
            "encoder": serialize(self.encoder),
            "decoder": serialize(self.decoder),
            "prior": serialize(self.prior),
            "auxiliary_prior": serialize(self.auxiliary_prior),
            "objective": serialize(self.objective),
            "seed": self.seed,
            "name": self.name,
            "dtype": keras.saving.serialize_keras_object(self.dtype_policy),
        }

    def get_build_config(self) -> dict[str, Any] | None:
        """What `build_from_config` needs: an example's shape and dtype."""
        return self._example

    def build_from_config(self, config: Mapping[str, Any] | None) -> None:
        """Creates the weights of a model that is being loaded."""
        if config:
            self.build((None, *config["shape"]), config["dtype"])

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> "DeltaVAE":
        """The inverse of `get_config`."""
        deserialize = keras.saving.deserialize_keras_object
        parts = ["encoder", "decoder", "prior", "auxiliary_prior", "objective", "dtype"]
        return cls(**{**config, **{part: deserialize(config[part]) for part in parts}})
