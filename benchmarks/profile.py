r"""Where a training step's time goes: each kind of operation beside its own floor.

  python -m benchmarks.profile --hparams_set=cifar10_small
  python -m benchmarks.profile --hparams_set=cifar10_small \
      --hparams=dtype=mixed_bfloat16 --output=/tmp/profile.json

TensorFlow's profiler watches some steps, and the step's graph says what each operation
computes and moves. An operation's floor is the slower of its arithmetic at the rate
that products or convolutions reach on this machine, and its bytes at the bandwidth that
memory reaches, both measured here. What a cache holds is quicker than memory: an
operation may lie below its floor. Milliseconds of a step, summed over threads.
"""

import collections
import datetime
import glob
import os
import tempfile

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from experiments import terminal

# TensorFlow's name of an operation that oneDNN computes -> its name in the graph.
_ONE_DNN = ("_MklNative", "_Mkl")


def profile(function, steps):
    """Watches `steps` calls of a function.

    Returns:
      dict: kind of operation -> (times, milliseconds) of one call.
    """
    import tensorflow as tf

    options = tf.profiler.experimental.ProfilerOptions(
        host_tracer_level=2, python_tracer_level=0
    )
    with tempfile.TemporaryDirectory() as folder:
        tf.profiler.experimental.start(folder, options)
        for _ in range(steps):
            function()
        tf.profiler.experimental.stop()
        (path,) = glob.glob(f"{folder}/**/*.xplane.pb", recursive=True)
        with open(path, "rb") as file:
            kept = file.read()
    return {
        kind: (times / steps, ms / steps) for kind, (times, ms) in by_kind(kept).items()
    }


def by_kind(space):
    """Times and milliseconds of operations in a profile.

    Args:
      space: bytes, a serialized `XSpace`.

    Returns:
      dict: kind of operation -> (int, float).
    """
    from tensorflow.tsl.profiler.protobuf import xplane_pb2

    found = collections.defaultdict(lambda: (0, 0.0))
    for plane in xplane_pb2.XSpace.FromString(space).planes:
        if plane.name != "/host:CPU":
            continue
        for event in (event for line in plane.lines for event in line.events):
            # Operations are called "name in the graph:kind"; C++'s own events, "a::b".
            name, _, kind = plane.event_metadata[event.metadata_id].name.rpartition(":")
            if name and kind.isidentifier() and not name.endswith(":"):
                kind = plain(kind)
                times, ms = found[kind]
                found[kind] = times + 1, ms + event.duration_ps / 1e9
    return dict(found)


def plain(kind):
    """The kind of an operation, whoever computes it."""
    for prefix in _ONE_DNN:
        if kind.startswith(prefix):
            return kind.removeprefix(prefix)
    return kind


def floors(operations, rates):
    """kind of operation -> milliseconds of a step, each at what bounds it.

    Args:
      operations: list of `costs.Operation`.
      rates: `machine.Rates`.
    """
    found = collections.Counter()
    for o in operations:
        seconds = o.bytes / rates.bytes_per_second
        if o.matrix:
            seconds = max(seconds, o.flops / rates.flops)
        found[o.kind] += 1e3 * o.times * seconds
    return dict(found)


def rows(found, least):
    """The table of a profile: dicts, the largest first.

    Args:
      found: dict: kind -> (times, milliseconds).
      least: dict: kind -> milliseconds, from `floors`.
    """
    total = sum(ms for _, ms in found.values())
    return [
        {
            "operation": kind,
            "times": round(times),
            "ms": ms,
            "share": ms / total,
            "floor_ms": least.get(kind, 0.0),
        }
        for kind, (times, ms) in sorted(found.items(), key=lambda x: -x[1][1])
    ]


def measure(hparams, steps):
    """Everything about a set's step: a JSON-able dict."""
    import dataclasses

    from deltavae_tf.training import run_folder, tensorflow_engine
    from experiments import plan
    from experiments.runs import costs, machine

    tensorflow_engine.Engine().prepare()
    model, spec = plan.model_and_spec(hparams)
    counted = costs.of_step(model, spec, has_average=False)
    step = machine.step(model, spec)
    rates, seconds = machine.measure(hparams.dtype, step)
    found = profile(step, steps)
    return {
        "dtype": hparams.dtype,
        "batch_size": hparams.batch_size,
        "measured": {
            "date": datetime.date.today().isoformat(),
            "hardware": run_folder.hardware(),
            "threads": os.environ.get("TF_NUM_INTRAOP_THREADS", "all"),
        },
        "rates": dataclasses.asdict(rates),
        "floor_ms": machine.floor(counted, rates, seconds),
        "operations": rows(found, floors(counted.operations, rates)),
    }


def text(found):
    """What `measure` found, for the terminal; without operations below .5 %."""
    lines = [
        f"{name:20s} {value:10.4g}{'' if '/' in name else ' ms'}"
        for name, value in found["floor_ms"].items()
    ]
    shown = [row for row in found["operations"] if row["share"] >= 0.005]
    return "\n".join([*lines, terminal.rows(shown)])


def main(arguments=None):
    """Profiles, prints and writes."""
    from benchmarks import command
    from deltavae_tf.training import checkpoints
    from experiments import sets

    parser = command.parser("profile", __doc__.partition("\n")[2])
    add = parser.add_argument
    add("--hparams_set", required=True)
    add("--hparams", default="", help="changes to the set, such as 'batch_size=8'")
    add("--steps", type=int, default=5, help="that the profiler watches")
    add("--output", default=None, help="by default benchmarks/results/profile_SET.json")
    options = parser.parse_args(arguments)
    hparams = sets.hparams(options.hparams_set, options.hparams)
    found = {"hparams_set": options.hparams_set, "changes": options.hparams}
    found |= measure(hparams, options.steps)
    print(text(found))
    path = options.output or os.path.join(
        os.path.dirname(__file__), "results", f"profile_{options.hparams_set}.json"
    )
    checkpoints.write_json(path, found)


if __name__ == "__main__":
    main()
