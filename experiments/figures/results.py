"""The one reader of results: `experiments/results/*.json`, and folders of runs.

{"schema": 1, "meaning": str, "hardware": str, "versions": {...},
 "failed": {name: why},
 "runs": [{"name", "setting", "seed", "training_hours", "steps", "git_commit",
           and all of the run's record, see `deltavae_tf.evaluation.record`}]}
"""

import dataclasses
import os

from deltavae_tf.errors import UserError
from deltavae_tf.evaluation import record as records
from deltavae_tf.training import run_folder

SCHEMA = 1
SPLITS = {"test": "held_out", "train": "training"}  # What people call them.


@dataclasses.dataclass(frozen=True)
class Run:
    """One trained model: its record, and where that comes from.

    Attributes:
      source: str, the file's name.
      hardware: str.
      row: dict, the run as the file has it.
    """

    source: str
    hardware: str
    row: dict

    name = property(lambda self: self.row["name"])
    setting = property(lambda self: self.row["setting"])
    seed = property(lambda self: self.row["seed"])
    steps = property(lambda self: self.row["step"])
    hparams = property(lambda self: self.row["hparams"])
    kind = property(lambda self: self.row["data"]["kind"])
    held_out = property(lambda self: self.row["data"]["held_out"])
    training = property(lambda self: self.row["data"]["training"])
    parameters = property(lambda self: self.row["model"]["parameters"])

    @property
    def weights(self) -> str:
        """ "averaged" or "raw": of which its numbers are."""
        return {"average": "averaged", "raw": "raw"}[records.best_weights(self.row)]

    def numbers(self, split: str = "held_out") -> dict[str, float]:
        """{metric: number} of the best weights, see `records.numbers`."""
        return records.numbers(self.row, split)

    def is_set(self, name: str) -> bool:
        """Whether it was trained as the hparams set `name` says, for any length."""
        from experiments import sets

        wanted = sets.hparams(name)
        free = wanted.may_change_on_resume()
        return all(
            self.hparams.get(key) == value
            for key, value in wanted.to_dict().items()
            if key not in free
        )

    def measured_on(self) -> str:
        """ "cifar10/test, 1,000 images (9,980 of 10,000 images)"."""
        what = {"images": "images", "text": "sentences"}[self.kind]
        note = f" ({self.held_out['note']})" if self.held_out["note"] else ""
        count = self.numbers().get("num_examples", self.held_out["num_examples"])
        return f"{self.held_out['name']}, {count:,} {what}{note}"

    def circumstances(self) -> str:
        """Data, size, steps and hardware, as a line of text."""
        size = f"{self.parameters / 1e6:.2f} M parameters, " if self.parameters else ""
        return (
            f"{self.measured_on()}; {size}{self.steps:,} steps of "
            f"{self.hparams['batch_size']}; {self.hardware}; {self.weights} weights"
        )


@dataclasses.dataclass(frozen=True)
class Results:
    """What one file, or one folder of runs, holds."""

    source: str
    meaning: str
    hardware: str
    runs: list[Run]
    failed: dict[str, str]

    def left_out(self) -> list[str]:
        """A line for each run that failed."""
        return [f"{name}: {why}" for name, why in self.failed.items()]


def read(path: str | os.PathLike) -> Results:
    """A results file; or a run folder, or a folder of run folders.

    Raises:
      UserError: there is nothing to read, or it is not what `experiments.sweep` and
        `experiments.record` write; says what is wrong.
    """
    path = os.path.expanduser(os.fspath(path))
    if os.path.isdir(path):
        return _read_folder(path)
    content = records.read_json(path)

    def wrong(what, received):
        return UserError(f"{path} is no results file: {what}. Received: {received!r}")

    if not isinstance(content, dict):
        raise wrong("it must be an object", type(content).__name__)
    if content.get("schema") != SCHEMA:
        raise wrong(f"its 'schema' must be {SCHEMA}", content.get("schema"))
    if not isinstance(content.get("runs"), list):
        raise wrong("it has no list of 'runs'", sorted(content))
    failed = content.get("failed", {})
    if not isinstance(failed, dict):
        raise wrong("its 'failed' must be an object", failed)
    if not content["runs"]:
        raise wrong("it has no runs: nothing to show", [])
    about = [content.get(name, "") for name in ("meaning", "hardware")]
    if not all(isinstance(text, str) for text in about):
        raise wrong("'meaning' and 'hardware' must be texts", about)
    name = os.path.basename(path)
    runs = [_checked(name, about[1], row, path) for row in content["runs"]]
    failed = {str(key): str(why) for key, why in failed.items()}
    return Results(name, *about, runs, failed)


def _checked(source, hardware, row, where):
    records.check(row, f"A run of {where}")
    for name, kind in (("name", str), ("setting", str), ("seed", int)):
        if not isinstance(row.get(name), kind):
            raise UserError(
                f"A run of {where} must have '{name}'. Received: {row.get(name)!r}"
            )
    return Run(source, hardware, row)


def _read_folder(path):
    count, folders = len(os.listdir(path)), run_folder.runs_in(path)
    if folders == [path]:
        path = os.path.dirname(os.path.abspath(path))
    runs, failed = [], {}
    for folder in folders:
        name = os.path.basename(os.path.abspath(folder))
        file = os.path.join(folder, records.FILE)
        if not os.path.exists(file):
            failed[name] = f"not finished: it has no {records.FILE}"
            continue
        record = records.read(file)
        setting = name.rsplit("-seed", 1)[0]
        row = {"name": name, "setting": setting, "seed": record["random_seed"]}
        runs.append(Run(name, "", {**record, **row}))
    if not runs:
        missing = f"; not finished: {', '.join(failed)}" if failed else ""
        raise UserError(f"{path} has no measured run{missing}. Received: {count} files")
    return Results(os.path.basename(os.path.abspath(path)), "", "", runs, failed)


def read_together(paths: list[str], any_length: bool = False) -> Results:
    """Several results as one, for one figure.

    Args:
      paths: files of sweeps, or folders of runs.
      any_length: bool, whether runs may differ in their steps.

    Raises:
      UserError: no path; a run that is in two of them; or runs of other data, or of
        another length, than the first one's.
    """
    if not paths:
        raise UserError(
            "--results is needed: the JSON file of a sweep, or the folder of its runs; "
            "or several, separated by commas. Received: none"
        )
    parts = [read(path) for path in paths]
    runs = [run for part in parts for run in part.runs]
    names = [run.name for run in runs]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UserError(
            f"A run must be there once. Received: several of {', '.join(twice)}"
        )
    for run in runs:
        found, first = (_subject(r, any_length) for r in (run, runs[0]))
        if found != first:
            raise UserError(
                f"{run.name} and {runs[0].name} do not belong into one figure. "
                f"Received: {found} and {first}"
            )
    failed = {name: why for part in parts for name, why in part.failed.items()}
    return dataclasses.replace(parts[0], runs=runs, failed=failed)


def _subject(run, any_length):
    """What a run was trained and measured on, and for how long if it matters."""
    numbers = run.row["weights"][records.best_weights(run.row)]
    sizes = [
        f"{numbers[split].get('num_examples', 0):,} of {about['name']}"
        for split, about in (("held_out", run.held_out), ("training", run.training))
        if about
    ]
    length = [] if any_length else [f"{run.steps:,} steps"]
    return ", ".join(length + sizes)


def read_all(folder: str | os.PathLike) -> tuple[list[Results], list[str]]:
    """Every results file of a folder, and what was left out and why."""
    names = sorted(n for n in os.listdir(folder) if n.endswith(".json"))
    if not names:
        raise UserError(f"{folder} has no results: no .json file. Received: {folder}")
    found, left_out = [], []
    for name in names:
        try:
            found.append(read(os.path.join(folder, name)))
        except UserError as error:
            left_out.append(f"{name}: {error}")
            continue
        left_out += [f"{name}, {line}" for line in found[-1].left_out()]
    return found, left_out
