r"""Trains a model, evaluates it, and says what its latents carry.

  python -m experiments.train --problem=fashion_mnist --output_dir=/tmp/fashion
  python -m experiments.train --hparams_set=cifar10_small --data_dir=~/data \
      --output_dir=/tmp/cifar10 --eval_use_test_set

Any data set and any of its sets: --registry_help lists both, and every number that
--hparams may change. Without --hparams_set it takes the set that is named after
--problem. The same command goes on with a run that was stopped.

--schedule=train leaves the evaluation out, --schedule=evaluate the training. The run
folder receives the checkpoints, metrics.jsonl, TensorBoard's events, samples and
evaluation.json, and report.html that shows it all; `experiments.evaluate`, `sample`,
`export` and `report` read it.
"""

import functools

from experiments import flags

FLAGS = flags.FLAGS


def main(_):
    """Trains and evaluates as the flags say; prints the final evaluation."""
    hparams = flags.hparams()  # Before TensorFlow: a refusal takes no time.
    if not FLAGS.output_dir:
        flags.options(engine=None)  # Says that it is needed.
    from experiments import quiet

    quiet.libraries()
    from experiments.runs import run as runs

    options = flags.options()
    with options.engine.restarting(), runs.Run(hparams, options) as run:
        run_all(run, hparams)


def run_all(run, hparams):
    """Trains and evaluates a run that is entered, as --schedule says; prints it."""
    from deltavae_tf.evaluation import tables, verdict
    from experiments import terminal

    # Of many workers the one that writes also speaks.
    say = functools.partial(print, flush=True) if run.folder.writes else _nothing
    for split in (run.data.training, run.data.held_out):
        size = f"{len(split):,} {run.data.examples}"
        say(f"{split.name}: {size}{_bracketed(split.note)}")
    say(f"Parameters: {run.model.count_params():,}")
    if FLAGS.schedule != "evaluate":
        step = run.train()
        if step < hparams.train_steps:
            return
    step = hparams.train_steps
    if FLAGS.schedule != "train":
        record = run.evaluate()
        step = record["step"]
        held_out = record["data"]["held_out"]
        say(
            f"Step {record['step']}, {held_out['num_examples']:,} {run.data.examples} "
            f"of {held_out['name']}{_bracketed(held_out['note'])}:"
        )
        say(terminal.rows(tables.of_weights(record)))
        for line in verdict.remarks(record):
            say(line)
        say(verdict.line(record))
    run.report(step)


def _nothing(*_):
    """What a worker says that does not write."""


def _bracketed(note):
    return f" ({note})" if note else ""


def alias(hparams_set, **defaults):
    """Runs this with a data set's own defaults: what `experiments.digits` is."""
    flags.defaults(hparams_set=hparams_set, **defaults)
    flags.run(main, flags.TRAINING)


if __name__ == "__main__":
    flags.run(main, flags.TRAINING)
