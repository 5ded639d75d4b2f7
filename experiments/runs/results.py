"""Results files: what finished runs prove, for `experiments/results/`, schema 1.

    {"schema": 1, "meaning": str, "hardware": str, "versions": {...}, "failed": {...},
     "runs": [{"name", "setting", "seed", "training_hours", "steps", "git_commit",
               and all of the run's record; of a run whose earlier steps were measured
               "learning_curve": [{"step", "weights"}, ...], its newest step last}]}

`experiments.figures.results` reads them. `versions` are those of the writer; each run
has the commit that it was trained with.
"""

import json
import os
from collections.abc import Mapping

from deltavae_tf.evaluation import record as records
from deltavae_tf.evaluation.metrics import rate_information
from deltavae_tf.training import checkpoints, run_folder

SCHEMA = 1


def entry(path: str, name: str, setting: str, curve: bool = False) -> dict:
    """What a run folder proves.

    Args:
      path: a run folder with an evaluation.json.
      name: of the run.
      setting: what all seeds of it are called.
      curve: bool, the held-out bound after each evaluation too.

    Raises:
      UserError: there is no evaluation, or it is damaged.
    """
    run_folder.read_identity(path)  # Says so if this is no run folder.
    record = records.read(path)
    with open(os.path.join(path, "versions.json"), encoding="utf-8") as file:
        commit = json.load(file).get("git_commit")
    rows = run_folder.read_metrics(path)
    found = {
        "name": name,
        "setting": setting,
        "seed": record["random_seed"],
        "training_hours": run_folder.training_seconds(rows) / 3600,
        "steps": record["step"],
        "git_commit": commit,
        **records.rounded(record),
    }
    records_of_steps = records.learning_curve(path)
    if len(records_of_steps) > 1:
        found["learning_curve"] = records.rounded(
            [{k: r[k] for k in ("step", "weights")} for r in records_of_steps]
        )
    if curve:
        found["curve"] = records.rounded([_bounds(row) for row in rows])
    return found


def add_gains(found: list[dict], twins: Mapping[str, str]) -> None:
    """Adds the gain of runs that were measured before the decoder alone of their seed.

    A row of a learning curve is compared with the decoder alone after as many steps.

    Args:
      found: list of `entry`; changed in place.
      twins: from a setting to the setting that is its decoder alone.
    """
    alone = {}  # By setting, seed and step; None: the newest.
    for run in found:
        key = run["setting"], run["seed"]
        alone[*key, None] = run["weights"]
        for row in run.get("learning_curve", []):
            alone[*key, row["step"]] = row["weights"]
    for run in found:
        key = twins.get(run["setting"]), run["seed"]
        _add_gain(run["weights"], alone.get((*key, None), {}))
        for row in run.get("learning_curve", []):
            _add_gain(row["weights"], alone.get((*key, row["step"]), {}))


def _add_gain(weights, alone):
    """The gain of each kind of weights that the decoder alone was measured with too, on
    as many examples."""
    for name in weights.keys() & alone.keys():
        numbers, others = (found[name]["held_out"] for found in (weights, alone))
        same = numbers.get("num_examples") == others.get("num_examples")
        if same and "gain" not in numbers:
            distortion = others["distortion_nats"]
            gain = rate_information.gain_over(distortion, numbers)
            if gain is not None:
                numbers["gain"] = records.rounded(gain)


def _bounds(row):
    """The step and the bounds of a row of metrics."""
    return {
        key: value
        for key, value in row.items()
        if key == "step" or ("nelbo" in key and not key.endswith("_stderr"))
    }


def write(
    path: str,
    meaning: str,
    runs: list[dict],
    failed: dict[str, str] | None = None,
    hardware: str = "",
    **more: object,
) -> None:
    """Writes a results file, whole or not at all; `more` stands beside the rest."""
    os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
    content = {
        "schema": SCHEMA,
        "meaning": meaning,
        "hardware": hardware or run_folder.hardware(),
        "versions": run_folder.versions(),
        "failed": failed or {},
        **more,
        "runs": runs,
    }
    checkpoints.write_json(path, content)
