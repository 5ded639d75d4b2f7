"""Checkpoints that load whole or say why not, on any Keras backend.

A checkpoint is one `step-00001000.npz`: a zip of uncompressed `.npy` members, which
`numpy.load` opens too, plus `metadata.json`. The zip's CRC-32 of each member detects
flipped bits; the list of keys in the metadata detects missing members; replacing the
file in one step (`atomic_file`) means a killed writer leaves no half checkpoint.
"""

import contextlib
import dataclasses
import fcntl
import hashlib
import io
import json
import os
import re
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, BinaryIO

import keras
import numpy as np
from absl import logging
from keras import ops

from deltavae_tf import errors

_FORMAT = 1
_NAME = re.compile(r"step-(\d{8,})\.npz")
_TEMPORARY = re.compile(r"\..+\.\d+\.tmp")
_METADATA = "metadata.json"
_MAX_METADATA_BYTES = 64 << 20
_DTYPE_KINDS = "biuf"  # bool, int, uint, float: what numpy reads without pickle.


class CheckpointError(errors.UserError):
    """A checkpoint cannot be used; the message says which one and why."""


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """What one file holds: `arrays` by key, and the caller's own `metadata`."""

    step: int
    arrays: dict
    metadata: dict
    path: str


def fingerprint(hparams: Mapping[str, Any]) -> str:
    """A short hash of `hparams`, a JSON-able dict: which checkpoints fit together."""
    text = json.dumps(hparams, sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@contextlib.contextmanager
def atomic_file(path: str | os.PathLike) -> Iterator[BinaryIO]:
    """Opens a new binary file that replaces `path` once it is safely on disk.

    If anything fails before that, `path` is as it was and no temporary file stays. A
    killed process leaves one, but not its lock, by which `remove_stale` knows it. `~`
    in `path` is the home folder.
    """
    path = os.path.abspath(os.path.expanduser(path))
    folder, name = os.path.split(path)
    temporary = os.path.join(folder, f".{name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield file
            file.flush()
            os.fsync(file.fileno())
            os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
    _sync_folder(folder)


def write_json(path: str | os.PathLike, content: Any, sort_keys: bool = False) -> None:
    """Writes a JSON file that replaces `path` whole or not at all.

    Args:
      path: str, its folder must exist; `~` is the home folder.
      content: what `json` can write: dicts, lists, text, Python's numbers.
      sort_keys: bool, keys in the order of the alphabet instead of the dict's.
    """
    text = json.dumps(content, indent=1, sort_keys=sort_keys) + "\n"
    with atomic_file(path) as file:
        file.write(text.encode())


def _sync_folder(folder):
    # Without this a power cut can undo the rename although the file is on disk.
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_stale(folder: str) -> None:
    """Removes the temporary files that dead writers left in `folder`."""
    for name in os.listdir(folder):
        if not _TEMPORARY.fullmatch(name):
            continue
        # A live writer holds the lock; a folder we may only read keeps its files.
        with contextlib.suppress(OSError):
            with open(os.path.join(folder, name), "rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.unlink(file.name)


class CheckpointManager:
    """Saves, prunes and restores the checkpoints of one experiment.

    Files that cannot be used (damaged, or of another experiment) are never deleted and
    do not count as kept.

    Args:
      directory: str, created if missing.
      fingerprint: str, from `fingerprint(...)`; a checkpoint with another is refused.
      keep_max: int, how many of the newest whole checkpoints to keep; 0 keeps all.
      report: callable, receives each warning as one line.
    """

    def __init__(
        self,
        directory: str | os.PathLike,
        fingerprint: str,
        keep_max: int = 20,
        report: Callable[[str], object] = logging.warning,
    ) -> None:
        if keep_max < 0:
            raise errors.UserError(f"`keep_max` must be >= 0. Received: {keep_max}")
        self.directory = os.path.abspath(os.path.expanduser(directory))
        self.fingerprint = fingerprint
        self.keep_max = keep_max
        self._report = report
        # By path, size, time of writing, inode.
        self._whole: dict[tuple[str, int, int, int], bool] = {}
        os.makedirs(self.directory, exist_ok=True)
        remove_stale(self.directory)

    def path(self, step: int) -> str:
        """Where the checkpoint of `step` is, or would be."""
        return os.path.join(self.directory, f"step-{step:08d}.npz")

    def steps(self) -> list[int]:
        """The steps that have a file, usable or not, in ascending order."""
        names = map(_NAME.fullmatch, os.listdir(self.directory))
        return sorted(int(match[1]) for match in names if match)

    def save(
        self, step: int, arrays: Mapping[str, np.ndarray], metadata: dict | None = None
    ) -> str:
        """Writes one checkpoint, then prunes; returns its path.

        Args:
          step: int, non-negative.
          arrays: dict from key to numpy array (bool, integer or float).
          metadata: JSON-able dict, handed back by `restore`.
        """
        if step < 0 or step != int(step):
            raise errors.UserError(
                f"`step` must be a non-negative int. Received: {step}"
            )
        arrays = {key: _storable(key, value) for key, value in arrays.items()}
        path = self.path(int(step))
        try:
            self._set_aside(path)
            write(path, self.fingerprint, int(step), arrays, metadata)
        except OSError as error:
            earlier = [s for s in self.steps() if s != step]
            raise OSError(
                error.errno,
                f"The checkpoint of step {step} could not be written "
                f"({error.strerror}); the {len(earlier)} others are intact",
                self.directory,
            ) from error
        self._whole[_signature(path)] = True
        self._prune(keep=path)
        return path

    def restore_latest(
        self, like: Mapping[str, Any] | None = None
    ) -> Checkpoint | None:
        """The newest usable `Checkpoint`, or None where there is no checkpoint at all.

        Every array is read and verified. Newer files that cannot be used are reported.

        Args:
          like: dict from key to anything with `shape` and `dtype` (see `keyed`): what
            the checkpoint has to hold.

        Raises:
          CheckpointError: there are checkpoints, and none of them is usable.
        """
        refused = []
        for step in reversed(self.steps()):
            try:
                found = self.restore(self.path(step), like)
            except CheckpointError as error:
                refused.append(str(error))
                continue
            for reason in refused:
                self._report(f"Skipped {reason}. Using {found.path} instead.")
            return found
        if refused:
            raise CheckpointError(
                f"None of the {len(refused)} checkpoints in {self.directory} can be "
                f"used: {'; '.join(refused)}. Nothing was changed; name another "
                "folder to start anew"
            )
        return None

    def restore(
        self, path: str | os.PathLike, like: Mapping[str, Any] | None = None
    ) -> Checkpoint:
        """The `Checkpoint` in the file `path`, of this experiment only."""
        found = read(path, self.fingerprint, like)
        self._whole[_signature(path)] = True
        return found

    def _is_whole(self, path):
        signature = _signature(path)
        if signature not in self._whole:
            try:
                read(path, self.fingerprint)
                self._whole[signature] = True
            except CheckpointError:
                self._whole[signature] = False
        return self._whole[signature]

    def _set_aside(self, path):
        """Moves an unusable file out of the way of a new checkpoint, kept as it is."""
        if not os.path.exists(path) or self._is_whole(path):
            return
        count = 1
        while os.path.exists(aside := f"{path}.unusable-{count}"):
            count += 1
        os.rename(path, aside)
        self._report(f"Moved the unusable checkpoint {path} to {aside}.")

    def _prune(self, keep):
        paths = [self.path(step) for step in reversed(self.steps())]
        if not self.keep_max or len(paths) <= self.keep_max:
            return
        whole = [path for path in paths if path != keep and self._is_whole(path)]
        for path in whole[self.keep_max - 1 :]:
            try:
                os.unlink(path)
            except OSError as error:
                self._report(f"Could not remove the old checkpoint {path}: {error}")


def _signature(path):
    stat = os.stat(path)
    return path, stat.st_size, stat.st_mtime_ns, stat.st_ino


def _storable(key, value):
    value = np.asarray(value, order="C")
    if value.dtype.kind not in _DTYPE_KINDS:
        raise errors.UserError(
            f"A checkpoint holds bool, integer and float arrays; cast {key!r} to "
            f"float32 first. Received: {value.dtype}"
        )
    return value


def write(
    path: str | os.PathLike,
    fingerprint: str,
    step: int,
    arrays: Mapping[str, np.ndarray],
    metadata: dict | None = None,
) -> None:
    """Writes one checkpoint to a file of any name, whole or not at all.

    Args: as `CheckpointManager` and its `save`.
    """
    arrays = {key: _storable(key, value) for key, value in arrays.items()}
    header = {
        "format": _FORMAT,
        "fingerprint": fingerprint,
        "step": step,
        "arrays": {k: [v.shape, v.dtype.name] for k, v in arrays.items()},
        "metadata": metadata or {},
    }
    with atomic_file(path) as file, zipfile.ZipFile(file, "w") as archive:
        archive.writestr(zipfile.ZipInfo(_METADATA), json.dumps(header))
        for key, value in arrays.items():
            member = zipfile.ZipInfo(f"{key}.npy")
            with archive.open(member, "w", force_zip64=True) as stream:
                np.lib.format.write_array(stream, value, allow_pickle=False)


def read(
    path: str | os.PathLike,
    fingerprint: str | None = None,
    like: Mapping[str, Any] | None = None,
) -> Checkpoint:
    """Reads and verifies one checkpoint, of any experiment if `fingerprint` is None.

    Raises:
      CheckpointError: it is missing, damaged or does not fit; the message says so.
    """
    try:
        return _read(path, fingerprint, like)
    except CheckpointError as error:
        raise CheckpointError(f"{path} ({_one_line(error)})") from error
    except MemoryError:
        raise
    except OSError as error:
        raise CheckpointError(f"{path} ({error.strerror or 'damaged'})") from error
    except Exception as error:  # Damage shows as any of a dozen exceptions of zipfile.
        raise CheckpointError(f"{path} (damaged: {_one_line(error)})") from error


def _one_line(error):
    """An error's text, which may quote a damaged header, on one line of some length."""
    return " ".join(str(error).split())[:500]


def _read(path, fingerprint, like):
    with zipfile.ZipFile(path) as archive:
        members = {info.filename: info for info in archive.infolist()}
        if _METADATA not in members:
            raise CheckpointError("not a checkpoint of deltavae_tf: no metadata")
        # Before anything is allocated: stored members cannot outgrow the file.
        declared = sum(info.file_size for info in archive.infolist())
        stored = all(i.compress_type == zipfile.ZIP_STORED for i in members.values())
        if not stored or declared > os.path.getsize(path):
            raise CheckpointError(f"damaged: declares {declared} bytes or compression")
        if members[_METADATA].file_size > _MAX_METADATA_BYTES:
            raise CheckpointError("damaged: the metadata is too long")
        header = json.loads(archive.read(_METADATA))
        if header["format"] != _FORMAT:
            raise CheckpointError(
                f"format {header['format']}; this version reads format {_FORMAT}"
            )
        if fingerprint not in (None, header["fingerprint"]):
            raise CheckpointError(
                f"of another experiment: fingerprint {header['fingerprint']}, "
                f"expected {fingerprint}"
            )
        name = _NAME.fullmatch(os.path.basename(path))
        if name and int(name[1]) != header["step"]:
            raise CheckpointError(f"renamed: it holds step {header['step']}")
        specs = {
            k: (tuple(shape), dtype) for k, (shape, dtype) in header["arrays"].items()
        }
        if {_METADATA, *(f"{key}.npy" for key in specs)} != set(members):
            raise CheckpointError("damaged: arrays are missing or unexpected")
        _check_fit(specs, {k: _spec(v) for k, v in (like or {}).items()})
        arrays = {
            key: _read_array(archive.read(members[f"{key}.npy"]), key, specs[key])
            for key in specs
        }
    return Checkpoint(header["step"], arrays, header["metadata"], path)


def _read_array(data, key, spec):
    """The array in the bytes of one `.npy` member, whose CRC-32 has been checked."""
    stream = io.BytesIO(data)
    version = np.lib.format.read_magic(stream)
    read_header = getattr(np.lib.format, f"read_array_header_{version[0]}_0")
    shape, fortran_order, dtype = read_header(stream)
    wrong = (shape, dtype.name) != spec or dtype.kind not in _DTYPE_KINDS
    if wrong or fortran_order:
        raise CheckpointError(f"damaged: {key!r} is not {spec[1]} {list(spec[0])}")
    # What is allocated is what was read, whatever the header declares.
    return np.frombuffer(data, dtype, offset=stream.tell()).reshape(shape).copy()


def _spec(value):
    """(shape, name of the dtype) of an array or a variable."""
    return tuple(value.shape), getattr(value.dtype, "name", value.dtype)


def _check_fit(specs, expected, names=None):
    """Refuses keys, shapes and dtypes other than `expected`, section by section."""
    names = names or {}
    sections = {key.split("/")[0] for key in expected}
    held = {key for key in specs if key.split("/")[0] in sections}
    for key in sorted(held ^ set(expected)):
        where, verb = names.get(key, key), "has" if key in held else "lacks"
        raise CheckpointError(
            f"does not fit: it {verb} {where!r} ({len(held)} arrays, "
            f"expected {len(expected)})"
        )
    for key, (shape, dtype) in expected.items():
        # Keras counts in int64 on TensorFlow, and in int32 on JAX.
        same = specs[key][1] == dtype or {specs[key][1], dtype} == {"int32", "int64"}
        if specs[key][0] != shape or not same:
            raise CheckpointError(
                f"does not fit: {names.get(key, key)!r} is {specs[key][1]} "
                f"{list(specs[key][0])}, expected {dtype} {list(shape)}"
            )


def keyed(
    sections: Mapping[str, Sequence[keras.Variable]],
) -> dict[str, keras.Variable]:
    """Flattens `{"model": [variables], ...}` to `{"model/00000": variable, ...}`."""
    for section in sections:
        if "/" in section:
            raise errors.UserError(
                f"A section's name has no '/'. Received: {section!r}"
            )
    return {
        f"{section}/{index:05d}": variable
        for section, variables in sections.items()
        for index, variable in enumerate(variables)
    }


def paths(sections: Mapping[str, Sequence[keras.Variable]]) -> dict[str, str]:
    """The path of the variable behind each key; belongs in a checkpoint's metadata."""
    return {key: variable.path for key, variable in keyed(sections).items()}


def variables_to_arrays(
    sections: Mapping[str, Sequence[keras.Variable]],
) -> dict[str, np.ndarray]:
    """Copies variables to numpy arrays: `{"model/00000": array, ...}`.

    Args:
      sections: dict from a name to a list of `keras.Variable`.
    """
    return {
        key: np.array(ops.convert_to_numpy(ops.convert_to_tensor(variable)))
        for key, variable in keyed(sections).items()
    }


def assign_arrays(
    sections: Mapping[str, Sequence[keras.Variable]], arrays: Mapping[str, np.ndarray]
) -> None:
    """Assigns `arrays` to the variables of `sections`: all of them, or none.

    Sections of `arrays` that are not asked for are left out (evaluation needs no
    optimizer); within a section count, shapes and dtypes have to fit.
    """
    variables = keyed(sections)
    _check_fit(
        {key: _spec(value) for key, value in arrays.items()},
        {key: _spec(variable) for key, variable in variables.items()},
        {key: f"{key} ({variable.path})" for key, variable in variables.items()},
    )
    for key, variable in variables.items():
        variable.assign(arrays[key])
