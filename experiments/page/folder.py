"""A run folder as the page shows it: whatever is there, and what is missing."""

import dataclasses
import glob
import json
import math
import os
import shlex
from typing import Any

from deltavae_tf.errors import UserError
from deltavae_tf.evaluation import record as records
from deltavae_tf.training import run_folder
from experiments.runs import latents

_MOST_BYTES = 1 << 22  # Of a file with texts.
_LARGEST = 1e30  # What is larger no axis can show.
_PNG = b"\x89PNG\r\n\x1a\n"


@dataclasses.dataclass
class Shown:
    """What a run folder holds.

    Attributes:
      path: str.
      experiment: str.
      hparams: dict, as hparams.json has them.
      versions: dict, as versions.json has it; empty without.
      rows: list of dict, of metrics.jsonl; empty without.
      record: dict of `evaluation.record`, or None.
      latents: dict, as `experiments.runs.latents` writes it, or None.
      missing: list of str, what is not there or damaged, and what makes it.
    """

    path: str
    experiment: str
    hparams: dict
    versions: dict = dataclasses.field(default_factory=dict)
    rows: list = dataclasses.field(default_factory=list)
    record: dict | None = None
    latents: dict | None = None
    missing: list = dataclasses.field(default_factory=list)

    @property
    def name(self) -> str:
        """The folder's name."""
        return os.path.basename(os.path.abspath(self.path))

    @property
    def step(self) -> int:
        """The last step that is known of."""
        return (
            self.rows[-1]["step"] if self.rows else (self.record or {}).get("step", 0)
        )

    @property
    def kind(self) -> str:
        """ "images" or "text", by what was measured."""
        for part in ((self.record or {}).get("data"), self.latents):
            if part:
                return part["kind"]
        return "text" if any("nelbo_per_token" in r for r in self.rows) else "images"

    @property
    def has_latents(self) -> bool:
        """False for the decoder alone."""
        return self.hparams.get("prior") != "none"

    @property
    def command(self) -> str | None:
        """The command that started the run, or None where that is not known."""
        command = self.versions.get("command")
        if not isinstance(command, list) or not command:
            return None
        first, *rest = map(str, command)
        if first.startswith("experiments/") and first.endswith(".py"):
            first = f"python -m {first.removesuffix('.py').replace('/', '.')}"
        return f"{first} {shlex.join(rest)}"

    @property
    def evaluate(self) -> str:
        """The command that measures and draws what training has not."""
        unfinished = self.step < _number(self.hparams.get("train_steps"), 0)
        quoted = shlex.quote(self.path)
        command = f"python -m experiments.evaluate --output_dir={quoted}"
        return command + " --unfinished" * bool(unfinished)

    def series(self, column: str) -> tuple[list, list]:
        """(steps, numbers) of a column, where it is finite."""
        found = [
            (row["step"], row[column])
            for row in self.rows
            if abs(_number(row.get(column), math.inf)) < _LARGEST > abs(row["step"])
        ]
        return [step for step, _ in found], [value for _, value in found]

    def prefix(self) -> str:
        """Of the columns that tell most: the best evaluation's, or training's."""
        columns = {name for row in self.rows for name in row}
        for prefix in ("eval_ema_", "eval_"):
            if f"{prefix}rate_nats" in columns:
                return prefix
        return ""

    def newest(self, pattern: str, most: int) -> tuple[str, bytes] | None:
        """(name, content) of the last file in samples/ of a pattern, up to `most`
        bytes; None without. Names end in the step, and so sort by it."""
        folder = glob.escape(os.path.join(self.path, "samples"))
        for path in sorted(glob.glob(os.path.join(folder, pattern)), reverse=True)[:1]:
            with open(path, "rb") as file:
                content = file.read(most + 1)
            name = os.path.basename(path)
            if len(content) <= most:
                return name, content
            self.missing.append(f"samples/{name} is left out: over {most:,} bytes.")
        return None

    def picture(self, name: str, most: int) -> tuple[str, bytes] | None:
        """As `newest`, of pictures."""
        found = self.newest(f"{name}-*.png", most)
        if found and not found[1].startswith(_PNG):
            self.missing.append(f"samples/{found[0]} is no PNG file.")
            return None
        return found

    def texts(self, pattern: str) -> list | None:
        """The last file in samples/ of a pattern: its lines, or what its JSON holds."""
        found = self.newest(pattern, _MOST_BYTES)
        if found is None:
            return None
        text = found[1].decode(errors="replace")
        if not pattern.endswith(".json"):
            return text.removesuffix("\n").split("\n")  # No other ends a line.
        try:
            content = json.loads(text)
            return [(pair["original"], pair["reconstruction"]) for pair in content]
        except (ValueError, TypeError, KeyError, RecursionError):
            self.missing.append(f"samples/{found[0]} is damaged.")
            return None


def read(path: str) -> Shown:
    """What a run folder holds.

    Raises:
      FileNotFoundError: it is none.
      UserError: its hparams.json is damaged.
    """
    path = os.path.expanduser(path)
    shown = Shown(path, *run_folder.read_identity(path))
    shown.versions = _tried(shown, "versions.json", "", _read_object) or {}
    train = f"This makes it: {shown.command or 'training'}"
    rows = _tried(shown, "metrics.jsonl", train, run_folder.read_metrics)
    shown.rows = rows or []
    evaluate = f"This makes it: {shown.evaluate}"
    shown.record = _tried(shown, records.FILE, evaluate, records.read)
    if shown.has_latents:
        shown.latents = _tried(shown, latents.FILE, evaluate, _read_latents)
    return shown


def _tried(shown, name, remedy, reader) -> Any:
    """What a reader makes of a file; None, and a line that it is missing."""
    path = os.path.join(shown.path, name)
    if not os.path.exists(path):
        shown.missing.append(f"{name} is not there. {remedy}".strip())
        return None
    try:
        return reader(path)
    except (UserError, OSError, ValueError) as error:
        shown.missing.append(f"{name} cannot be read: {error}")
        return None


def _read_object(path):
    content = records.read_json(path)
    if not isinstance(content, dict):
        raise ValueError("it must be an object")
    return content


def _read_latents(path):
    """latents.json, if its numbers are such as `latents.write` writes."""
    content = _read_object(path)
    if content.get("schema") != latents.SCHEMA:
        raise ValueError(f"its 'schema' must be {latents.SCHEMA}")
    if content.get("kind") not in ("images", "text"):
        raise ValueError("its 'kind' must be 'images' or 'text'")
    shapes = {
        tuple(map(len, content[name]))
        for name in ("rate_nats", "committed_rate_nats")
        if _is_matrix(content.get(name))
    }
    if content.get("rate_nats") is not None and len(shapes) != 1:
        raise ValueError("its rates must be rows of channels, finite numbers")
    return content


def _is_matrix(value):
    return (
        isinstance(value, list)
        and value
        and all(isinstance(row, list) and len(row) == len(value[0]) for row in value)
        and len(value[0]) > 0
        and all(_number(x) is not None for row in value for x in row)
    )


def _number(value, default=None):
    """The value if it is a finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return default
    try:
        return value if math.isfinite(value) else default
    except OverflowError:
        return default
