"""The record of an evaluation: one file, one schema, whatever was evaluated.

    {"schema": 1, "experiment": str, "step": int, "hparams": {...}, "random_seed": int,
     "data": {"problem": str,
              "held_out": {"name": str, "note": str, "num_examples": int},
              "training": {"name": str, "note": str, "num_examples": int} or null},
     "model": {"parameters": int},
     "weights": {"raw": {"held_out": {metric: number}, "training": {metric: number}},
                 "average": {...}}}

It is `evaluation.json` in a run folder. The evaluation at the end of training and the
full one of the program `evaluate` land in it both. `metric.find` says what a number is.
"""

import os
from typing import Any

FILE = "evaluation.json"
SCHEMA = 1


def build(
    *,
    experiment: str,
    step: int,
    hparams: dict,
    random_seed: int,
    problem: str,
    held_out,
    training,
    parameters: int,
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
      training: `context.Examples` or None.
      parameters: int, of the model.
      weights: {"raw" or "average": what `metric.measure` returned}.
    """
    raise NotImplementedError


def write(path: str | os.PathLike, record: dict) -> None:
    """Writes a record whole or not at all; a UserError if it is no record."""
    raise NotImplementedError


def read(path: str | os.PathLike) -> dict:
    """A record from a file (or from the run folder that holds it), checked.

    Raises:
      UserError: there is no file, or what it holds is no record; says what is wrong.
    """
    raise NotImplementedError


def update(path: str | os.PathLike, record: dict) -> dict:
    """Merges a record into the file, if that holds the same run; returns the whole."""
    raise NotImplementedError


def merge(old: dict | None, new: dict) -> dict:
    """One record of two evaluations of the same weights; the newer numbers win.

    Where the step, the run or the data differ nothing of the older one is kept.
    """
    raise NotImplementedError


def best_weights(record: dict) -> str:
    """ "average" if there is one, else "raw"."""
    raise NotImplementedError


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
    raise NotImplementedError


def is_full(record: dict) -> bool:
    """Whether everything was measured, as `evaluate` does: training examples too."""
    raise NotImplementedError


def check(record: Any, where: str) -> dict:
    """The record itself; a UserError that begins with `where` if it is none."""
    raise NotImplementedError
