"""Objectives: pure functions of a batch's per-example terms."""

import keras


@keras.saving.register_keras_serializable(package="deltavae_tf")
class ELBO:
    """The negative evidence lower bound, distortion + rate. A delta-VAE needs no more.

    Reference: delta-VAE, section 2.
    """

    def __call__(self, distortion, rate, step):
        """The loss of each example.

        Args:
          distortion: float32 `[B]`, -log p(x | z) for one z ~ q, nats.
          rate: float32 `[B]`, KL(q(z | x) || p(z)), nats.
          step: int32 scalar, training steps so far.

        Returns:
          float32 `[B]`, nats. Lower is better.
        """
        del step
        return distortion + rate

    def get_config(self):
        """The arguments of the constructor."""
        return {}

    @classmethod
    def from_config(cls, config):
        """The inverse of `get_config`."""
        return cls(**config)
