"""What the binaries share: flags to a run."""

import logging as standard_logging

from absl import logging

from deltavae_tf.training import engines
from experiments import flags, runs

FLAGS = flags.FLAGS


def main(experiment, make_run):
    """Trains and evaluates as the flags say; prints the final evaluation.

    Args:
      experiment: str, its name.
      make_run: `runs.ImageRun` or `text_runs.TextRun`.
    """
    logging.set_verbosity(max(logging.get_verbosity(), logging.INFO))
    standard_logging.getLogger("tensorflow").setLevel(standard_logging.ERROR)
    hparams = flags.hparams()
    if not FLAGS.output_dir:
        raise ValueError("--output_dir is needed: the folder that receives the run")
    engine = engines.make(
        FLAGS.use_tpu, FLAGS.cloud_tpu_name, FLAGS.tpu_num_shards, FLAGS.worker_gpu
    )
    options = runs.Options(
        output_dir=FLAGS.output_dir,
        seed=FLAGS.random_seed,
        data_dir=FLAGS.data_dir,
        tmp_dir=FLAGS.tmp_dir,
        download=FLAGS.generate_data,
        use_test_set=FLAGS.eval_use_test_set,
        engine=engine,
        iterations_per_loop=FLAGS.iterations_per_loop,
        save_seconds=FLAGS.save_checkpoints_secs,
        keep_max=FLAGS.keep_checkpoint_max,
        jit_compile=FLAGS.xla_compile,
        flags_text=flags.as_text(),
        warm_start_from=FLAGS.warm_start_from,
    )
    with engine.restarting(), make_run(experiment, hparams, options) as run:
        _run(run, hparams)


def _run(run, hparams):
    # Of many workers the one that writes also speaks.
    say = print if run.folder.writes else lambda *_: None
    for split in (run.training, run.held_out):
        size = f"{len(split):,} {run.examples}"
        say(f"{split.name}: {size}{_bracketed(split.note)}")
    say(f"Parameters: {run.model.count_params():,}")
    if FLAGS.schedule != "evaluate":
        step = run.train()
        if step < hparams.train_steps:
            return
    if FLAGS.schedule != "train":
        found = run.evaluate()
        say(
            f"Step {found['step']}, {found['num_examples']:,} {run.examples} of "
            f"{found['data']}{_bracketed(found['note'])}:"
        )
        say(runs.table(runs.summary(found)))
        for line in run.remarks(found):
            say(line)


def _bracketed(note):
    return f" ({note})" if note else ""
