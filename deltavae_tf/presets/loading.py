"""Trained models by name, or from the folder of a preset or of a run."""

import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from deltavae_tf import errors
from deltavae_tf.models import config_file, delta_vae
from deltavae_tf.presets import files
from deltavae_tf.training import averaging, checkpoints

_HERE = os.path.dirname(os.path.abspath(__file__))


def from_preset(
    name_or_folder: str | os.PathLike, use_average: bool = True
) -> delta_vae.DeltaVAE:
    """A trained model: weights and all, to sample, encode, evaluate or train on.

    Args:
      name_or_folder: str, the name of a preset (`presets.loading.names()` has them), or
        a folder, of a preset or of a run of `experiments`. A name goes first: write
        `./digits` for a folder of that name.
      use_average: bool. Of a run folder the averaged weights are taken, if there are
        any; False takes the raw ones. A preset has one set of weights.

    Returns:
      `DeltaVAE`, or `TextVAE` of text; built, not compiled.

    Raises:
      UserError: there is no such preset, or a file is missing, damaged, or asks for
        classes that are neither of Keras nor of this library nor registered.

    Example:
      >>> model = from_preset("fashion_mnist_14")
      >>> model.decoder.image_shape
      (14, 14, 1)
    """
    folder = folder_of(name_or_folder)
    if os.path.exists(os.path.join(folder, files.CARD)):
        return _of_preset(folder, use_average)
    return _of_run(folder, use_average)


def names() -> list[str]:
    """The names of the presets that are installed."""
    return sorted(
        name
        for name in os.listdir(_HERE)
        if os.path.isdir(os.path.join(_HERE, name)) and not name.startswith("_")
    )


def card(name_or_folder: str | os.PathLike) -> dict[str, Any]:
    """What a preset is: its data, steps, numbers with units, use, limits, licence."""
    return files.verified(folder_of(name_or_folder))


def folder_of(name_or_folder: str | os.PathLike) -> str:
    """Where a preset of this name is, or the folder itself.

    Raises:
      UserError: there is neither.
    """
    name = os.fspath(name_or_folder)
    if name in names():
        return os.path.join(_HERE, name)
    folder = os.path.expanduser(name)
    if os.path.isdir(folder):
        return folder
    kind = "folder" if os.path.basename(name) != name else "preset, and no folder,"
    known = ", ".join(names()) or "none"
    raise errors.UserError(
        f"There is no {kind} of this name{errors.near(name, names())} The presets are: "
        f"{known}. Received: {name!r}"
    )


def _of_preset(folder, use_average):
    found = files.verified(folder)
    if not use_average and found.get("weights") == "average":
        raise errors.UserError(
            f"The preset in {folder} has averaged weights alone: leave out "
            "`use_average`. Received: use_average=False"
        )
    return of_verified(folder)


def of_verified(folder: str | os.PathLike) -> delta_vae.DeltaVAE:
    """The model of a preset's folder, whose files `card` has just verified."""
    weights = checkpoints.read(os.path.join(folder, files.WEIGHTS))
    model = config_file.make(config_file.read(os.path.join(folder, config_file.NAME)))
    assign(model, weights.arrays)
    return model


def assign(
    model: delta_vae.DeltaVAE, arrays: Mapping[str, np.ndarray]
) -> delta_vae.DeltaVAE:
    """Gives `model` the weights of a preset, whatever their precision.

    Args:
      model: built `DeltaVAE`.
      arrays: dict from the keys of `checkpoints.keyed({"model": ...})` to arrays.
    """
    sections = {"model": model.weights}
    kinds = {k: np.dtype(v.dtype) for k, v in checkpoints.keyed(sections).items()}
    arrays = {
        key: value.astype(kinds[key]) if _both_float(value, kinds.get(key)) else value
        for key, value in arrays.items()
    }
    checkpoints.assign_arrays(sections, arrays)
    return model


def _both_float(value, dtype):
    return dtype is not None and value.dtype.kind == dtype.kind == "f"


def _of_run(folder, use_average):
    path = os.path.join(folder, config_file.NAME)
    inside = os.path.join(folder, "checkpoints")
    if not os.path.exists(path):
        what = "no card.json and no model.json"
        if os.path.exists(os.path.join(folder, "hparams.json")):
            what = "a run of an earlier version, which wrote no model.json"
        raise errors.UserError(
            f"{folder} must be the folder of a preset or of a run; python -m "
            f"experiments.preset makes a preset of a run. Received: {what}"
        )
    content = config_file.read(path)
    found = None
    if os.path.isdir(inside):
        manager = checkpoints.CheckpointManager(inside, content["fingerprint"])
        found = manager.restore_latest()
    if found is None:
        raise errors.UserError(
            f"{folder} has no checkpoint: train first. Received: a run without weights"
        )
    model = config_file.make(content)
    checkpoints.assign_arrays({"model": model.weights}, found.arrays)
    if use_average and "average/00000" in found.arrays:
        averaging.assign(model.trainable_variables, found)
    return model
