"""What differs between Keras backends. The only file that asks which one is in use."""

import keras

name = keras.backend.backend()

if name == "tensorflow":
    import tensorflow as tf
    import tensorflow_probability as tfp

    linalg = tf.linalg
elif name == "jax":
    from tensorflow_probability.substrates import jax as tfp

    linalg = tfp.tf2jax.linalg
else:
    raise ImportError(
        "deltavae_tf runs on the Keras backends 'tensorflow' and 'jax'. "
        f"Received: KERAS_BACKEND={name!r}"
    )

tfd = tfp.distributions
