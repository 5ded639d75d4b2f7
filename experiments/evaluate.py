r"""Evaluates a trained run in every way that the paper's tables and figures use.

  python -m experiments.evaluate --output_dir=/tmp/cifar10 --data_dir=~/data \
      --importance_samples=16

Prints, and writes to evaluation.json in the run folder: the exact one-sample negative
ELBO with the training prior and with the auxiliary prior, of raw and averaged weights,
with standard errors; importance-weighted bounds; active units; mutual information; of
images with classes the linear probe and the agreement of reconstructions. Every number
is of the run's held-out split, but for those that look at --train_examples of its
training examples. --twin names the run of the decoder alone: then the gain is told, the
share of the auxiliary rate that the decoder did not know.

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
    import os

    from deltavae_tf.evaluation import record as records
    from deltavae_tf.evaluation import tables, verdict

    weights, data = {}, None
    for use_average in (False, True):
        run = flags.trained(use_average=use_average, unfinished=UNFINISHED.value)
        data = data or run.data  # Read once: both weights are measured on the same.
        if run.weights not in weights:  # Else no average was kept.
            weights[run.weights], context = _measure(run, data)
    from experiments.runs import run as runs

    record = runs.record_of(run, run.step, context, weights)
    record = records.update(os.path.join(run.path, records.FILE), record)
    note = context.held_out.note
    print(f"Step {run.step}, {context.held_out.name}{f' ({note})' * bool(note)}:")
    shown = tables.of_record(record)
    print(terminal.rows(shown) if shown else "Nothing was measured.")
    for line in (*context.remarks, *verdict.remarks(record), verdict.line(record)):
        print(line)
    _draw(run, data)


def _draw(run, data):
    """Draws what the run folder lacks, and writes its report."""
    from deltavae_tf.training import engines, run_folder
    from experiments.runs import finish

    folder = run_folder.RunFolder(run.path)
    finish.draw(folder, run.model, data, run.step, run.weights, engines.make())


def _measure(run, data):
    """({split: {metric: number}}, the context) of one kind of weights."""
    from deltavae_tf.evaluation import context, likelihood, metric

    data.load()
    limits = context.Limits(
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
        twin_distortion=_twin_distortion(),
    )
    return metric.measure(found), found


def _twin_distortion():
    """Nats per example of --twin, or None."""
    if not _TWIN.value:
        return None
    from deltavae_tf.evaluation import record as records

    return records.numbers(records.read(_TWIN.value))["distortion_nats"]


def metric_help():
    """Every metric: (name, unit, meaning)."""
    from deltavae_tf.evaluation import metric

    return [(found.name, found.unit, found.meaning) for found in metric.metrics()]


if __name__ == "__main__":
    flags.run(main, (*flags.TRAINED, *flags.DATA))
