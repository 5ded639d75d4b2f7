r"""Evaluates a trained run in every way that the paper's tables and figures use.

  python -m experiments.evaluate --output_dir=/tmp/cifar10 --data_dir=~/data \
      --importance_samples=16

Prints, and writes to evaluation.json in the run folder: the exact one-sample negative
ELBO with the training prior and with the auxiliary prior, with standard errors;
importance-weighted bounds; active units; mutual information; of images with classes the
linear probe and the agreement of reconstructions. The weights are the averaged ones;
--raw_weights measures the optimizer's own. Every number is of the run's held-out split,
but for those that look at --train_examples of its training examples. --twin names the
run of the decoder alone: then the gain is told, the share of the auxiliary rate that
the decoder did not know.

--at_steps=1000,2000 measures checkpoints of these steps too, the rows of a learning
curve. Training keeps them all with --keep_checkpoint_max=0. Each has a file of its own
in the run folder's evaluations.

What the report lacks of samples and latents is drawn, and report.html written anew.

--metric_help lists every number, with its unit and its meaning.
"""

from experiments import flags

FLAGS = flags.FLAGS
_SAMPLES = flags.flags.DEFINE_integer(
    "importance_samples", 16, "K, a power of two; 0: no such bound.", lower_bound=0
)
_IMPORTANCE = flags.flags.DEFINE_integer(
    "importance_examples", 1000, "Held-out examples for that bound.", lower_bound=1
)
_EVAL_EXAMPLES = flags.flags.DEFINE_integer(
    "eval_examples",
    None,
    "How many held-out examples are measured; by default all.",
    lower_bound=2,
)
_TRAIN_EXAMPLES = flags.flags.DEFINE_integer(
    "train_examples", 10_000, "Training examples that are looked at.", lower_bound=2
)
_RECONSTRUCTIONS = flags.flags.DEFINE_integer(
    "reconstructions", 1000, "Held-out images that are reconstructed.", lower_bound=0
)
_TEMPERATURE = flags.flags.DEFINE_float(
    "temperature", 1.0, "Of the decoder in these; 1: the model itself."
)
_TWIN = flags.define_path(
    "twin", None, "The run folder of the decoder alone, evaluated on the same split."
)
_AT_STEPS = flags.flags.DEFINE_list(
    "at_steps", [], "Earlier steps whose checkpoints are measured first."
)
_METRIC_HELP = flags.flags.DEFINE_bool("metric_help", False, "Print metrics, and exit.")
UNFINISHED = flags.flags.DEFINE_bool(
    "unfinished", False, "Take a run that has not reached its train_steps as it is."
)


def main(_):
    """Evaluates, prints, writes."""
    from deltavae_tf import errors

    if _SAMPLES.value & (_SAMPLES.value - 1):
        raise errors.UserError(
            f"--importance_samples must be a power of two. Received: {_SAMPLES.value}"
        )
    if not _TEMPERATURE.value > 0:
        raise errors.UserError(
            f"--temperature must be above 0. Received: {_TEMPERATURE.value}"
        )
    from experiments import quiet, terminal

    quiet.libraries(info=False)
    if _METRIC_HELP.value:
        print(terminal.listing(metric_help()))
        return
    data = None
    for step in [*_steps(), None]:
        run = flags.trained(unfinished=UNFINISHED.value, step=step)
        data = data or run.data  # Read once: all steps are measured on the same.
        _evaluate(run, data, step)
    _draw(run, data)


def _steps():
    """--at_steps, ascending."""
    from deltavae_tf import errors

    try:
        steps = sorted(int(step) for step in _AT_STEPS.value)
    except ValueError:
        steps = [-1]
    if steps and (steps[0] < 1 or len(set(steps)) != len(steps)):
        raise errors.UserError(
            "--at_steps must be different steps of training, such as 1000,2000. "
            f"Received: {','.join(_AT_STEPS.value)}"
        )
    if steps and FLAGS.output_dir:  # Before anything is measured.
        from experiments.runs import load

        load.check_steps(FLAGS.output_dir, steps)
    return steps


def _evaluate(run, data, step):
    """Measures a run as loaded, prints and writes; `step` is None for the newest."""
    import os

    from deltavae_tf.evaluation import metric, tables, verdict
    from deltavae_tf.evaluation import record as records
    from experiments import terminal
    from experiments.runs import run as runs

    context = _context(run, data, step)
    record = runs.record_of(
        run, run.step, context, {run.weights: metric.measure(context)}
    )
    path = records.path_of(run.path, step)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    record = records.update(path, record)
    note = context.held_out.note
    print(f"Step {run.step}, {context.held_out.name}{f' ({note})' * bool(note)}:")
    shown = tables.of_record(record)
    print(terminal.rows(shown) if shown else "Nothing was measured.")
    for line in (*context.remarks, *verdict.remarks(record), verdict.line(record)):
        print(line, flush=True)


def _draw(run, data):
    """Draws what the run folder lacks, and writes its report."""
    from deltavae_tf.training import engines, run_folder
    from experiments.runs import finish

    folder = run_folder.RunFolder(run.path)
    finish.draw(folder, run.model, data, run.step, run.weights, engines.make())


def _context(run, data, step):
    """What metrics look at: the run's model and `data`."""
    from deltavae_tf.evaluation import context, likelihood

    data.load()
    count = min(len(data.held_out), _EVAL_EXAMPLES.value or len(data.held_out))
    limits = context.Limits(
        held_out=_EVAL_EXAMPLES.value,
        training=_TRAIN_EXAMPLES.value,
        importance_examples=_IMPORTANCE.value,
        importance_samples=_SAMPLES.value,
        reconstructions=_RECONSTRUCTIONS.value,
        temperature=_TEMPERATURE.value,
    )
    found = context.Context(
        run.model,
        data.evaluated(data.held_out),
        data.evaluated(data.training),
        limits,
        likelihood.Evaluator(run.model),
        twin_distortion=_twin_distortion(step, count),
    )
    if _TWIN.value and found.twin_distortion is None:
        of_step = "" if step is None else f" of step {step}"
        found.remark(
            f"No gain: {_TWIN.value} has no record{of_step} with {count:,} examples."
        )
    return found


def _twin_distortion(step, count):
    """Nats per example of --twin at a step, of as many examples; else None."""
    if not _TWIN.value:
        return None
    import os

    from deltavae_tf.evaluation import record as records

    path = os.path.expanduser(_TWIN.value)
    if step is not None and os.path.isdir(path):
        path = records.path_of(path, step)
        if not os.path.exists(path):
            return None
    numbers = records.numbers(records.read(path))
    return numbers["distortion_nats"] if numbers["num_examples"] == count else None


def metric_help():
    """Every metric: (name, unit, meaning)."""
    from deltavae_tf.evaluation import metric

    return [(found.name, found.unit, found.meaning) for found in metric.metrics()]


if __name__ == "__main__":
    flags.run(main, (*flags.TRAINED, *flags.DATA))
