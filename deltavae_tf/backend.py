"""What differs between Keras backends. The only file that asks which one is in use."""

import contextlib
import functools
import os
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias

import numpy as np

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
    return tf.function(function, jit_compile=True, autograph=False)


def graph(function: Callable, layer: keras.layers.Layer | None = None) -> Callable:
    """As `compile`, on TensorFlow without XLA (quicker on a CPU)."""
    if name == "jax":
        return _jit(function, layer)
    return tf.function(function, autograph=False)


def traced_once(function: Callable, *dtypes: str) -> Callable:
    """A function of tensors of any shapes; its graph is made once and called by others.

    Without it each call adds all of its operations to the graph that calls it. It may
    read no variable, and no gradient goes through it.

    Args:
      function: callable of tensors, returns a structure of tensors.
      *dtypes: str, of each argument.
    """
    if name == "jax":
        return function
    signature = [tf.TensorSpec(None, dtype) for dtype in dtypes]
    # Nor are its operations put in at each call when a program is started.
    attributes = {"_noinline": True}
    return tf.function(
        function,
        input_signature=signature,
        autograph=False,
        experimental_attributes=attributes,
    )


def with_broadcast_shape(x: Tensor, parts: Sequence[Tensor]) -> Tensor:
    """`x`, whose shape is known now to be that to which the parts broadcast."""
    if name == "tensorflow":
        shapes = [tf.TensorShape(part.shape) for part in parts]
        x.set_shape(functools.reduce(tf.broadcast_static_shape, shapes))
    return x


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


def keep_compiled(folder: str) -> None:
    """Lets later processes take what this one compiles: on JAX, into `folder`.

    JAX's own settings come first: `JAX_COMPILATION_CACHE_DIR` names another folder, and
    `JAX_ENABLE_COMPILATION_CACHE=false` keeps nothing.
    """
    if name == "jax" and jax.config.jax_compilation_cache_dir is None:
        jax.config.update("jax_compilation_cache_dir", folder)


def accelerators() -> list[str]:
    """The names of the GPUs and TPUs that this process sees; of two alike, both."""
    if name == "jax":
        return [d.device_kind for d in jax.local_devices() if d.platform != "cpu"]
    found = []
    for kind in ("GPU", "TPU"):
        for device in tf.config.list_physical_devices(kind):
            details = tf.config.experimental.get_device_details(device)
            found.append(details.get("device_name", kind))
    return found


def sampler_seed(key: Tensor) -> Tensor:
    """A key, uint32 `[2]`, as the seed that TFP's `sample` takes."""
    return key if name == "jax" else tf.bitcast(key, tf.int32)


def concrete(x: Any) -> np.ndarray | None:
    """A tensor's values, NumPy; None while a graph is made, where there are none."""
    if isinstance(x, keras.KerasTensor):
        return None
    try:
        return np.asarray(x)
    except (NotImplementedError, TypeError, ValueError):
        return None


def make_variables(layer: keras.layers.Layer, *inputs: Any) -> bool:
    """Calls a layer once, for its variables alone.

    Args:
      layer: keras.Layer.
      *inputs: arrays.

    Returns:
      Whether layers added losses, on JAX; on TensorFlow `layer.losses` has them.
    """
    if name == "jax":
        # Called as it is, each of its hundreds of operations would be compiled.
        with keras.StatelessScope(collect_losses=True) as scope:
            jax.eval_shape(layer, *inputs)
        return bool(scope.losses)
    layer(*inputs)
    return False


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


def custom_gradient(function: Callable) -> Callable:
    """`keras.ops.custom_gradient`, whose arguments may be variables.

    Args:
      function: callable of tensors, returns a tensor and the function of the gradient
        of that tensor which returns those of the arguments.
    """
    derived = ops.custom_gradient(function)
    if name == "jax":
        return derived
    # TensorFlow wants to be told of each variable that is read within.
    return lambda *args: derived(*(tf.convert_to_tensor(x) for x in args))


def barrier(tensors: Any) -> Any:
    """The same tensors, when all are there; a compiler does not know that they are.

    What is computed from them is computed then and there, and not kept from before:
    TensorFlow too finds what is computed twice in a graph.

    Args:
      tensors: structure of tensors.
    """
    if name == "jax":
        return jax.lax.optimization_barrier(tensors)
    with tf.control_dependencies(tf.nest.flatten(tensors)):
        return tf.nest.map_structure(tf.identity, tensors)


def has_fused_attention() -> bool:
    """Whether `keras.ops.dot_product_attention` keeps no weights in memory here."""
    return name == "jax" and jax.default_backend() == "gpu"


@functools.cache
def has_narrow_softmax() -> bool:
    """Whether `keras.ops.softmax` of bfloat16 is that of float32, rounded once.

    TensorFlow's is on a processor with oneDNN; it is tried out, once. Else exponentials
    and their sum would be rounded too.
    """
    if name == "jax" or accelerators():
        return False
    logits = np.random.default_rng(0).normal(size=(1, 4096))
    with tf.init_scope():
        narrow = tf.cast(logits, tf.bfloat16)
        exact = tf.nn.softmax(tf.cast(narrow, tf.float32)).numpy()
        try:
            found = tf.cast(tf.nn.softmax(narrow), tf.float32).numpy()
        except tf.errors.OpError:  # oneDNN's needs AVX-512.
            return False
    # Half of bfloat16's last place, and a little for another order of sums.
    return bool(np.all(np.abs(found - exact) <= 2.0**-8 * 1.01 * exact))


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


def replicas_of(model: keras.Model) -> int:
    """How many replicas a keras.Model trains on."""
    strategy = getattr(model, "distribute_strategy", None)
    return strategy.num_replicas_in_sync if strategy else 1


def scope_of(model: keras.Model) -> Any:
    """Context in which a keras.Model's variables are made."""
    strategy = getattr(model, "_distribute_strategy", None)
    return strategy.scope() if strategy else contextlib.nullcontext()


def shared_batch(model: keras.Model, batch: Any) -> Any:
    """An iterator of one batch, shared out to the replicas of a model."""
    data = tf.data.Dataset.from_tensors(batch)
    return iter(model.distribute_strategy.experimental_distribute_dataset(data))


def first_replica(x: Any) -> Any:
    """What the first replica has of a value; the value itself, if it is not shared."""
    return x.values[0] if is_shared(x) else x


def is_shared(x: Any) -> bool:
    """Whether each replica has a value of its own; always False on JAX."""
    return name == "tensorflow" and isinstance(x, tf.distribute.DistributedValues)


def is_dataset(x: Any) -> bool:
    """Whether it is a `tf.data.Dataset`."""
    return name == "tensorflow" and isinstance(x, tf.data.Dataset)


def map_checked(dataset: Any, check: Callable[[Any], None]) -> Any:
    """The same `tf.data.Dataset`; each batch is looked at on its way.

    Args:
      dataset: `tf.data.Dataset`.
      check: function of a batch with NumPy arrays, that raises.
    """
    spec = dataset.element_spec

    def look(*leaves):
        check(tf.nest.pack_sequence_as(spec, leaves))
        return np.bool_(True)

    def pass_on(*batch):
        batch = batch if isinstance(spec, tuple) else batch[0]
        seen = tf.numpy_function(look, tf.nest.flatten(batch), tf.bool)
        with tf.control_dependencies([seen]):
            return tf.nest.map_structure(tf.identity, batch)

    # Behind the step's back: it does not wait.
    return dataset.map(pass_on).prefetch(1)


def after(tensors: Any) -> Any:
    """Context: what a graph of TensorFlow does in it waits for these tensors.

    Without it counters move on although the batch that comes with them never does.
    """
    if name == "jax" or not tf.inside_function():
        return contextlib.nullcontext()
    leaves = [x for x in tf.nest.flatten(tensors) if tf.is_tensor(x)]
    return tf.control_dependencies(leaves)


def apply_gradients(
    optimizer: Any, gradients: list[Tensor], variables: list[keras.Variable]
) -> None:
    """A step of a keras optimizer."""
    scales = isinstance(optimizer, keras.optimizers.LossScaleOptimizer)
    if not (name == "jax" and scales):
        optimizer.apply(gradients, variables)
        return
    # Its `apply` assigns variables in the branches of a condition.
    values, own = (
        [ops.convert_to_tensor(v) for v in part]
        for part in (variables, optimizer.variables)
    )
    after = optimizer.stateless_apply(own, gradients, values)
    for part, news in zip((variables, optimizer.variables), after, strict=True):
        for variable, new in zip(part, news, strict=True):
            variable.assign(new)


def has_fused_adam() -> bool:
    """Whether there is `fused_adam`."""
    return name == "tensorflow"


def fused_adam(
    gradient: Tensor,
    variable: Any,
    moments: Sequence[keras.Variable],
    step_size: Tensor,
    beta_1: Tensor,
    beta_2: Tensor,
    epsilon: Tensor,
) -> None:
    """Adam's update of a variable and its moments: one operation, on TensorFlow.

    Args:
      gradient: dense float tensor.
      variable: the backend's own variable.
      moments: the first and the second.
      step_size: float scalar, corrected for moments that started at 0.
      beta_1: float scalar, as all that follow.
    """
    settings = {"lr": step_size, "beta1": beta_1, "beta2": beta_2, "epsilon": epsilon}
    nothing = tf.zeros_like(step_size)  # Is corrected already.
    settings |= {"beta1_power": nothing, "beta2_power": nothing}
    tf.raw_ops.ResourceApplyAdam(
        var=variable.handle,
        m=moments[0].value.handle,
        v=moments[1].value.handle,
        grad=_as(gradient, variable.dtype),
        **{key: _as(value, variable.dtype) for key, value in settings.items()},
    )


def _as(x, dtype):
    return x if x.dtype == dtype else tf.cast(x, dtype)


def move_towards(variable: keras.Variable, target: Tensor, share: Tensor) -> None:
    """variable += share * (target - variable), in few operations.

    Args:
      variable: keras.Variable.
      target: tensor like it, of its dtype.
      share: scalar of its dtype.
    """
    before = ops.convert_to_tensor(variable)
    change = share * (target - before)
    # One that replicas share may be moved from outside, where nothing else tells.
    if name == "tensorflow" and not is_shared(variable.value):
        tf.raw_ops.AssignAddVariableOp(resource=variable.handle, value=change)
    else:
        variable.assign(before + change)


@contextlib.contextmanager
def kept(variables: Iterable[keras.Variable]) -> Any:
    """Context that gives variables their values back if it fails, on JAX.

    Keras takes them away before its first step, and a step that it cannot make at all
    would leave the model without.
    """
    before = [(v, v.value) for v in variables] if name == "jax" else []
    try:
        yield
    except Exception:
        for variable, value in before:
            if variable._value is None:
                variable.assign(value)
        raise


def separate(variables: Iterable[keras.Variable]) -> None:
    """Gives variables arrays of their own, on JAX, where a step donates them.

    Keras lets weights and their average share arrays when `fit` ends.
    """
    if name == "jax":
        for variable in variables:
            variable.assign(jax.numpy.copy(variable.value))


def examples_before(size: Any) -> Any:
    """How many examples the replicas before this one have: 0 for the first.

    Args:
      size: int or int32 scalar, this replica's.
    """
    if name == "jax" or num_replicas() == 1:
        return 0
    if tf.distribute.get_replica_context() is None:
        return 0  # Outside of `strategy.run` there is one batch, the whole.
    number = replica_id()
    places = tf.range(num_replicas())
    sizes = sum_over_replicas(tf.where(places == number, size, 0))
    return tf.reduce_sum(tf.where(places < number, sizes, 0))


def norm(tensors: Sequence[Tensor]) -> Tensor:
    """The Euclidean norm of tensors taken together, float32 scalar."""
    if name == "jax":
        return ops.sqrt(sum(ops.sum(ops.square(x)) for x in tensors))
    halves = tf.stack([tf.cast(tf.nn.l2_loss(x), tf.float32) for x in tensors])
    return tf.sqrt(2.0 * tf.reduce_sum(halves))


def sum_over_replicas(x: Any) -> Any:
    """The sums of tensors over the replicas of a training step; themselves for one.

    Args:
      x: tensor, or list of them.
    """
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
        raise errors.UserError(
            "Each weight that trains must matter to the loss: use these layers, or set "
            f"their `trainable` to False. Received: no gradient for {missing[:5]}"
        )
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
        with keras.StatelessScope(mapping, collect_losses=True) as scope:
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


def stateless_step(
    function: Callable[[Any], Any],
    parts: Sequence[Sequence[keras.Variable]],
    state: Any,
    data: Any,
) -> tuple[Any, Any]:
    """A step as Keras's `fit` takes it on JAX: a function of state and data alone.

    Args:
      function: callable (data) -> logs, that assigns variables.
      parts: list of lists of keras.Variable, of which `state` has the values.
      state: tuple of lists of arrays.
      data: what the function takes.

    Returns:
      logs, the state after it.
    """
    variables = [variable for part in parts for variable in part]
    values = [value for part in state for value in part]
    mapping = list(zip(variables, values, strict=True))
    with keras.StatelessScope(mapping, collect_losses=True) as scope:
        logs = function(data)
    after = [[scope.get_current_value(v) for v in part] for part in parts]
    return logs, tuple(after)
