"""What is an image's in a delta-VAE: bits/dim, and samples with a key each."""

from typing import Any

import numpy as np
from keras import ops

from deltavae_tf import backend, errors, noise, units
from deltavae_tf.backend import Tensor


class ImageData:
    """The methods of `DeltaVAE` that suppose data of one size, such as images."""

    unit, unit_name = "bpd", "bits/dim"

    decoder: Any
    _sample: Any = None  # The decoder's `sample`, once compiled.

    def in_unit(self, nats: Tensor, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Bits per dimension; see `TrainingStep.in_unit`."""
        return units.bits_per_dim(nats, int(np.prod(x.shape[1:]))), mask

    def sample_data(
        self,
        z: Tensor | None,
        n: int,
        temperature: float = 1.0,
        seed: Any = 0,
        first: Any = 0,
        **given: Any,
    ) -> Tensor:
        """x ~ p(x | z) for `n` latents, through the decoder's cache if it has one.

        Args:
          z: float `[n, time steps, d]`, or None for the autoregressive baseline.
          n: int.
          temperature: float > 0.
          seed: int, or key uint32 `[2]`.
          first: int, or ints `[n]`: as `sample`.
          **given: what the decoder's `sample` takes beside, such as `given` and
            `num_given` of `ImageDecoder`.

        Returns:
          As `sample`. (A decoder without a `sample` of its own draws all of them from
          the key of the first, as its distribution does: there, and there alone, what
          one is depends on how many there are.)
        """
        if not temperature > 0:
            raise errors.UserError(
                f"`temperature` must be above 0. Received: {temperature}"
            )
        keys = noise.sample_keys(seed, first, n, noise.Purpose.DATA)
        if not hasattr(self.decoder, "sample"):
            return self.decoder(z, None).sample(seed=backend.sampler_seed(keys[0]))
        if self._sample is None:
            self._sample = backend.compile(self.decoder.sample, self.decoder)
        temperature = ops.convert_to_tensor(temperature, dtype="float32")
        # Within one of several replicas the strategy compiles, or nobody can.
        alone = backend.num_replicas() == 1
        draw = self._sample if alone else self.decoder.sample
        return draw(z, keys, temperature, **given)
