"""What is an image's in a delta-VAE: bits/dim, and samples with a key each."""

from typing import Any

import numpy as np
from keras import ops

from deltavae_tf import backend, errors, noise, units
from deltavae_tf.backend import Tensor
from deltavae_tf.models import decoder_contract


class ImageData:
    """The methods of `DeltaVAE` that suppose data of one size, such as images."""

    unit, unit_name = "bpd", "bits/dim"

    decoder: Any
    check_built: Any
    _sample: Any = None  # The decoder's `sample`, once compiled.
    _draw: Any = None  # Of a decoder that has none: one sample of its distribution.

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
          As `sample`.
        """
        if not temperature > 0:
            raise errors.UserError(
                f"`temperature` must be above 0. Received: {temperature}"
            )
        self.check_built("sample")
        keys = noise.sample_keys(seed, first, n, noise.Purpose.DATA)
        if not hasattr(self.decoder, "sample"):
            return self._draw_each(z, keys, temperature, given)
        if self._sample is None:
            self._sample = backend.compile(self.decoder.sample, self.decoder)
        temperature = ops.convert_to_tensor(temperature, dtype="float32")
        # Within one of several replicas the strategy compiles, or nobody can.
        alone = backend.num_replicas() == 1
        draw = self._sample if alone else self.decoder.sample
        return draw(z, keys, temperature, **given)

    def _draw_each(self, z, keys, temperature, given):
        """One sample after the other, each from its own key: i does not depend on n."""
        if temperature != 1 or given:
            raise errors.UserError(
                "Only a decoder with `sample(z, keys, temperature)` can take a "
                "temperature or complete what is given. Received: temperature="
                f"{temperature}{''.join(f', {name}' for name in given)}"
            )
        if self._draw is None:
            self._draw = backend.graph(self._draw_one, self.decoder)
        rows = range(keys.shape[0])
        each = [self._draw(None if z is None else z[i : i + 1], keys[i]) for i in rows]
        return ops.concatenate(each)

    def _draw_one(self, z, key):
        distribution = decoder_contract.distribution_without_data(self.decoder, z)
        return distribution.sample(seed=backend.sampler_seed(key))
