"""The files of a preset: written whole, and verified before anything reads them.

    card.json      what the model is, from what, how good; the sha256 of the others
    model.json     how the model is put together, see `models.config_file`
    weights.npz    float16 or float32, in the form of a checkpoint
    ...            what programs need beside them: hparams.json, a vocabulary

A checksum tells a damaged file, not a forged one: whoever writes the files writes the
card too. What the files may do when read is bounded elsewhere.
"""

import hashlib
import os
import re
import shutil
from collections.abc import Mapping
from typing import Any

import numpy as np

from deltavae_tf import errors
from deltavae_tf.export import files as export_files
from deltavae_tf.models import config_file
from deltavae_tf.training import checkpoints

CARD = "card.json"
WEIGHTS = "weights.npz"
MOST_BYTES = 6_000_000
FORMAT = 1
_MOST_CARD_BYTES = 100_000
_NAME = re.compile(r"\w[\w.-]*")
_SHA256 = re.compile(r"[0-9a-f]{64}")


def write(
    folder: str | os.PathLike,
    config: Mapping[str, Any],
    arrays: Mapping[str, np.ndarray],
    step: int,
    card: Mapping[str, Any],
    others: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Writes a preset, whole or not at all, in place of what was at `folder`.

    Args:
      folder: str.
      config: dict, of `config_file.of`.
      arrays: dict from `checkpoints.keyed`'s keys to numpy arrays.
      step: int, that the weights are of.
      card: JSON-able dict.
      others: {name: path} of files that are copied into the folder.

    Returns:
      dict, the card with the files' sizes and checksums.

    Raises:
      UserError: the files have more than `MOST_BYTES`; nothing was written.
    """
    with export_files.new_folder(folder) as fresh:
        os.makedirs(fresh)
        checkpoints.write_json(os.path.join(fresh, config_file.NAME), config)
        path = os.path.join(fresh, WEIGHTS)
        checkpoints.write(path, config["fingerprint"], step, arrays)
        for name, source in (others or {}).items():
            shutil.copyfile(source, os.path.join(fresh, name))
        listed = {
            name: _entry(os.path.join(fresh, name))
            for name in sorted(os.listdir(fresh))
        }
        total = sum(entry["bytes"] for entry in listed.values())
        if total > MOST_BYTES:
            raise errors.UserError(
                f"A preset has at most {MOST_BYTES:,} bytes: train a smaller model. "
                f"Received: {total:,} bytes"
            )
        whole = {"format": FORMAT, **card, "files": listed}
        checkpoints.write_json(os.path.join(fresh, CARD), whole)
    return whole


def verified(folder: str | os.PathLike) -> dict[str, Any]:
    """The card of a preset whose files are all there and as they were written.

    Raises:
      UserError: a file is missing or damaged; says which.
    """
    card = read_card(folder)
    for name, entry in card["files"].items():
        path = os.path.join(folder, name)
        if not os.path.isfile(path):
            raise errors.UserError(
                f"The preset in {folder} is not whole: restore it from where it came. "
                f"Received: no {name}"
            )
        if os.path.getsize(path) != entry["bytes"] or _sha256(path) != entry["sha256"]:
            raise errors.UserError(
                f"The preset in {folder} is damaged: restore it from where it came. "
                f"Received: a {name} of another checksum than its card's"
            )
    return card


def read_card(folder: str | os.PathLike) -> dict[str, Any]:
    """The card of a preset, checked; the other files are not looked at."""
    path = os.path.join(folder, CARD)
    try:
        card = config_file.read_bounded(path, _MOST_CARD_BYTES, FORMAT)
        listed = card["files"]
        for name, entry in listed.items():
            good = _NAME.fullmatch(name) and type(entry["bytes"]) is int
            if not good or not _SHA256.fullmatch(entry["sha256"]):
                raise ValueError(f"a wrong entry of the file {name!r}")
        if not {config_file.NAME, WEIGHTS} <= set(listed):
            raise ValueError("no entry of the model or its weights")
        if sum(entry["bytes"] for entry in listed.values()) > MOST_BYTES:
            raise ValueError(f"files of more than {MOST_BYTES:,} bytes")
    except OSError as error:
        raise errors.UserError(
            f"{path} cannot be read. Received: {error.strerror}"
        ) from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        reason = " ".join(str(error).split())[:300]
        raise errors.UserError(
            f"{path} is no card of a preset. Received: {reason}"
        ) from error
    return card


def _entry(path):
    return {"bytes": os.path.getsize(path), "sha256": _sha256(path)}


def _sha256(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
