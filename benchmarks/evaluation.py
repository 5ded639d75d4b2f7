r"""What an evaluation takes, part by part, beside one forward pass.

  python -m benchmarks.evaluation --hparams_set=fashion_small --data_dir=~/data \
      --output=benchmarks/results/evaluation.json

Measures everything that `experiments.evaluate` measures of the set's held-out examples
and of 10,000 training examples, with fresh weights: what they say does not matter to
the time. The forward pass is that of the evaluation, in batches of several sizes; it is
the floor of the two likelihoods. Seconds of the clock: leave the machine alone.
"""

import os
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

_BATCH_SIZES = (16, 32, 100, 400)


def parts(context):
    """{what: a callable that computes it}, each once."""
    from deltavae_tf.evaluation import metric

    return {
        "likelihood of the held-out examples": lambda: context.likelihood("held_out"),
        "likelihood of the training examples": lambda: context.likelihood("training"),
        "posteriors of the held-out examples": lambda: context.moments("held_out"),
        "posteriors of the training examples": lambda: context.moments("training"),
        "probe, I(x; z), reconstructions and their classifier": lambda: metric.measure(
            context
        ),
    }


def measure(hparams, data_dir, count, rounds):
    """A JSON-able dict of seconds, and of milliseconds a forward pass.

    Args:
      hparams: `sets.Hparams` of images.
      data_dir: str or None.
      count: int or None, how many examples of either split; None: as `evaluate`.
      rounds: int, of the forward passes.
    """
    from benchmarks import timing
    from data.images import batches
    from deltavae_tf.evaluation import context as evaluation
    from deltavae_tf.evaluation import likelihood
    from deltavae_tf.training import tensorflow_engine
    from experiments import build
    from experiments.runs import data as run_data
    from experiments.runs.options import Options

    tensorflow_engine.Engine().prepare()
    options = Options(output_dir="", data_dir=data_dir, use_test_set=True)
    data = run_data.of(hparams, options)
    data.load()
    model = build.model(hparams)
    evaluator = likelihood.Evaluator(model)
    few = data.held_out.first(2 * max(_BATCH_SIZES))

    def forward(size):
        return lambda: evaluator.per_example(batches.evaluation_batches(few, size))

    seconds = timing.in_turn({n: forward(n) for n in _BATCH_SIZES}, rounds)
    limits = evaluation.Limits(training=10_000)
    if count:
        limits = evaluation.Limits(
            held_out=count, training=count, reconstructions=count
        )
    context = evaluation.Context(
        model,
        data.evaluated(data.held_out),
        data.evaluated(data.training),
        limits,
        evaluator,
    )
    found = {}
    for name, part in parts(context).items():
        start = time.perf_counter()
        part()
        found[name] = time.perf_counter() - start
    return {
        "held_out_examples": count or len(data.held_out),
        "training_examples": count or limits.training,
        "reconstructions": limits.reconstructions,
        "batch_size": hparams.eval_batch_size,
        "forward_ms_an_example": {
            f"batch_{size}": 1e3 * min(times) / len(few)
            for size, times in seconds.items()
        },
        "seconds": {**found, "all": sum(found.values())},
    }


def main(arguments=None):
    """Measures, prints, writes."""
    from benchmarks import command
    from experiments import sets

    parser = command.parser("evaluation", __doc__)
    add = parser.add_argument
    add("--hparams_set", default="fashion_small")
    add("--data_dir", default=None)
    add("--examples", type=int, default=None, help="fewer, for a try")
    add("--rounds", type=int, default=3, help="of the forward passes")
    add("--output", help="a JSON file")
    options = parser.parse_args(arguments)
    hparams = sets.hparams(options.hparams_set)
    if hparams.kind != "images":
        parser.error(f"{options.hparams_set} is not a set of images")
    found = {
        "hparams_set": options.hparams_set,
        "cores": len(os.sched_getaffinity(0)),
        **measure(hparams, options.data_dir, options.examples, options.rounds),
    }
    for name, value in found["forward_ms_an_example"].items():
        print(f"  forward, {name.replace('_', ' ')}: {value:.2f} ms an example")
    for name, value in found["seconds"].items():
        print(f"  {name}: {value:.1f} s")
    if options.output:
        from deltavae_tf.training import run_folder

        found["git_commit"] = run_folder.versions()["git_commit"]
        command.write(options.output, found)


if __name__ == "__main__":
    main()
