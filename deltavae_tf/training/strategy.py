"""Where training runs: one device, several, several machines, TPU cores.

The only file that names strategies; `make` chooses one. Whatever it is, a batch stays
the global one: each replica takes its part, and the numbers are those of one device.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from deltavae_tf import errors
from deltavae_tf.training import workers


def make(
    use_tpu: bool = False,
    tpu_name: str = "",
    tpu_cores: int | None = None,
    num_gpus: int = 1,
) -> tf.distribute.Strategy:
    """The `tf.distribute` strategy for this machine and command line.

    With `TF_CONFIG` in the environment this process is one of several workers, which
    train together (`MultiWorkerMirroredStrategy`); call it before TensorFlow has done
    anything else, on every worker.

    Args:
      use_tpu: bool, TPUStrategy.
      tpu_name: str, a Cloud TPU's name; "" or "local" for this VM's own.
      tpu_cores: int or None, replicas on the TPU; None takes every core.
      num_gpus: int, replicas of MirroredStrategy; on a machine without GPUs, logical
        CPUs. 1 (or 0) is the default strategy.

    Returns:
      `tf.distribute.Strategy`.

    Raises:
      UserError: the devices asked for are not there, or `TF_CONFIG` makes no sense.
    """
    if use_tpu:
        return _tpu(tpu_name, tpu_cores)
    if os.environ.get("TF_CONFIG", "").strip():
        return _multi_worker(num_gpus)
    if num_gpus <= 1:
        return tf.distribute.get_strategy()
    # Physical ones: to ask for logical devices starts TensorFlow with one CPU.
    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        if len(gpus) < num_gpus:
            raise errors.UserError(
                f"This machine has {len(gpus)} GPUs. Received: worker_gpu={num_gpus}"
            )
        return tf.distribute.MirroredStrategy([f"GPU:{i}" for i in range(num_gpus)])
    return tf.distribute.MirroredStrategy(_logical_cpus(num_gpus))


def _tpu(name, cores):
    try:
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver(
            tpu=name or "local"
        )
        if name not in ("", "local"):
            tf.config.experimental_connect_to_cluster(resolver)
        topology = tf.tpu.experimental.initialize_tpu_system(resolver)
    except (ValueError, RuntimeError, OSError, tf.errors.OpError) as error:
        reason = " ".join(str(error).split())
        raise errors.UserError(
            f"No TPU answers to the name {name or 'local'!r}; docs/tpu.md says what "
            f"has to be installed and set. Received: {reason[:300]}"
        ) from error
    available = topology.num_tasks * topology.num_tpus_per_task
    if cores is None or cores == available:
        return tf.distribute.TPUStrategy(resolver)
    if cores > available:
        raise errors.UserError(
            f"The TPU {name or 'local'!r} has {available} cores. "
            f"Received: tpu_num_shards={cores}"
        )
    assignment = tf.tpu.experimental.DeviceAssignment.build(
        topology, num_replicas=cores
    )
    return tf.distribute.TPUStrategy(
        resolver, experimental_device_assignment=assignment
    )


def _multi_worker(num_gpus):
    """MultiWorkerMirroredStrategy over the workers of TF_CONFIG."""
    workers.check_tf_config(os.environ["TF_CONFIG"])
    gpus = tf.config.list_physical_devices("GPU")
    if num_gpus > 1 and len(gpus) != num_gpus:
        raise errors.UserError(
            "With TF_CONFIG every worker uses all of its GPUs: choose them by "
            "CUDA_VISIBLE_DEVICES, or start more workers. "
            f"Received: worker_gpu={num_gpus}, this worker has {len(gpus)}"
        )
    return tf.distribute.MultiWorkerMirroredStrategy()


def _logical_cpus(count):
    physical = tf.config.list_physical_devices("CPU")[0]
    try:
        tf.config.set_logical_device_configuration(
            physical, [tf.config.LogicalDeviceConfiguration()] * count
        )
    except RuntimeError as error:
        cpus = tf.config.list_logical_devices("CPU")
        if len(cpus) != count:
            raise errors.UserError(
                "TensorFlow has already started with other logical CPUs; make the "
                f"strategy first. Received: {count}, started with {len(cpus)}"
            ) from error
    return [cpu.name for cpu in tf.config.list_logical_devices("CPU")]


def make_deterministic() -> None:
    """The same numbers on every run of the same program on the same machine."""
    tf.config.experimental.enable_op_determinism()
    # Grappler turns `a + b + c` into one AddN, whose order of summation depends on
    # which buffer happens to be free first: the last bit differs between two runs. The
    # rest of it makes no step faster, and took a quarter of the time to the first.
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})


def is_tpu(strategy: tf.distribute.Strategy) -> bool:
    """Whether it is a TPUStrategy: what its replicas run is compiled by XLA anyway."""
    return isinstance(strategy, tf.distribute.TPUStrategy)


def distribute(dataset: tf.data.Dataset, strategy: tf.distribute.Strategy) -> Iterable:
    """The data set as the strategy's replicas take it.

    Args:
      dataset: `tf.data.Dataset` of global batches, dicts of static shapes: the same on
        every worker.
      strategy: `tf.distribute.Strategy`.

    Returns:
      Iterable; of R replicas, replica r receives the r-th part of each batch.
    """
    replicas = strategy.num_replicas_in_sync
    if replicas == 1 and not is_tpu(strategy):
        return dataset
    sizes = {t.shape[0] for t in tf.nest.flatten(dataset.element_spec)}
    size = sizes.pop()
    if sizes or size is None or size % replicas:
        raise errors.UserError(
            "Global batches must divide evenly among the replicas. "
            f"Received: batch_size={size}, {replicas} replicas"
        )

    def pipeline(context):
        """This worker's part of each batch, in pieces for its replicas."""
        part = size // context.num_input_pipelines
        first = part * context.input_pipeline_id

        def split(batch):
            pieces = tf.nest.map_structure(
                lambda x: tf.reshape(
                    x[first : first + part], [-1, size // replicas, *x.shape[1:]]
                ),
                batch,
            )
            return tf.data.Dataset.from_tensor_slices(pieces)

        count = int(dataset.cardinality())
        here = part * replicas // size
        pieces = dataset.flat_map(split)
        if count != tf.data.UNKNOWN_CARDINALITY:  # flat_map forgets it.
            count = count * here if count >= 0 else count
            pieces = pieces.apply(tf.data.experimental.assert_cardinality(count))
        return pieces.prefetch(2 * here)

    return strategy.distribute_datasets_from_function(pipeline)


def over_replicas(
    function: Callable, strategy: tf.distribute.Strategy
) -> Callable[[tf.data.Dataset], Iterator[dict[str, np.ndarray]]]:
    """A function of a data set that runs `function` on every replica's part.

    Args:
      function: batch -> dict of tensors `[B, ...]`.
      strategy: `tf.distribute.Strategy`.

    Returns:
      Callable: data set of global batches -> iterator of dicts of NumPy arrays, whole
      batches again, in order and on every worker.
    """

    @tf.function(autograph=False)
    def on_batch(batch):
        parts = strategy.run(function, args=(batch,))
        if strategy.num_replicas_in_sync == 1:
            return parts
        return tf.nest.map_structure(lambda x: strategy.gather(x, axis=0), parts)

    def run(dataset):
        for batch in distribute(dataset, strategy):
            yield {name: x.numpy() for name, x in on_batch(batch).items()}

    return run


def on_one_replica(
    function: Callable, strategy: tf.distribute.Strategy
) -> Callable[[], Any]:
    """A callable that gives `function()`, computed where the model's weights are.

    On a TPU every core computes it, compiled; elsewhere it is called as it is.

    Args:
      function: callable without arguments, returns a tensor.
      strategy: `tf.distribute.Strategy`.
    """
    if not is_tpu(strategy):
        return function
    compiled = tf.function(lambda: strategy.run(function), autograph=False)
    return lambda: strategy.experimental_local_results(compiled())[0]
