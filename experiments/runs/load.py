"""Trained image runs, read back by the programs that evaluate them."""

import dataclasses
import functools
import os

from deltavae_tf.models import delta_vae
from deltavae_tf.training import run_folder
from experiments import build, flags, runs

FLAGS = flags.FLAGS
UNFINISHED = flags.flags.DEFINE_bool(
    "unfinished", False, "Take a run that has not reached its train_steps as it is."
)


@dataclasses.dataclass(frozen=True)
class Finished:
    """A trained run: its model with raw or averaged weights, and its data."""

    path: str
    model: delta_vae.DeltaVAE
    hparams: object
    step: int
    problem: build.Problem
    training: object  # Split
    held_out: object  # Split
    weights: str  # "average" or "raw"


def folder():
    """--output_dir as a path; an error without one."""
    if not FLAGS.output_dir:
        raise ValueError("--output_dir is needed: the folder of a trained image run")
    return os.path.expanduser(FLAGS.output_dir)


def load(path, use_average=True):
    """The run in `path` as --data_dir and the run's own split say: `Finished`.

    Raises:
      ValueError: not a run of images, or not finished (and no --unfinished).
    """
    experiment, held = run_folder.read_identity(path)
    if held.get("problem") not in list(build.PROBLEMS):
        raise ValueError(
            f"{path} holds a run of {experiment!r} on {held.get('problem')!r}; this "
            f"program reads runs of images, on {', '.join(sorted(build.PROBLEMS))}"
        )
    model, hparams, step = runs.load(path, use_average)
    if step < hparams.train_steps and not UNFINISHED.value:
        raise ValueError(
            f"{path} is not finished: step {step} of {hparams.train_steps}. Train on, "
            "or take it as it is with --unfinished"
        )
    problem = build.problem(hparams.problem)
    split = functools.partial(
        problem.load,
        data_dir=FLAGS.data_dir,
        tmp_dir=FLAGS.tmp_dir,
        download=FLAGS.generate_data,
    )
    training = split("train")
    if held["eval_use_test_set"]:
        held_out = split("test")
    else:
        training, held_out = training.hold_out(problem.num_held_out)
    weights = "average" if use_average and hparams.ema_decay else "raw"
    return Finished(path, model, hparams, step, problem, training, held_out, weights)
