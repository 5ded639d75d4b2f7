"""Where training runs. The only file that names TPUStrategy."""

import tensorflow as tf


def make(use_tpu=False, tpu_name="", num_gpus=1):
    """The `tf.distribute` strategy for this machine.

    Args:
      use_tpu: bool, TPUStrategy over all cores.
      tpu_name: str, a Cloud TPU's name; "" or "local" for this VM's own.
      num_gpus: int, replicas of MirroredStrategy; on a machine without GPUs, logical
        CPUs. 1 (or 0) is the default strategy.

    Returns:
      `tf.distribute.Strategy`.
    """
    if use_tpu:
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver(
            tpu=tpu_name or "local"
        )
        if tpu_name not in ("", "local"):
            tf.config.experimental_connect_to_cluster(resolver)
        tf.tpu.experimental.initialize_tpu_system(resolver)
        return tf.distribute.TPUStrategy(resolver)
    if num_gpus <= 1:
        return tf.distribute.get_strategy()
    # Physical ones: to ask for logical devices starts TensorFlow with one CPU.
    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        if len(gpus) < num_gpus:
            raise ValueError(
                f"This machine has {len(gpus)} GPUs. Received: worker_gpu={num_gpus}"
            )
        return tf.distribute.MirroredStrategy([f"GPU:{i}" for i in range(num_gpus)])
    return tf.distribute.MirroredStrategy(_logical_cpus(num_gpus))


def _logical_cpus(count):
    physical = tf.config.list_physical_devices("CPU")[0]
    try:
        tf.config.set_logical_device_configuration(
            physical, [tf.config.LogicalDeviceConfiguration()] * count
        )
    except RuntimeError as error:
        cpus = tf.config.list_logical_devices("CPU")
        if len(cpus) != count:
            raise ValueError(
                "TensorFlow has already started with other logical CPUs; make the "
                f"strategy first. Received: {count}, started with {len(cpus)}"
            ) from error
    return [cpu.name for cpu in tf.config.list_logical_devices("CPU")]


def make_deterministic():
    """The same numbers on every run of the same program on the same machine."""
    tf.config.experimental.enable_op_determinism()
    # It turns `a + b + c` into one AddN, whose order of summation depends on which
    # buffer happens to be free first: the last bit differs between two runs.
    tf.config.optimizer.set_experimental_options({"arithmetic_optimization": False})


def distribute(dataset, strategy):
    """The data set as the strategy's replicas take it; batches stay global."""
    if strategy.num_replicas_in_sync == 1:
        return dataset
    return strategy.experimental_distribute_dataset(dataset)
