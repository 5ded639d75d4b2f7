"""The importance-weighted bound: tighter than the ELBO, with K samples of z."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from keras import ops

from deltavae_tf import backend, noise
from deltavae_tf.errors import UserError


class ImportanceWeights:
    """Log weights ln p(x, z_k) - ln q(z_k | x) of samples z_k ~ q(z | x).

    Args:
      model: `DeltaVAE` with an encoder.
      prior: "training" or "auxiliary", which p(z).
    """

    def __init__(self, model: Any, prior: str = "auxiliary") -> None:
        if model.encoder is None:
            raise UserError(
                "A decoder alone has no latents: its likelihood is exact. Received: a "
                "model without an encoder"
            )
        self._model = model
        self._prior = model.chosen_prior(prior)
        self._weights_of = backend.graph(self._weights, model)

    def _weights(self, x, index, k):
        model = self._model
        q = model.encode(x)
        loc, scale = q.distribution.loc, q.distribution.scale
        key = noise.fold(
            noise.fold(noise.make_key(model.seed), noise.Purpose.IMPORTANCE), k
        )
        eps = noise.normal(noise.fold(key[None], index), loc.shape[1:])
        z = loc + scale * eps
        log_likelihood = ops.cast(model.decode(z, x).log_prob(x), "float32")
        return log_likelihood + self._prior.log_prob(z) - q.log_prob(z)

    def __call__(self, batches: Iterable[dict], num_samples: int) -> np.ndarray:
        """The log weights of every example.

        Args:
          batches: iterable of batches; examples with mask 0 are left out.
          num_samples: int, K.

        Returns:
          float64 `[N, K]`, nats.
        """
        parts = []
        for batch in batches:
            real = ops.convert_to_numpy(batch["mask"]) > 0
            columns = [
                ops.convert_to_numpy(
                    self._weights_of(
                        batch["image"], batch["index"], ops.convert_to_tensor(k)
                    )
                )[real]
                for k in range(num_samples)
            ]
            parts.append(np.stack(columns, axis=1).astype("float64"))
        if not parts:
            raise UserError(
                "The evaluation data is empty: give one example or more. Received: none"
            )
        return np.concatenate(parts)


def bounds(log_weights: np.ndarray) -> dict[int, np.ndarray]:
    """The bounds with 1, 2, 4, ..., K samples, from the same log weights.

    That with k samples averages over the K / k groups of k: so it never rises with k,
    which for one group each holds in expectation only.

    Args:
      log_weights: `[N, K]`, nats, K a power of two.

    Returns:
      dict from k to float64 `[N]`: upper bounds on -ln p(x), nats.

    Reference: Burda et al., "Importance weighted autoencoders" (2016), equation 8.
    """
    log_weights = np.asarray(log_weights, np.float64)
    count, num_samples = log_weights.shape
    if num_samples < 1 or num_samples & (num_samples - 1):
        raise UserError(f"K must be a power of two. Received: {num_samples}")
    found, k = {}, 1
    while k <= num_samples:
        groups = log_weights.reshape(count, num_samples // k, k)
        highest = groups.max(axis=2, keepdims=True)
        log_mean = np.log(np.exp(groups - highest).mean(axis=2)) + highest[..., 0]
        found[k] = -log_mean.mean(axis=1)
        k *= 2
    return found
