"""What differs between Keras backends. The only file that asks which one is in use."""

import os
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias

import keras

from deltavae_tf import errors

_PACKAGES = ("tensorflow", "tf_keras", "tensorflow_probability", "jax", "jaxlib")


def _check_name(received):
    if received not in ("tensorflow", "jax"):
        raise errors.MissingPackageError(
            "deltavae_tf runs on the Keras backends 'tensorflow' and 'jax'. "
            f"Received: KERAS_BACKEND={received!r}"
        )


# Before Keras, which imports the backend at once, whichever it is.
_check_name(os.environ.get("KERAS_BACKEND") or "tensorflow")
try:
    import keras
    from keras import ops

    name = keras.backend.backend()
    _check_name(name)
    if name == "jax":
        import jax
        from tensorflow_probability.substrates import jax as tfp
        from tensorflow_probability.substrates.jax import distributions as tfd

        linalg = tfp.tf2jax.linalg
    else:
        import tensorflow as tf
        import tensorflow_probability as tfp
        from tensorflow_probability import distributions as tfd  # noqa: F401

        linalg = tf.linalg
except ModuleNotFoundError as error:
    package = (error.name or "").partition(".")[0]
    if package not in _PACKAGES:
        raise
    on_jax = "jax" in (package, os.environ.get("KERAS_BACKEND"))
    raise errors.MissingPackageError(
        "The backend of Keras is an extra of this package: "
        f'pip install "deltavae-tf[{"jax" if on_jax else "tensorflow"}]". '
        f"Received: {error}"
    ) from None

Tensor: TypeAlias = Any  # Of the backend in use; docstrings say shape and dtype.


def compile(function: Callable, layer: keras.layers.Layer | None = None) -> Callable:
    """Compiles a function of tensors as a whole, by XLA.

    Args:
      function: callable.
      layer: keras.Layer whose weights the function reads; None if it reads none. JAX
        would take weights that it is not told of for constants.
    """
    if name == "jax":
        return _jit(function, layer)
    return tf.function(function, jit_compile=True)


def graph(function: Callable, layer: keras.layers.Layer | None = None) -> Callable:
    """As `compile`, on TensorFlow without XLA (quicker on a CPU)."""
    if name == "jax":
        return _jit(function, layer)
    return tf.function(function, autograph=False)


def _jit(function, layer):
    if layer is None:
        return jax.jit(function)

    @jax.jit
    def pure(values, args, kwargs):
        mapping = list(zip(layer.variables, values, strict=True))
        with keras.StatelessScope(state_mapping=mapping):
            return function(*args, **kwargs)

    def call(*args, **kwargs):
        values = [ops.convert_to_tensor(variable) for variable in layer.variables]
        return pure(values, args, kwargs)

    return call


def sampler_seed(key: Tensor) -> Tensor:
    """A key, uint32 `[2]`, as the seed that TFP's `sample` takes."""
    return key if name == "jax" else tf.bitcast(key, tf.int32)


def make_variables(layer: keras.layers.Layer, *inputs: Any) -> None:
    """Calls a layer once, for its variables alone.

    Args:
      layer: keras.Layer.
      *inputs: arrays.
    """
    if name == "jax":
        # Called as it is, each of its hundreds of operations would be compiled.
        with keras.StatelessScope():
            jax.eval_shape(layer, *inputs)
    else:
        layer(*inputs)


def rematerialize(
    layer: keras.layers.Layer, inputs: Sequence[Tensor], **constants: Tensor
) -> Tensor:
    """`layer(*inputs, **constants)`, computed again in the backward pass.

    What the layer computes inside is not kept in between: memory for time.

    Args:
      layer: built keras.Layer that assigns no variable.
      inputs: list of float tensors.
      **constants: what no gradient goes through, such as keys of noise.

    Reference: Chen et al., "Training deep nets with sublinear memory cost" (2016).
    """

    def pure(values, *inputs):
        mapping = list(zip(layer.variables, values, strict=True))
        with keras.StatelessScope(state_mapping=mapping):
            return layer(*inputs, **constants)

    values = [ops.convert_to_tensor(variable) for variable in layer.variables]
    return keras.remat(pure)(values, *inputs)


def barrier(tensors: Any) -> Any:
    """The same tensors; a compiler does not know that they are (on JAX).

    What is computed from them is computed then and there, and not kept from before.

    Args:
      tensors: structure of tensors.
    """
    return jax.lax.optimization_barrier(tensors) if name == "jax" else tensors


def has_fused_attention() -> bool:
    """Whether `keras.ops.dot_product_attention` keeps no weights in memory here."""
    return name == "jax" and jax.default_backend() == "gpu"


def num_replicas() -> int:
    """How many replicas share a training step; gradients are summed over them."""
    if name == "jax":
        return 1
    return tf.distribute.get_strategy().num_replicas_in_sync


def replica_id() -> int | Tensor:
    """The number of this replica: an int, or an int32 scalar inside a strategy."""
    if name == "jax" or num_replicas() == 1:
        return 0
    context = tf.distribute.get_replica_context()
    return 0 if context is None else context.replica_id_in_sync_group


def sum_over_replicas(x: Tensor) -> Tensor:
    """The sum of a tensor over the replicas of a training step; itself for one."""
    if name == "jax" or num_replicas() == 1:
        return x
    context = tf.distribute.get_replica_context()
    if context is None:  # Outside of `strategy.run` there is one batch, the whole.
        return x
    return context.all_reduce(tf.distribute.ReduceOp.SUM, x)


def value_and_gradients(
    function: Callable,
    variables: Sequence[keras.Variable],
    state: Iterable[keras.Variable] = (),
) -> tuple[Tensor, list[Tensor], Any]:
    """`function()` and its dense gradients, both summed over the replicas of all
    workers.

    Args:
      function: callable, returns a scalar, this replica's share of the loss, and
        whatever else is wanted of it: a structure of tensors.
      variables: list of keras.Variable.
      state: list of all other keras.Variable that the function reads or assigns.

    Returns:
      Scalar, list of tensors, the structure.
    """
    if name == "jax":
        return _value_and_gradients_on_jax(function, variables, list(state))
    if tf.inside_function():
        # Pairwise sums: the order in which TensorFlow's AddN adds up three gradients
        # or more depends on which of their buffers is free first.
        value, others = function()
        gradients = tf.gradients(
            value,
            [v.value for v in variables],
            aggregation_method=tf.AggregationMethod.EXPERIMENTAL_TREE,
        )
    else:
        with tf.GradientTape() as tape:
            value, others = function()
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
    return value, gradients, others


def _value_and_gradients_on_jax(function, variables, state):
    def pure(values, state_values):
        mapping = list(zip([*variables, *state], [*values, *state_values], strict=True))
        with keras.StatelessScope(state_mapping=mapping) as scope:
            value, others = function()
        return value, (others, [scope.get_current_value(v) for v in state])

    values, before = (
        [ops.convert_to_tensor(v) for v in part] for part in (variables, state)
    )
    found, gradients = jax.value_and_grad(pure, has_aux=True)(values, before)
    value, (others, after) = found
    for variable, new in zip(state, after, strict=True):
        variable.assign(new)
    return value, gradients, others
