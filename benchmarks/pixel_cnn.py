"""The peer: `tfd.PixelCNN` (PixelCNN++ in Keras 2), used as its documentation does."""

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp
import tf_keras  # noqa: TID251  Only here: it is what the peer is written in.


class PixelCNN:
    """`tfd.PixelCNN` with a number of filters, its sampler and its training step.

    Everything but the number of filters is the peer's default; `network` may hold less
    for tests. Weights of the peer's masked windows count as parameters although its
    constraint keeps them at 0: `num_unmasked` leaves them out.

    Args:
      image_shape: (H, W, C).
      num_filters: int.
      learning_rate: float, of Adam.
      seed: int, of the weights.
      **network: other arguments of `tfd.PixelCNN`.
    """

    def __init__(self, image_shape, num_filters, learning_rate=1e-3, seed=0, **network):
        tf_keras.utils.set_random_seed(seed)
        self.num_filters = num_filters
        self._distribution = tfp.distributions.PixelCNN(
            image_shape, num_filters=num_filters, **network
        )
        self._variables = self._distribution.network.trainable_variables
        self.optimizer = tf_keras.optimizers.Adam(learning_rate)
        self._train_step = tf.function(self._step, autograph=False)
        self._log_prob = tf.function(self._distribution.log_prob, autograph=False)

    @property
    def num_parameters(self):
        """Trainable parameters, an int."""
        return sum(int(np.prod(v.shape)) for v in self._variables)

    @property
    def num_unmasked(self):
        """Trainable parameters that the causal masks let act."""
        count = 0
        for v in self._variables:
            mask = np.ones(v.shape, np.float32)
            if v.constraint is not None:
                mask = np.asarray(v.constraint(tf.convert_to_tensor(mask)))
            count += int(np.count_nonzero(mask))
        return count

    def initialize(self, images):
        """The data-dependent start of its weight normalization."""
        self._distribution.log_prob(tf.cast(images, tf.float32), training=True)

    def train_step(self, images):
        """One step of Adam on the mean of -log p: that mean, in nats."""
        return self._train_step(tf.cast(images, tf.float32))

    def _step(self, images):
        with tf.GradientTape() as tape:
            loss = -tf.reduce_mean(self._distribution.log_prob(images, training=True))
        gradients = tape.gradient(loss, self._variables)
        self.optimizer.apply_gradients(zip(gradients, self._variables, strict=True))
        return loss

    def log_prob(self, images):
        """log p of uint8 `[B, H, W, C]`: float32 `[B]`, nats, without dropout."""
        return self._log_prob(tf.cast(images, tf.float32), training=False).numpy()

    def sampler(self, batch_size, jit_compile=False):
        """A compiled function that samples `[batch_size, H, W, C]`."""
        sample = tf.function(
            lambda: self._distribution.sample(batch_size, seed=0),
            jit_compile=jit_compile,
            autograph=False,
        )
        return lambda: sample().numpy()

    def forward(self, images, jit_compile=False):
        """A compiled function: one pass of the network, what a pixel costs it."""
        network = tf.function(
            self._distribution.network, jit_compile=jit_compile, autograph=False
        )
        scaled = tf.cast(images, tf.float32) / 127.5 - 1.0
        return lambda: network(scaled, training=False)[0].numpy()


def filters_for(num_parameters, image_shape, unmasked=False, **network):
    """The number of filters whose `tfd.PixelCNN` comes closest to a size.

    Args:
      num_parameters: int.
      image_shape: (H, W, C).
      unmasked: bool, whether those parameters alone count that its masks let act.
      **network: other arguments of `tfd.PixelCNN`.
    """
    # The count is a polynomial of degree 2 in the number of filters.
    tried = [4, 8, 16]
    peers = [PixelCNN(image_shape, f, **network) for f in tried]
    counts = [p.num_unmasked if unmasked else p.num_parameters for p in peers]
    square, linear, constant = np.polyfit(tried, counts, 2)
    root = np.roots([square, linear, constant - num_parameters]).max()
    return max(1, int(np.real(root).round()))
