r"""Trains the auxiliary prior of a finished run further; encoder and decoder stay.

  python -m experiments.auxiliary_prior --warm_start_from=/tmp/cifar10 \
      --output_dir=/tmp/cifar10_aux --data_dir=~/data --train_steps=2000

Starts from the run's averaged weights (--raw_weights: from the raw ones) and writes a
run folder of its own, which every other program reads. Distortion and rate under the
training prior are the run's; the auxiliary rate falls. Other numbers by --hparams, such
as learning_rate (by default constant at 1e-3).
"""

from experiments import flags

FLAGS = flags.FLAGS


def main(_):
    """Trains and evaluates."""
    from deltavae_tf import errors
    from experiments import quiet, train

    if not FLAGS.warm_start_from or not FLAGS.output_dir:
        raise errors.UserError(
            "--warm_start_from (the folder of a trained run) and --output_dir (another "
            f"folder) are needed. Received: {FLAGS.warm_start_from} and "
            f"{FLAGS.output_dir}"
        )
    quiet.libraries()
    source = flags.trained(FLAGS.warm_start_from, unfinished=False)
    if source.model.auxiliary_prior is None:
        raise errors.UserError(
            "A decoder alone has no auxiliary prior to train. "
            f"Received: --warm_start_from={source.path}"
        )
    hparams = source.hparams.replace(
        trained_part="auxiliary_prior",
        learning_rate_schedule="constant",
        learning_rate=1e-3,
        train_steps=FLAGS.train_steps or source.hparams.train_steps,
    ).changed(FLAGS.hparams)
    options = flags.options(
        seed=source.options.seed,
        use_test_set=source.options.use_test_set,
        write_samples=False,
        warm_start_from=None,
    )
    with _run(hparams, options, source.model) as run:
        train.run_all(run, hparams)


def _run(hparams, options, source):
    """A `Run` that starts from the weights of another model of the same size."""
    from experiments.runs import run as runs

    class AuxiliaryRun(runs.Run):
        """As `Run`; its first checkpoint, of step 0, is the source's weights."""

        def _start(self):
            pairs = zip(self.model.weights, source.weights, strict=True)
            for mine, its in pairs:
                mine.assign(its)
            self.model.steps.assign(0)
            if self.state.average is not None:
                self.state.average.reset()
            self.state.save(0)

    return AuxiliaryRun(hparams, options)


if __name__ == "__main__":
    flags.run(
        main,
        (
            *("warm_start_from", "output_dir", "raw_weights", "train_steps", "hparams"),
            *flags.DATA,
            *("iterations_per_loop", "xla_compile"),
        ),
    )
