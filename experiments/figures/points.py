"""What runs measured, as points with means and deviations over seeds."""

import dataclasses
import math
from collections.abc import Mapping

import numpy as np

from experiments.figures import results as results_lib

_SPECIFIC = ("objective", "posterior", "prior")  # The most telling part first.
_PLAIN = {"prior": "standard_normal", "posterior": "mean_field", "objective": "elbo"}


@dataclasses.dataclass(frozen=True)
class Point:
    """One setting: its hyper-parameters, and each number over seeds."""

    setting: str
    hparams: Mapping
    values: Mapping  # name -> array over seeds
    num_seeds: int

    @property
    def label(self) -> str:
        """What people call its method, and its encoder if it is the rarer one."""
        return label(self.hparams)

    @property
    def is_baseline(self) -> bool:
        """Whether it is the decoder alone."""
        return self.hparams["prior"] == "none"

    def mean(self, name: str) -> float:
        """Over seeds, in the metric's own unit."""
        return float(np.mean(self.values[name]))

    def deviation(self, name: str) -> float:
        """Of one seed: n - 1 in the denominator; 0 for one seed."""
        values = self.values[name]
        return float(np.std(values, ddof=1)) if len(values) > 1 else 0.0


def label(hparams: Mapping) -> str:
    """The names of a run's parts, without those that go without saying."""
    parts = [
        component(role, hparams).label
        for role in ("prior", "posterior", "objective")
        if hparams[role] != _PLAIN[role]
    ]
    parts = [part for part in parts if part]
    parts = parts or [component("prior", hparams).label]
    if "encoder" in hparams and hparams["prior"] != "none":
        parts.append(component("encoder", hparams).label)
    return ", ".join(part for part in parts if part)


def style(hparams: Mapping) -> dict:
    """Color of a run's family, marker of its objective; hollow for a rarer encoder.

    The family is its posterior or its prior, whichever is not the plain VAE's. Where
    only one of family and objective is not plain, it gives both.
    """
    telling = [r for r in _SPECIFIC if hparams[r] != _PLAIN[r]] or ["prior"]
    styles = [component(role, hparams).style for role in telling]
    styles = [found for found in styles if found] or [{}]
    families = [
        component(role, hparams).style
        for role in ("posterior", "prior")
        if role in telling and component(role, hparams).style
    ]
    found = {"color": "gray", "marker": ".", **styles[0]}
    if families:
        found["color"] = families[0]["color"]
    if "encoder" in hparams and component("encoder", hparams).label:
        found["markerfacecolor"] = "none"
    return found


def component(role: str, hparams: Mapping):
    """The registered part that plays a role in a run."""
    from experiments import sets  # noqa: F401  (The parts need it first.)
    from experiments.build import components

    return components.find(role, hparams[role])


def of(
    found: results_lib.Results, split: str = "held_out"
) -> tuple[list[Point], list[str]]:
    """The points of results, and what was left out and why.

    Args:
      found: `results.Results`.
      split: "held_out" or "training", whose numbers.
    """
    left_out = found.left_out()
    groups: dict[str, list] = {}
    for run in found.runs:
        numbers = run.numbers(split)
        bad = [k for k, v in numbers.items() if not math.isfinite(v)]
        if bad:
            left_out.append(f"{run.name}: {', '.join(bad)} not finite")
            continue
        groups.setdefault(run.setting, []).append((run, numbers))
    points = []
    for setting, members in groups.items():
        names = set.intersection(*(set(numbers) for _, numbers in members))
        values = {n: np.array([numbers[n] for _, numbers in members]) for n in names}
        points.append(Point(setting, members[0][0].hparams, values, len(members)))
    return points, left_out


def title(found: results_lib.Results, split: str = "held_out") -> str:
    """What the points are of."""
    first = found.runs[0]
    about = {"held_out": first.held_out, "training": first.training}[split]
    count = first.numbers(split).get("num_examples", about["num_examples"])
    what = {"images": "images", "text": "sentences"}[first.kind]
    settings = [run.setting for run in found.runs]
    seeds = sorted({settings.count(setting) for setting in settings})
    plural = "s" if seeds[-1] > 1 else ""
    return (
        f"{about['name']}, {count:,} {what}; "
        f"{first.steps:,} steps, {' or '.join(map(str, seeds))} seed{plural}"
    )


def report(left_out: list[str]) -> None:
    """Says what a figure does not show."""
    for line in left_out:
        print(f"Left out: {line}")
