"""The record of an evaluation: one file, one schema, whatever was evaluated.

    {"schema": 1, "experiment": str, "step": int, "hparams": {...}, "random_seed": int,
     "data": {"problem": str, "kind": "images" or "text",
              "held_out": {"name": str, "note": str, "num_examples": int},
              "training": {"name": str, "note": str, "num_examples": int} or null},
     "model": {"parameters": int or null},
     "weights": {"raw": {"held_out": {metric: number}, "training": {metric: number}},
                 "average": {...}}}

It is `evaluation.json` in a run folder. The evaluation at the end of training and the
full one of the program `evaluate` both land in it. Earlier steps have files
of their own, see `path_of`. `metric.find` says what a number is.
"""

import glob
import json
import math
import os
from typing import TYPE_CHECKING, Any

from deltavae_tf.errors import UserError
from deltavae_tf.evaluation import metric
from deltavae_tf.training import checkpoints

if TYPE_CHECKING:
    from deltavae_tf.evaluation.context import Examples

FILE = "evaluation.json"
EARLIER = "evaluations"
SCHEMA = 1
WEIGHTS = ("raw", "average")
_MOST_BYTES = 1 << 26
_DIGITS = 7  # Kept of a float by `rounded`.


def build(
    *,
    experiment: str,
    step: int,
    hparams: dict,
    random_seed: int,
    problem: str,
    held_out: "Examples",
    training: "Examples | None",
    parameters: int | None,
    weights: dict[str, dict],
) -> dict:
    """A record.

    Args:
      experiment: str, the experiment's name.
      step: int, that the weights are of.
      hparams: dict, JSON-able.
      random_seed: int.
      problem: str, the data set's name.
      held_out: `context.Examples`.
      training: `context.Examples`, or None if unknown.
      parameters: int, of the model, or None if unknown.
      weights: {"raw" or "average": what `metric.measure` returned}.

    Raises:
      UserError: an argument is not of its form.
    """

    def about(examples):
        if examples is None:
            return None
        return {
            "name": examples.name,
            "note": examples.note,
            "num_examples": examples.num_examples,
        }

    record = {
        "schema": SCHEMA,
        "experiment": experiment,
        "step": step,
        "hparams": hparams,
        "random_seed": random_seed,
        "data": {
            "problem": problem,
            "kind": held_out.unit.kind,
            "held_out": about(held_out),
            "training": about(training),
        },
        "model": {"parameters": parameters},
        "weights": weights,
    }
    return check(record, "This record")


def path_of(folder: str | os.PathLike, step: int | None = None) -> str:
    """Where a run folder has its record: of the newest step, or of an earlier one."""
    if step is None:
        return os.path.join(folder, FILE)
    return os.path.join(folder, EARLIER, f"step-{step:08d}.json")


def learning_curve(folder: str) -> list[dict]:
    """The records of a run's earlier steps and of its newest, in ascending order.

    Raises:
      UserError: there is no `evaluation.json`, or a file is no record.
    """
    paths = glob.glob(os.path.join(glob.escape(folder), EARLIER, "step-*.json"))
    newest = read(folder)
    earlier = [read(path) for path in sorted(paths)]
    return [r for r in earlier if r["step"] < newest["step"]] + [newest]


def write(path: str | os.PathLike, record: dict) -> None:
    """Writes a record whole or not at all; a UserError if it is no record."""
    text = json.dumps(check(record, "This record"), indent=1, allow_nan=False)
    with checkpoints.atomic_file(os.fspath(path)) as file:
        file.write(text.encode() + b"\n")


def read(path: str | os.PathLike) -> dict:
    """A record from a file, or from the run folder that holds it, checked.

    Raises:
      UserError: there is no file, or what it holds is no record; says what is wrong.
    """
    path = os.path.expanduser(os.fspath(path))
    if os.path.isdir(path):
        path = os.path.join(path, FILE)
    return check(read_json(path), path)


def read_json(path: str) -> Any:
    """What a JSON file holds; a UserError that says what is wrong if it cannot be."""
    if not os.path.isfile(path):
        raise UserError(f"There must be a file to read. Received: {path}, not there")
    if os.path.getsize(path) > _MOST_BYTES:
        raise UserError(
            f"{path} is too large to be of ours: at most {_MOST_BYTES:,} bytes. "
            f"Received: {os.path.getsize(path):,}"
        )
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is no JSON; evaluate again. Received: {error}") from (
            error
        )


def update(path: str | os.PathLike, record: dict) -> dict:
    """Merges a record into a file, if that holds the same run; returns what it holds.

    A file that is damaged is an error: nothing is lost that somebody may want.
    """
    merged = merge(read(path) if os.path.exists(path) else None, record)
    write(path, merged)
    return merged


def merge(old: dict | None, new: dict) -> dict:
    """One record of two evaluations of the same weights; the newer numbers win.

    Where the run, the step or the held-out data differ nothing of the older is kept.
    """
    if old is None or _identity(old) != _identity(new):
        return new
    weights = {}
    for name in WEIGHTS:
        parts = [r["weights"][name] for r in (old, new) if name in r["weights"]]
        if parts:
            weights[name] = {
                split: _merged([part[split] for part in parts])
                for split in metric.SPLITS
            }
    training = new["data"]["training"] or old["data"]["training"]
    parameters = new["model"]["parameters"] or old["model"]["parameters"]
    return {
        **new,
        "data": {**new["data"], "training": training},
        "model": {**new["model"], "parameters": parameters},
        "weights": weights,
    }


def _merged(parts):
    """The newer numbers over the older, unless those are of more or fewer examples."""
    counts = {part["num_examples"] for part in parts if "num_examples" in part}
    parts = parts if len(counts) < 2 else parts[-1:]
    return {k: v for part in parts for k, v in part.items()}


def _identity(record):
    names = ("experiment", "step", "hparams", "random_seed")
    held_out = (record["data"]["problem"], record["data"]["held_out"])
    return [record[name] for name in names] + [held_out]


def best_weights(record: dict) -> str:
    """ "average" if there is one, else "raw"."""
    return "average" if "average" in record["weights"] else "raw"


def numbers(
    record: dict, split: str = "held_out", weights: str | None = None
) -> dict[str, float]:
    """The flat view for tables and figures: {metric: number}.

    Args:
      record: dict.
      split: "held_out" or "training". What is measured of the other split alone, such
        as active units, which look at training examples, is there as well.
      weights: "raw" or "average"; by default the best.
    """
    found = record["weights"][weights or best_weights(record)]
    (other,) = (name for name in metric.SPLITS if name != split)
    alone = {k: v for k, v in found[other].items() if split not in metric.splits_of(k)}
    return {**alone, **found[split]}


def is_full(record: dict) -> bool:
    """Whether everything was measured, as `evaluate` does: training examples too."""
    return bool(record["weights"][best_weights(record)]["training"])


def rounded(value: Any, digits: int = _DIGITS) -> Any:
    """The same JSON with floats of so many digits, for files that people compare."""
    if isinstance(value, dict):
        return {k: rounded(v, digits) for k, v in value.items()}
    if isinstance(value, list):
        return [rounded(v, digits) for v in value]
    return float(f"{value:.{digits}g}") if isinstance(value, float) else value


def check(record: Any, where: str) -> dict:
    """The record itself; a UserError that begins with `where` if it is none."""

    def wrong(what, received):
        text = repr(received)
        text = text if len(text) <= 100 else f"{text[:100]}..."
        return UserError(
            f"{where} is no record of an evaluation: {what}. Received: {text}"
        )

    def need(mapping, name, kinds, what):
        value = mapping.get(name)
        if not isinstance(value, kinds) or isinstance(value, bool):
            raise wrong(f"'{name}' must be {what}", value)
        return value

    if not isinstance(record, dict):
        raise wrong("it must be an object", record)
    if record.get("schema") != SCHEMA or isinstance(record.get("schema"), bool):
        raise wrong(f"its 'schema' must be {SCHEMA}", record.get("schema"))
    need(record, "experiment", str, "a name")
    need(record, "hparams", dict, "an object")
    need(record, "random_seed", int, "an integer")
    if need(record, "step", int, "an integer") < 0:
        raise wrong("'step' must be at least 0", record["step"])
    need(need(record, "model", dict, "an object"), "parameters", (int, type(None)),
         "an integer or null")  # fmt: skip
    data = need(record, "data", dict, "an object")
    need(data, "problem", str, "a name")
    if data.get("kind") not in metric.KINDS:
        raise wrong(f"'kind' must be one of {metric.KINDS}", data.get("kind"))
    need(data, "held_out", dict, "an object")
    need(data, "training", (dict, type(None)), "an object or null")
    for split in filter(None, (data[name] for name in metric.SPLITS)):
        need(split, "name", str, "a name")
        need(split, "note", str, "a text")
        need(split, "num_examples", int, "an integer")
    weights = need(record, "weights", dict, "an object")
    if not weights or not set(weights) <= set(WEIGHTS):
        raise wrong(f"'weights' must hold some of {WEIGHTS}", sorted(weights))
    for name in weights:
        splits = need(weights, name, dict, "an object")
        for split in metric.SPLITS:
            for key, value in need(splits, split, dict, "an object").items():
                if not _is_number(value):
                    raise wrong(f"'{key}' of {name}, {split} must be a number", value)
    return record


def _is_number(value):
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # An integer beyond every float.
        return False
