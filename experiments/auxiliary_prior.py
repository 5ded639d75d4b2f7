r"""Trains the auxiliary prior of a finished run further; encoder and decoder stay.

  python -m experiments.auxiliary_prior --warm_start_from=/tmp/cifar10 \
      --output_dir=/tmp/cifar10_aux --data_dir=~/data --train_steps=2000

  python -m experiments.auxiliary_prior --preset=fashion_mnist_28 \
      --hparams=auxiliary_covariance=full --output_dir=/tmp/fashion_aux \
      --data_dir=~/data --train_steps=2000 --eval_use_test_set

Starts from the averaged weights of a run (--raw_weights: from the raw ones), or from a
preset, and writes a run folder of its own, which every other program reads. Distortion
and rate under the training prior are the run's; the auxiliary rate falls. Other numbers
by --hparams, such as learning_rate (by default constant at 1e-3). With other
auxiliary_units or another auxiliary_covariance the auxiliary prior starts anew.
"""

from experiments import flags

FLAGS = flags.FLAGS

_PRESET = flags.flags.DEFINE_string(
    "preset", None, "A preset's name or folder, instead of --warm_start_from."
)
_ITS_OWN = "auxiliary_units", "auxiliary_covariance"


def main(_):
    """Trains and evaluates."""
    from deltavae_tf import errors
    from experiments import quiet, train

    one = bool(FLAGS.warm_start_from) != bool(_PRESET.value)
    if not one or not FLAGS.output_dir:
        raise errors.UserError(
            "--warm_start_from (the folder of a trained run) or --preset, and "
            "--output_dir (another folder) are needed. "
            f"Received: --warm_start_from={FLAGS.warm_start_from}, "
            f"--preset={_PRESET.value} and --output_dir={FLAGS.output_dir}"
        )
    quiet.libraries()
    source = _source()
    if source.model.auxiliary_prior is None:
        raise errors.UserError(
            f"A decoder alone has no auxiliary prior to train. Received: {source.path}"
        )
    hparams = source.hparams.replace(
        trained_part="auxiliary_prior",
        learning_rate_schedule="constant",
        learning_rate=1e-3,
        train_steps=FLAGS.train_steps or source.hparams.train_steps,
    ).changed(FLAGS.hparams)
    same = source.hparams.architecture()
    for name, value in hparams.architecture().items():
        if name not in _ITS_OWN and value != same.get(name):
            raise errors.UserError(
                "Encoder and decoder stay as they are: of what makes the model only "
                f"{' and '.join(_ITS_OWN)} may change. Received: {name}={value!r}"
            )
    options = flags.options(
        seed=source.options.seed,
        use_test_set=FLAGS.eval_use_test_set or source.options.use_test_set,
        write_samples=False,
        warm_start_from=None,
    )
    with _run(hparams, options, source) as run:
        train.run_all(run, hparams)


def _source():
    """The `load.Trained` to start from."""
    from experiments.runs import load

    if not _PRESET.value:
        return flags.trained(FLAGS.warm_start_from, unfinished=False)
    folder, card = load.verified_preset(_PRESET.value)
    return load.preset(folder, card, FLAGS.data_dir, FLAGS.tmp_dir)


def _run(hparams, options, source):
    """A `Run` that starts from the weights of another model."""
    from experiments.runs import run as runs

    parts = ["encoder", "decoder"]
    if all(getattr(hparams, k) == getattr(source.hparams, k) for k in _ITS_OWN):
        parts.append("auxiliary_prior")

    class AuxiliaryRun(runs.Run):
        """As `Run`; its first checkpoint, of step 0, is the source's weights."""

        def _start(self):
            for part in parts:
                mine = getattr(self.model, part).weights
                its = getattr(source.model, part).weights
                for variable, value in zip(mine, its, strict=True):
                    variable.assign(value)
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
            *("eval_use_test_set", *flags.DATA),
            *("iterations_per_loop", "xla_compile"),
        ),
    )
