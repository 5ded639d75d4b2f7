r"""Trains the auxiliary prior of a finished run further; encoder and decoder stay.

  python -m experiments.auxiliary_prior --warm_start_from=/tmp/cifar10 \
      --output_dir=/tmp/cifar10_aux --data_dir=~/data --train_steps=2000

Starts from the run's averaged weights (--raw_weights: from the raw ones) and writes a
run folder of its own, which every other program reads. Distortion and AR(1) rate are
the run's; the auxiliary rate falls. Other numbers by --hparams, such as learning_rate
(by default constant at 1e-3).
"""

import dataclasses

from absl import logging

from deltavae_tf.training import run_folder
from experiments import finished, flags, runs
from experiments import hparams as registry

FLAGS = flags.FLAGS


class AuxiliaryRun(runs.ImageRun):
    """A run that starts from another's weights and trains the auxiliary prior alone.

    Args: as `runs.ImageRun`, and
      source: `DeltaVAE` of the same size.
    """

    def __init__(self, experiment, hparams, options, source):
        super().__init__(experiment, hparams, options)
        self._source = source

    def train(self):
        """As `ImageRun.train`."""
        if not self.state.manager.steps():
            pairs = zip(self.model.weights, self._source.weights, strict=True)
            for mine, its in pairs:
                mine.assign(its)
            self.model.steps.assign(0)
            if self.state.average is not None:
                self.state.average.reset()
            self.state.save(0)
        return super().train()


def main(_):
    """Trains and evaluates."""
    logging.set_verbosity(max(logging.get_verbosity(), logging.INFO))
    if not FLAGS.warm_start_from or not FLAGS.output_dir:
        raise ValueError(
            "--warm_start_from (the folder of a trained run) and --output_dir (another "
            "folder) are needed"
        )
    source = finished.load(FLAGS.warm_start_from, not FLAGS.raw_weights)
    if source.model.auxiliary_prior is None:
        raise ValueError(f"{source.path} is a decoder alone: it has no auxiliary prior")
    _, held = run_folder.read_identity(source.path)
    hparams = dataclasses.replace(
        source.hparams,
        trained_part="auxiliary_prior",
        learning_rate_schedule="constant",
        learning_rate=1e-3,
        train_steps=FLAGS.train_steps or source.hparams.train_steps,
    )
    changes = registry.parse(type(hparams), FLAGS.hparams)
    hparams = dataclasses.replace(hparams, **changes)
    options = runs.Options(
        output_dir=FLAGS.output_dir,
        seed=held["random_seed"],
        data_dir=FLAGS.data_dir,
        tmp_dir=FLAGS.tmp_dir,
        download=FLAGS.generate_data,
        use_test_set=held["eval_use_test_set"],
        iterations_per_loop=FLAGS.iterations_per_loop,
        save_seconds=FLAGS.save_checkpoints_secs,
        keep_max=FLAGS.keep_checkpoint_max,
        jit_compile=FLAGS.xla_compile,
        write_samples=False,
        flags_text=flags.as_text(),
    )
    with AuxiliaryRun("auxiliary_prior", hparams, options, source.model) as run:
        if run.train() < hparams.train_steps:
            return
        found = run.evaluate()
    print(f"Step {found['step']}, {found['num_examples']:,} images of {found['data']}:")
    print(runs.table(runs.summary(found)))


if __name__ == "__main__":
    flags.run(main)
