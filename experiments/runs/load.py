"""Trained runs of either kind, read back by the programs that use them."""

import contextlib
import dataclasses
import functools
import os
from collections.abc import Iterable, Mapping
from typing import Any

from deltavae_tf import errors
from deltavae_tf.presets import files as preset_files
from deltavae_tf.presets import loading
from deltavae_tf.training import averaging, checkpoints, run_folder
from experiments import build, sets
from experiments.runs import data as run_data
from experiments.runs import run as runs
from experiments.runs.options import Options


@dataclasses.dataclass(frozen=True)
class Trained:
    """A trained run: its model with raw or averaged weights.

    Attributes:
      path: str, the run folder.
      model: `DeltaVAE` or `TextVAE`.
      hparams: `sets.Hparams`.
      step: int, of the checkpoint.
      weights: "average" or "raw".
      options: `Options`, with the run's seed and split.
    """

    path: str
    model: Any
    hparams: sets.Hparams
    step: int
    weights: str
    options: Options

    @property
    def samples(self) -> str:
        """Where pictures go: into a run's folder, but not into a preset's."""
        if os.path.exists(os.path.join(self.path, preset_files.CARD)):
            return "samples"
        return os.path.join(self.path, "samples")

    @functools.cached_property
    def data(self) -> run_data.Data:
        """The run's data; call `load()` before the splits are used."""
        return run_data.of(self.hparams, self.options)


def hparams_of(path: str) -> tuple[sets.Hparams, dict]:
    """The hyper-parameters of a run folder, and what else says which run it is."""
    _, held = run_folder.read_identity(path)
    values = {k: v for k, v in held.items() if k not in runs.IDENTITY}
    if "method" in values:
        raise errors.UserError(
            f"{path} is a run of version 0.1, whose hyper-parameters had other names: "
            "python -m experiments.convert turns it into one of this version. "
            f"Received: method={values['method']!r}"
        )
    return sets.from_dict(values), {k: held.get(k) for k in runs.IDENTITY}


def load(
    path: str | None,
    use_average: bool = True,
    data_dir: str | None = None,
    tmp_dir: str | None = None,
    download: bool = False,
    unfinished: bool = True,
    step: int | None = None,
) -> Trained:
    """The trained run in a folder.

    Args:
      path: a run folder; None is an error that names the flag.
      use_average: bool, the average of weights if there is one, else the raw ones.
      data_dir: where the data are; by default where they were in training.
      tmp_dir: for downloads.
      download: bool.
      unfinished: bool, whether a run that has not reached its train_steps will do.
      step: int, of the checkpoint to read; by default the newest that is whole.

    Raises:
      UserError: not a run folder, no such checkpoint, or not finished.
    """
    if not path:
        raise errors.UserError(
            "--output_dir is needed: the folder of a trained run. Received: none"
        )
    path = os.path.expanduser(path)
    hparams, identity = hparams_of(path)
    seed = identity["random_seed"]
    if type(seed) is not int:
        raise errors.UserError(
            f"The hparams.json of {path} has no integer 'random_seed'. "
            f"Received: {seed!r}"
        )
    manager = checkpoints.CheckpointManager(
        os.path.join(path, "checkpoints"),
        checkpoints.fingerprint(hparams.architecture()),
    )
    # Before the model is built: numbers that no checkpoint has may be of any size.
    if step is None:
        found = manager.restore_latest()
    else:
        check_steps(path, [step])
        found = manager.restore(manager.path(step))
    if found is None:
        raise errors.UserError(
            f"{path} has no checkpoint: train first. Received: an empty run folder"
        )
    if step is None and found.step < hparams.train_steps and not unfinished:
        raise errors.UserError(
            f"{path} is not finished. Train on, or take it as it is with --unfinished. "
            f"Received: step {found.step} of {hparams.train_steps}"
        )
    model = build.model(hparams, seed)
    checkpoints.assign_arrays({"model": model.weights}, found.arrays)
    use_average = bool(use_average and hparams.ema_decay)
    if use_average:
        averaging.assign(model.trainable_variables, found)
    options = Options(
        output_dir=path,
        seed=seed,
        data_dir=data_dir or data_dir_of(path),
        tmp_dir=tmp_dir,
        download=download,
        use_test_set=bool(identity["eval_use_test_set"]),
    )
    weights = "average" if use_average else "raw"
    return Trained(path, model, hparams, found.step, weights, options)


def check_steps(path: str, steps: Iterable[int]) -> None:
    """Raises a UserError that lists the checkpoints of a run if one of these is not."""
    path = os.path.expanduser(path)
    run_folder.read_identity(path)  # Says so if this is no run folder.
    folder = os.path.join(path, "checkpoints")
    kept = checkpoints.CheckpointManager(folder, "").steps()
    for step in steps:
        if step not in kept:
            listed = ", ".join(map(str, kept[-20:])) or "none"
            raise errors.UserError(
                f"{path} holds the checkpoints of steps {listed}; training with "
                f"--keep_checkpoint_max=0 keeps all. Received: step {step}"
            )


def preset(
    folder: str,
    card: Mapping[str, Any],
    data_dir: str | None = None,
    tmp_dir: str | None = None,
    download: bool = False,
) -> Trained:
    """A preset as `load` gives a run; its folder is not one to write to.

    Args:
      folder, card: of `verified_preset`; nothing is verified again.
      data_dir, tmp_dir, download: as of `load`.
    """
    hparams, identity = hparams_of(folder)
    options = Options(
        output_dir=folder,
        seed=identity["random_seed"],
        data_dir=data_dir,
        tmp_dir=tmp_dir,
        download=download,
        use_test_set=bool(identity["eval_use_test_set"]),
    )
    model = loading.of_verified(folder)
    return Trained(folder, model, hparams, card["steps"], card["weights"], options)


def verified_preset(name_or_folder: str) -> tuple[str, dict]:
    """(folder, card) of a preset that programs can use: with its hyper-parameters.

    This is where its files are verified, before anything reads them.
    """
    folder = loading.folder_of(name_or_folder)
    card = loading.card(folder)
    if "hparams.json" not in card["files"]:
        raise errors.UserError(
            "--preset must be one of experiments.preset, with an hparams.json. "
            f"Received: {folder}"
        )
    return folder, card


def data_dir_of(path: str) -> str | None:
    """The --data_dir that a run was started with, or None."""
    with contextlib.suppress(FileNotFoundError):
        with open(os.path.join(path, "flags.txt"), encoding="utf-8") as file:
            for line in file:
                if line.startswith("--data_dir="):
                    return line.strip().partition("=")[2]
    return None
