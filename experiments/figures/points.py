"""What sweeps measured, as points with means and deviations over seeds."""

import dataclasses
import json
import math
import os

import numpy as np

LABELS = {
    "delta_vae": "delta-VAE",
    "independent_delta_vae": "independent delta-VAE",
    "vae": "VAE",
    "beta_vae": "beta-VAE",
    "free_bits": "free bits",
    "free_bits_per_channel": "free bits per channel",
    "kl_annealing": "KL annealing",
    "geco": "GECO",
    "autoregressive": "decoder alone",
}
_SPLITS = ("test", "train")


@dataclasses.dataclass(frozen=True)
class Point:
    """One setting: its method, and each number as (mean, deviation) over seeds."""

    setting: str
    method: str
    encoder: str
    values: dict  # name -> array over seeds
    num_seeds: int

    @property
    def label(self):
        """The method and, if it is the rarer one, the encoder."""
        name = LABELS.get(self.method, self.method)
        return f"{name}, non-causal" if self.encoder == "non_causal" else name

    def mean(self, name):
        """float."""
        return float(np.mean(self.values[name]))

    def deviation(self, name):
        """float, of one seed: n - 1 in the denominator; 0 for one seed."""
        values = self.values[name]
        return float(np.std(values, ddof=1)) if len(values) > 1 else 0.0


def read(path):
    """The JSON of one sweep: a results file, or the folder of a sweep's runs.

    Returns:
      dict with "runs" (a list, not empty), "failed" (name -> why) and the rest.
    """
    path = os.path.expanduser(path)
    if os.path.isdir(path):
        return _read_folder(path)
    try:
        with open(path, encoding="utf-8") as file:
            found = json.load(file)
    except FileNotFoundError:
        raise FileNotFoundError(f"{path} is not there") from None
    except ValueError as error:
        raise ValueError(f"{path} is no JSON: {error}") from error
    if not isinstance(found, dict) or not isinstance(found.get("runs"), list):
        raise ValueError(
            f"{path} is not what experiments.rate_distortion writes: it has no 'runs'"
        )
    if not found["runs"]:
        raise ValueError(f"{path} has no runs: nothing to show")
    return found


def _read_folder(path):
    runs, failed = [], {}
    for name in sorted(os.listdir(path)):
        if not os.path.isfile(os.path.join(path, name, "hparams.json")):
            continue
        measured = os.path.join(path, name, "measured.json")
        if not os.path.exists(measured):
            failed[name] = "not finished: it has no measured.json"
            continue
        with open(measured, encoding="utf-8") as file:
            runs.append(json.load(file))
    if not runs:
        raise ValueError(
            f"{path} has no measured run of experiments.rate_distortion"
            + (f"; not finished: {', '.join(failed)}" if failed else "")
        )
    return {"sweep": os.path.basename(os.path.abspath(path)), "runs": runs,
            "failed": failed, "hardware": "", "meaning": ""}  # fmt: skip


def read_together(paths):
    """Several sweeps as one, for one figure: dict as `read`.

    Raises:
      ValueError: no path; a run that is in two of them; or runs of other data, or of
        another length, than the first one's.
    """
    if not paths:
        raise ValueError(
            "--results is needed: the JSON file of a sweep, or the folder of its runs; "
            "or several, separated by commas"
        )
    parts = [read(path) for path in paths]
    runs = [run for part in parts for run in part["runs"]]
    names = [run["name"] for run in runs]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"Of one run there are several: {', '.join(twice)}")
    for run in runs:
        if _subject(run) != _subject(runs[0]):
            raise ValueError(
                f"{run['name']} and {runs[0]['name']} do not belong into one figure. "
                f"Received: {_subject(run)} and {_subject(runs[0])}"
            )
    failed = {name: why for part in parts for name, why in part["failed"].items()}
    return {**parts[0], "runs": runs, "failed": failed}


def _subject(run):
    """What a run was trained and measured on, and for how long, as text."""
    sizes = [f"{run[s]['num_examples']:,} of {run[s]['data']}" for s in _SPLITS]
    return f"{run['steps']:,} steps, {', '.join(sizes)}"


def of_sweep(found, split="test"):
    """The points of a sweep.

    Args:
      found: from `read`.
      split: "test" or "train", whose rate and distortion.

    Returns:
      List of `Point`; list of str, what was left out and why.
    """
    left_out = [f"{name}: {why}" for name, why in found["failed"].items()]
    groups = {}
    for run in found["runs"]:
        values = {**run[split], **run["latents"]}
        numbers = {k: v for k, v in values.items() if isinstance(v, int | float)}
        bad = [k for k, v in numbers.items() if not math.isfinite(v)]
        if bad:
            left_out.append(f"{run['name']}: {', '.join(bad)} not finite")
            continue
        groups.setdefault(run["setting"], []).append((run, numbers))
    points = []
    for setting, members in groups.items():
        first = members[0][0]["hparams"]
        names = set.intersection(*(set(numbers) for _, numbers in members))
        points.append(
            Point(
                setting,
                first["method"],
                first["encoder"],
                {n: np.array([numbers[n] for _, numbers in members]) for n in names},
                len(members),
            )
        )
    return points, left_out


def report(left_out):
    """Says what a figure does not show."""
    for line in left_out:
        print(f"Left out: {line}")
