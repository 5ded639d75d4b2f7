r"""Where the time of one cached sample goes, beside its floors.

  python -m benchmarks.sampling --output=benchmarks/results/sampling.json

For a sample of batch 1 a decoder reads the weights that one pixel (or token) needs once
for each pixel. Printed beside the time of the sample and of one parallel pass:

- the bytes of these weights, times the pixels, at the rate at which the processor reads
  an array of that size again and again (numpy's maximum): no sampler is quicker;
- the products of these weights with one row each, a chain in one compiled loop, and
  nothing else: what the compiler makes of them;
- a sample of the same decoder with all widths at 8: what the loop, its hundreds of
  small operations and their buffers take when there is next to nothing to read.

All are called in turn, and the least of their seconds counts: of processor time, or
with --clock=wall of the clock, for a machine that does nothing else. Pin it to the
cores to be measured.
"""

import os
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

_READS = 64
_STATE = 2048  # Numbers that go from product to product; more than any kernel's rows.
_TINY = {
    "images": {"decoder_width": 8, "decoder_filter": 8, "num_heads": 1},
    "text": {"width": 8, "filter_size": 8, "num_heads": 1},
}


def weights_of_step(model):
    """The weights that one pixel or token reads: list of keras.Variable."""
    import tensorflow as tf
    from keras import ops

    decoder = model.decoder
    z = model.sample_latents(1) if model.encoder is not None else None

    def image():
        cache = decoder.init_cache(1, z)
        _, width, channels = decoder.image_shape
        above = ops.zeros((1, width, channels + 1))
        given, cache = decoder.stack.row_step(above, 0, cache)
        given, cache = tf.nest.map_structure(ops.convert_to_numpy, (given, cache))
        before, position = ops.zeros((1, channels + 1)), ops.convert_to_tensor(0)

        def step():
            row = [x[:, 0] for x in given]
            h, _ = decoder.stack.step(before, row, position, cache)
            return decoder._distribution(h[:, None, None]).logits

        return step

    def text():
        length = z.shape[1]
        cache = decoder.init_cache(1, length)
        before, position = ops.zeros((1,), "int32"), ops.convert_to_tensor(0)
        return lambda: decoder.step(z[:, 0], before, position, cache)[0]

    step = image() if hasattr(decoder, "image_shape") else text()
    graph = tf.function(step, autograph=False).get_concrete_function()
    read = {id(v.handle) for v in graph.variables}
    return [v for v in decoder.variables if id(v.value.handle) in read]


def products(shapes, times):
    """A callable: `times` chains of products of one row with kernels of such shapes."""
    import numpy as np
    import tensorflow as tf

    rng = np.random.default_rng(0)
    kernels = [tf.constant(rng.normal(size=s, scale=0.05), tf.float32) for s in shapes]

    @tf.function(jit_compile=True, autograph=False)
    def run(kernels):
        def chain(i, state):
            for kernel in kernels:
                y = tf.tanh(tf.matmul(state[:, : kernel.shape[0]], kernel))
                state += tf.pad(y, ((0, 0), (0, state.shape[1] - y.shape[1])))
            return i + 1, tf.tanh(state)

        size = max(_STATE, *(n for s in shapes for n in s))
        start = (tf.constant(0), tf.ones((1, size)))
        return tf.while_loop(lambda i, _: i < times, chain, start)[1]

    return lambda: run(kernels).numpy()


_CLOCKS = {"cpu": time.process_time, "wall": time.perf_counter}


def measure(name, rounds, clock):
    """A dict of seconds by a clock, and what they are compared with."""
    import numpy as np

    from benchmarks import timing
    from deltavae_tf import backend
    from experiments import build, sets

    hparams = sets.hparams(name)
    model = build.model(hparams)
    tiny = build.model(hparams.replace(**_TINY[hparams.kind]))
    weights = weights_of_step(model)
    shapes = [
        (int(np.prod(v.shape[:-1])), v.shape[-1]) for v in weights if len(v.shape) > 1
    ]
    num_bytes = 4 * sum(int(np.prod(v.shape)) for v in weights)
    array = np.random.default_rng(0).random(num_bytes // 4, np.float32)
    z = model.sample_latents(1)
    if hparams.kind == "images":
        times = int(np.prod(model.decoder.image_shape[:2]))
        x = np.zeros((1, *model.decoder.image_shape), np.uint8)
    else:
        times, x = z.shape[1], np.full((1, z.shape[1]), 5, np.int32)
    log_prob = backend.graph(lambda: model.decode(z, x).log_prob(x), model.decoder)
    functions = {
        "sample": _sampler(model, hparams.kind),
        "one_parallel_pass": lambda: np.asarray(log_prob()),
        "products_alone": products(shapes, times),
        "sample_of_width_8": _sampler(tiny, hparams.kind),
        "reads": lambda: [array.max() for _ in range(_READS)],
    }
    seconds = timing.in_turn(functions, rounds, clock=clock)
    least = {key: min(found) for key, found in seconds.items()}
    rate = num_bytes * _READS / least.pop("reads")
    return {
        "weights_bytes_a_position": num_bytes,
        "positions": times,
        "bytes_per_second_read": rate,
        "weights_read": num_bytes * times / rate,
        **least,
        "sample_over_pass": least["sample"] / least["one_parallel_pass"],
        "rounds": rounds,
    }


def _sampler(model, kind):
    """A callable that draws one example; a text does not end before its last token."""
    import numpy as np

    z = model.sample_latents(1)
    if kind == "images":
        return lambda: np.asarray(model.sample_data(z, 1))
    length = z.shape[1]
    # Given tokens that do not end: the sampler computes each all the same.
    given = np.full((1, length), 5, np.int32)
    return lambda: np.asarray(
        model.sample_data(z, 1, given=given, num_given=length, length=length)
    )


def main(arguments=None):
    """Measures, prints, writes."""
    from benchmarks import command

    parser = command.parser("sampling", __doc__)
    add = parser.add_argument
    add("--hparams_sets", nargs="+", default=["cifar10_ablation", "documents"])
    add("--rounds", type=int, default=7, help="of which the least counts")
    add("--clock", choices=list(_CLOCKS), default="cpu")
    add("--output", help="a JSON file")
    options = parser.parse_args(arguments)
    kind = {"cpu": "processor_seconds", "wall": "wall_seconds"}[options.clock]
    found = {"cores": len(os.sched_getaffinity(0)), kind: {}}
    for name in options.hparams_sets:
        row = measure(name, options.rounds, _CLOCKS[options.clock])
        found[kind][name] = row
        print(name)
        for key, value in row.items():
            print(f"  {key}: {value:.4g}")
    if options.output:
        from deltavae_tf.training import run_folder

        found["git_commit"] = run_folder.versions()["git_commit"]
        command.write(options.output, found)


if __name__ == "__main__":
    main()
