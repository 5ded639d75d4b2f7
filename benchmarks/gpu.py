r"""Times training steps and sampling on one accelerator, under JAX and no TensorFlow.

  KERAS_BACKEND=jax python -m benchmarks.gpu --hparams_set=cifar10_ablation \
      --hparams=dtype=mixed_bfloat16,batch_size=64 --steps=50 --sample=64,256

Prints one JSON object: milliseconds a step (median over calls), images a second, the
share of the peak that products and convolutions reach (model FLOPs utilization: their
operations, counted by `experiments.plan` into results/gpu_floor.json, over time and
over the matrix rate measured here first), and images sampled a second. Images are
random: times do not depend on them. --profile names a folder for JAX's profiler.

--lower=cuda lowers the step for that platform instead, and prints how many bytes the
forward pass keeps for the backward pass: what cannot be lowered, or will not fit, is
known before a machine is paid for. It needs no accelerator.
"""

import argparse
import json
import pathlib
import time

import jax
import keras
import numpy as np
from jax import numpy as jnp

from benchmarks import timing
from data.images import resident, splits
from deltavae_tf.training import averaging, jax_engine
from experiments import build, sets

FLOOR = pathlib.Path(__file__).parent / "results" / "gpu_floor.json"
_SPLIT_SIZE = 4096


def matrix_rate(size):
    """Operations a second of a bfloat16 product of random `[size, size]` matrices."""
    a, b = jax.random.normal(jax.random.key(0), (2, size, size), jnp.bfloat16)
    product = jax.jit(jnp.matmul)
    return (
        2
        * size**3
        / timing.median(lambda: product(a, b).block_until_ready(), 10, warm_up=2)
    )


def copy_rate(size):
    """Bytes a second, read and written, of negating `size` float32 numbers."""
    x = jax.random.normal(jax.random.key(0), (size,), jnp.float32)
    negate = jax.jit(jnp.negative)
    return (
        8 * size / timing.median(lambda: negate(x).block_until_ready(), 10, warm_up=2)
    )


def trainer(model, chosen, steps):
    """A `Trainer` of the model on random images."""
    random = np.random.default_rng(0)
    problem = chosen.dataset()
    size = max(_SPLIT_SIZE, chosen.batch_size)
    images = random.integers(0, problem.num_levels, (size, *problem.image_shape))
    split = splits.Split(
        images.astype(np.uint8),
        np.zeros(size, np.int32),
        np.arange(size, dtype=np.int32),
        "random",
    )
    model.optimizer.build(model.trainable_variables)
    average = None
    if chosen.ema_decay:
        average = averaging.WeightAverage(model.trainable_variables, chosen.ema_decay)
    batches = resident.training_batches(split, chosen.batch_size, 0)
    return jax_engine.Trainer(model, average, batches, steps)


def kept_bytes(model, batch):
    """What the forward pass of a training step leaves for the backward pass, before
    anything is fused. Shapes are enough: nothing is computed.

    Args:
      model: built `DeltaVAE`.
      batch: dict of `jax.ShapeDtypeStruct`.
    """
    variables = model.trainable_variables
    shapes = [jax.ShapeDtypeStruct(v.shape, v.dtype) for v in variables]

    def backward(values, batch):
        def loss(values):
            mapping = list(zip(variables, values, strict=True))
            with keras.StatelessScope(state_mapping=mapping):
                return model.compute_loss(batch, y_pred=model(batch, training=True))

        return jax.vjp(loss, values)[1]  # A pytree of all that it needs.

    kept = jax.tree.leaves(jax.eval_shape(backward, shapes, batch))
    return sum(array.size * array.dtype.itemsize for array in kept)


def lower(options):
    """The training call lowered for a platform that need not be there: dict."""
    chosen, model, train = prepared(options)
    shape = chosen.dataset().image_shape
    batch = {
        "image": jax.ShapeDtypeStruct((chosen.batch_size, *shape), np.uint8),
        "index": jax.ShapeDtypeStruct((chosen.batch_size,), np.int32),
        "mask": jax.ShapeDtypeStruct((chosen.batch_size,), np.float32),
    }
    start = time.perf_counter()
    exported = train.lowered_for(options.lower)
    return {
        "hparams_set": options.hparams_set,
        "hparams": options.hparams,
        "platforms": exported.platforms,
        "batch_size": chosen.batch_size,
        "kept_bytes": kept_bytes(model, batch),
        "module_bytes": len(exported.mlir_module_serialized),
        "seconds": time.perf_counter() - start,
    }


def prepared(options):
    """Hyper-parameters, model and its `Trainer`."""
    chosen = sets.hparams(options.hparams_set, options.hparams)
    model = build.model(chosen)
    return chosen, model, trainer(model, chosen, options.steps)


def measure(options):
    """All numbers: dict."""
    chosen, model, train = prepared(options)
    found = {
        "hparams_set": options.hparams_set,
        "hparams": options.hparams,
        "device": jax.devices()[0].device_kind,
        "batch_size": chosen.batch_size,
        "matrix_tflops": matrix_rate(options.matrix_size) / 1e12,
        "memory_gbs": copy_rate(options.matrix_size**2) / 1e9,
    }
    start = time.perf_counter()
    train(options.steps, 0)
    found["seconds_first_call"] = time.perf_counter() - start
    seconds = timing.median(lambda: train(options.steps, 0), options.calls, warm_up=2)
    seconds /= options.steps
    found["ms_per_step"] = 1e3 * seconds
    found["images_per_second"] = chosen.batch_size / seconds
    floor = json.loads(FLOOR.read_text()).get(options.hparams_set)
    if floor:
        operations = floor["matrix_operations"] * chosen.batch_size
        rate = operations / floor["batch_size"] / seconds
        found["model_tflops"] = rate / 1e12
        found["utilization_of_measured"] = rate / 1e12 / found["matrix_tflops"]
        found["utilization_of_400"] = rate / 400e12
    if options.profile:
        with jax.profiler.trace(options.profile):
            train(options.steps, 0)
    for count in options.sample:
        call = lambda n=count: jax.block_until_ready(  # noqa: E731
            model.sample(n, "training" if chosen.use_latents else "auxiliary")
        )
        found[f"sampled_per_second_{count}"] = count / timing.median(call, 2, warm_up=2)
    return found


def main():
    """Reads the command line, measures, prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hparams_set", default="cifar10_ablation")
    parser.add_argument("--hparams", default="dtype=mixed_bfloat16")
    parser.add_argument("--steps", type=int, default=20, help="of one call")
    parser.add_argument("--calls", type=int, default=5)
    parser.add_argument("--matrix_size", type=int, default=8192)
    parser.add_argument("--sample", default="", help="numbers of images, as 64,256")
    parser.add_argument("--profile", default="")
    parser.add_argument("--lower", default="", choices=["", "cuda", "tpu", "cpu"])
    options = parser.parse_args()
    options.sample = [int(n) for n in options.sample.split(",") if n]
    run = lower if options.lower else measure
    print(json.dumps(run(options)), flush=True)


if __name__ == "__main__":
    main()
