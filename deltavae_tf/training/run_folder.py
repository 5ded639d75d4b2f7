"""The folder that a run leaves behind (`--output_dir`), and whose it is.

    flags.txt hparams.json versions.json   what was run, with what, on what
    model.json                             how the model is put together
    metrics.jsonl                          one JSON object a row
    checkpoints/ samples/ saved_model/

Figures and tools read these files only.
"""

import collections
import contextlib
import fcntl
import importlib.metadata
import json
import math
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, Self

import keras
from absl import logging

from deltavae_tf import backend, errors
from deltavae_tf.training import checkpoints

_LOCK = ".lock"
_MAX_IDENTITY = 1 << 20
_DISTRIBUTIONS = (
    "deltavae-tf",
    "numpy",
    "keras",
    "tensorflow",
    "tensorflow-probability",
    "tfp-nightly",
    "jax",
)


class RunFolder:
    """One run's folder, held by one process at a time from `claim` to `close`.

    Args:
      path: str, a local folder; it need not exist.
      report: callable, receives what `claim` found, one line at a time.
      writes: bool. Of many workers on one run only the chief writes; for the others
        `claim` only looks, and neither locks nor makes anything.
    """

    def __init__(
        self,
        path: str | os.PathLike,
        report: Callable[[str], object] = logging.info,
        writes: bool = True,
    ) -> None:
        if "://" in str(path):
            raise errors.UserError(
                "A run folder is on a local disk; copy it afterwards. "
                f"Received: {path!r}"
            )
        self.path = os.path.abspath(os.path.expanduser(path))
        self.writes = writes
        self._report = report
        self._lock = None
        self.flags = os.path.join(self.path, "flags.txt")
        self.hparams = os.path.join(self.path, "hparams.json")
        self.model = os.path.join(self.path, "model.json")
        self.versions = os.path.join(self.path, "versions.json")
        self.metrics = os.path.join(self.path, "metrics.jsonl")
        self.checkpoints = os.path.join(self.path, "checkpoints")
        self.samples = os.path.join(self.path, "samples")
        self.saved_model = os.path.join(self.path, "saved_model")

    def claim(
        self,
        experiment_name: str,
        hparams: Mapping[str, Any],
        flags_text: str = "",
        may_change: Collection[str] = (),
        defaults: Mapping[str, Any] | None = None,
    ) -> bool:
        """Makes the folder this run's, or resumes the same run.

        Args:
          experiment_name: str.
          hparams: JSON-able dict.
          flags_text: str, written to `flags.txt`.
          may_change: names in `hparams` that a resumed run may have changed.
          defaults: dict, what a run had of the names that are younger than it is.

        Returns:
          bool, whether a run is resumed.

        Raises:
          UserError: another run's folder, or not a run folder; nothing was touched.
          BlockingIOError: another process works in it.
        """
        # As JSON has it: what is compared is what will be read back.
        hparams = json.loads(json.dumps(hparams, allow_nan=False))
        resumed = self._check(experiment_name, hparams, may_change, defaults or {})
        if not self.writes:
            return resumed
        os.makedirs(self.path, exist_ok=True)
        self._acquire()
        try:
            # Once more: another process may have been quicker than the lock.
            resumed = self._check(experiment_name, hparams, may_change, defaults or {})
            checkpoints.remove_stale(self.path)
            identity = {"experiment": experiment_name, "hparams": hparams}
            # hparams.json first: it is what makes a folder a run folder.
            checkpoints.write_json(self.hparams, identity, sort_keys=True)
            # What a run was made with is its evidence: later visits leave it.
            if not os.path.exists(self.flags):
                _write(self.flags, flags_text)
            if not os.path.exists(self.versions):
                found = {**versions(), "hardware": hardware()}
                checkpoints.write_json(self.versions, found)
            os.makedirs(self.checkpoints, exist_ok=True)
            os.makedirs(self.samples, exist_ok=True)
            self.truncate_metrics(math.inf)  # A half-written last row goes.
        except BaseException:
            self.close()
            raise
        verb = "Resuming the run in" if resumed else "Starting a run in"
        self._report(f"{verb} {self.path} ({experiment_name}).")
        return resumed

    def _check(self, experiment_name, hparams, may_change, defaults):
        """Whether the folder holds this very run; an error if anything else."""
        if not os.path.exists(self.path):
            return False
        if not os.path.isdir(self.path):
            raise errors.UserError(
                f"--output_dir must be a folder. Received: {self.path}"
            )
        if not os.path.exists(self.hparams):
            # A claim killed half-way leaves a lock and hidden temporary files.
            others = [n for n in sorted(os.listdir(self.path)) if not n.startswith(".")]
            if others:
                raise errors.UserError(
                    f"{self.path} is not empty and not a run folder: it has "
                    f"{others[0]!r} and no hparams.json. Name another --output_dir"
                )
            return False
        held_experiment, held = read_identity(self.path)
        held = {**{k: v for k, v in defaults.items() if k in hparams}, **held}
        problems = []
        if held_experiment != experiment_name:
            problems.append(
                f"received experiment={experiment_name!r}, "
                f"the folder holds {held_experiment!r}"
            )
        absent = "nothing"
        for key in sorted({*hparams, *held} - set(may_change)):
            mine, its = hparams.get(key, absent), held.get(key, absent)
            if mine != its:
                problems.append(f"received {key}={mine!r}, the folder holds {its!r}")
        if problems:
            raise errors.UserError(
                f"{self.path} belongs to another run: {'; '.join(problems)}. Name "
                "another --output_dir, or give the same hyper-parameters to resume"
            )
        for key in sorted(may_change):
            if self._lock and hparams.get(key) != held.get(key):
                self._report(f"{key} is now {hparams.get(key)}, was {held.get(key)}.")
        return True

    def _acquire(self):
        lock = open(os.path.join(self.path, _LOCK), "a+")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            lock.seek(0)
            holder = lock.read().strip() or "just starting"
            lock.close()
            raise BlockingIOError(
                error.errno, f"In use by another process (pid {holder})", self.path
            ) from error
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        self._lock = lock

    def close(self) -> None:
        """Lets go of the folder."""
        if self._lock:
            self._lock.close()
            self._lock = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def append_metrics(self, row: Mapping[str, Any]) -> None:
        """Appends one row to `metrics.jsonl`.

        Args:
          row: dict with an int "step"; numbers (numpy's and tensors' too), strings.

        Raises:
          NotFiniteError: a value is not finite; the row is written all the same,
            with "nan" or "inf" in its place.
        """
        row = {key: _plain(value) for key, value in row.items()}
        if type(row.get("step")) is not int:
            raise ValueError(
                f"A row needs an int 'step'. Received: {row.get('step')!r}"
            )
        bad = [k for k, v in row.items() if type(v) is float and not math.isfinite(v)]
        for key in bad:
            row[key] = str(row[key])
        if self.writes:
            self._append(json.dumps(row, allow_nan=False).encode() + b"\n", row["step"])
        if bad:
            values = ", ".join(f"{key}={row[key]}" for key in bad)
            raise errors.NotFiniteError(f"Not finite at step {row['step']}: {values}")

    def _append(self, line, step):
        # Unbuffered: a buffer would write its rest again when the file is closed.
        with open(self.metrics, "ab", buffering=0) as file:
            end = file.tell()
            try:
                while line:
                    line = line[file.write(line) :]
            except OSError as error:
                # Half a row would spoil the next one.
                with contextlib.suppress(OSError):
                    file.truncate(end)
                raise OSError(
                    error.errno,
                    f"No metrics written at step {step} ({error.strerror})",
                    self.metrics,
                ) from error

    def truncate_metrics(self, step: float) -> int:
        """Drops the rows after `step`, and rows that are no JSON; returns how many.

        To be called on resume, whether or not a checkpoint was found (`step=0`): the
        rows of the steps that are about to be repeated would stand twice.
        """
        if not self.writes or not os.path.exists(self.metrics):
            return 0
        with open(self.metrics, "rb") as file:
            lines = file.read().splitlines(keepends=True)
        kept = []
        for number, line in enumerate(lines, start=1):
            row = _parse(line)
            if row is None:
                self._report(f"Dropped line {number} of {self.metrics}: not a row.")
            elif row["step"] <= step:
                kept.append(line)
        if len(kept) < len(lines):
            _write(self.metrics, b"".join(kept))
        return len(lines) - len(kept)


def runs_in(path: str | os.PathLike) -> list[str]:
    """The run folders that a path names: itself, or else those inside it, by name.

    Whatever has an hparams.json counts, finished or not.
    """
    path = os.path.expanduser(path)

    def is_run(folder):
        return os.path.isfile(os.path.join(folder, "hparams.json"))

    if is_run(path):
        return [path]
    names = sorted(os.listdir(path)) if os.path.isdir(path) else []
    return [f for f in (os.path.join(path, name) for name in names) if is_run(f)]


def read_identity(path: str | os.PathLike) -> tuple[str, dict[str, Any]]:
    """(experiment name, hparams dict) of the run folder `path`."""
    file_name = os.path.join(os.path.expanduser(path), "hparams.json")
    try:
        with open(file_name, encoding="utf-8") as file:
            text = file.read(_MAX_IDENTITY + 1)
        if len(text) > _MAX_IDENTITY:
            raise ValueError(f"longer than {_MAX_IDENTITY:,} characters")
        identity = json.loads(text)
        experiment, hparams = identity["experiment"], identity["hparams"]
        if not (isinstance(experiment, str) and isinstance(hparams, dict)):
            raise ValueError("'experiment' must be text and 'hparams' an object")
        return experiment, hparams
    except FileNotFoundError:
        raise FileNotFoundError(
            f"{path} is not a run folder: no hparams.json"
        ) from None
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise errors.UserError(f"{file_name} is damaged: {reason}") from error


def read_metrics(path: str | os.PathLike) -> list[dict[str, Any]]:
    """The rows of a run folder or a `metrics.jsonl`, a list of dicts.

    A last row that a killed run wrote only half of is left out; any other row that is
    no JSON object is an error naming its line.
    """
    if os.path.isdir(path):
        path = os.path.join(path, "metrics.jsonl")
    with open(path, "rb") as file:
        lines = file.read().splitlines(keepends=True)
    rows = [_parse(line) for line in lines]
    if lines and rows[-1] is None and not lines[-1].endswith(b"\n"):
        rows.pop()
    if None in rows:
        raise errors.UserError(
            f"{path}: line {rows.index(None) + 1} is not a row of metrics"
        )
    return rows


def training_seconds(rows: Iterable[Mapping]) -> float:
    """How long the steps of a run took, evaluations and pauses left out, in seconds.

    Args:
      rows: as `read_metrics` returns them, from the run's first row on: each has the
        "step" it was written at and the "steps_per_second" since the row before.
    """
    seconds, before = 0.0, 0
    for row in rows:
        seconds += (row["step"] - before) / row["steps_per_second"]
        before = row["step"]
    return seconds


def hardware() -> str:
    """What this process runs on, one line: processor, cores, GPUs or TPUs."""
    name = platform.machine()
    with contextlib.suppress(OSError), open("/proc/cpuinfo", encoding="utf-8") as file:
        for line in file:
            key, _, value = line.partition(":")
            if key.strip() == "model name" and value.strip():
                name = value.strip()
                break
    parts = [name, f"{os.cpu_count()} cores"]
    for accelerator, count in collections.Counter(backend.accelerators()).items():
        parts.append(f"{count} x {accelerator}")
    return ", ".join(parts)


def versions() -> dict[str, Any]:
    """What this process runs on: a JSON-able dict."""
    found = {"python": platform.python_version()}
    for name in _DISTRIBUTIONS:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return {
        **found,
        "keras_backend": keras.config.backend(),
        "platform": platform.platform(),
        "git_commit": _git_commit(),
        "command": [_from_checkout(sys.argv[0]), *sys.argv[1:]],
    }


def _from_checkout(path):
    """A path inside this checkout as seen from its root; any other as it is."""
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    inside = os.path.abspath(path).startswith(root + os.sep)
    return os.path.relpath(path, root) if inside else path


def _git_commit():
    """Commit of the checkout this file is in, "-dirty" if it was changed, or None."""
    here = os.path.dirname(os.path.abspath(__file__))
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        done = subprocess.run(command, cwd=here, capture_output=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.decode().strip() or None


def _parse(line):
    """The row in one line of bytes, or None if it is not a whole row."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    whole = isinstance(row, dict) and type(row.get("step")) is int
    return row if whole and line.endswith(b"\n") else None


def _plain(value):
    """Numpy's and tensors' numbers as Python's."""
    if value is None or isinstance(value, bool | int | float | str | list | dict):
        return value
    integer = "int" in str(getattr(value, "dtype", ""))
    return int(value) if integer else float(value)


def _write(path, content):
    with checkpoints.atomic_file(path) as file:
        file.write(content if isinstance(content, bytes) else content.encode())
