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


def compile(function):
    """Compiles a function of tensors as a whole, by XLA."""
    if name == "jax":
        import jax

        return jax.jit(function)
    return tf.function(function, jit_compile=True)


def graph(function):
    """Compiles a function of tensors, on TensorFlow without XLA (quicker on a CPU)."""
    if name == "jax":
        return compile(function)
    return tf.function(function, autograph=False)


def num_replicas():
    """How many replicas share a training step; gradients are summed over them."""
    if name == "jax":
        return 1
    return tf.distribute.get_strategy().num_replicas_in_sync


def replica_id():
    """The number of this replica: an int, or an int32 scalar inside a strategy."""
    if name == "jax" or num_replicas() == 1:
        return 0
    context = tf.distribute.get_replica_context()
    return 0 if context is None else context.replica_id_in_sync_group


def sum_over_replicas(x):
    """The sum of a tensor over the replicas of a training step; itself for one."""
    if name == "jax" or num_replicas() == 1:
        return x
    context = tf.distribute.get_replica_context()
    if context is None:  # Outside of `strategy.run` there is one batch, the whole.
        return x
    return context.all_reduce(tf.distribute.ReduceOp.SUM, x)


def value_and_gradients(function, variables):
    """`function()` and its dense gradients, both summed over the replicas of all
    workers. TensorFlow only.

    Args:
      function: callable, returns a scalar, this replica's share of the loss.
      variables: list of keras.Variable.

    Returns:
      Scalar, list of tensors.
    """
    if tf.inside_function():
        # Pairwise sums: the order in which TensorFlow's AddN adds up three gradients
        # or more depends on which of their buffers is free first.
        value = function()
        gradients = tf.gradients(
            value,
            [v.value for v in variables],
            aggregation_method=tf.AggregationMethod.EXPERIMENTAL_TREE,
        )
    else:
        with tf.GradientTape() as tape:
            value = function()
        gradients = tape.gradient(value, [v.value for v in variables])
    missing = [v.path for v, g in zip(variables, gradients, strict=True) if g is None]
    if missing:
        raise ValueError(f"No gradient reaches {len(missing)} variables: {missing[:5]}")
    # Keras squares the duplicates of sparse gradients one by one; see CONTRIBUTING.md.
    gradients = [tf.convert_to_tensor(g) for g in gradients]
    if num_replicas() > 1:
        context = tf.distribute.get_replica_context()
        value, *gradients = context.all_reduce(
            tf.distribute.ReduceOp.SUM, [value, *gradients]
        )
    return value, gradients
