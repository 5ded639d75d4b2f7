"""What is measured of a model: each metric declared once, under its name.

A file of metrics ends with functions such as

    @metric.register(
        Metric("active_units", unit="units", title="active units", form="{:.0f}",
               meaning="latents whose posterior mean moves with the data"),
        split="training",
    )
    def active_units(context):
        return collapse.active_units(context.moments()["loc"])[0]

and importing that file is all that is needed: the record, the tables and the figures
take the metric up. The library's own files are in `deltavae_tf/evaluation/metrics`.
"""

import dataclasses
import functools
import importlib
import math
import numbers
import pkgutil
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from deltavae_tf.errors import NotFiniteError, UserError, near

if TYPE_CHECKING:
    from deltavae_tf.evaluation.context import Context

KINDS = ("images", "text")
SPLITS = ("held_out", "training")


@dataclasses.dataclass(frozen=True)
class Metric:
    """One number of an evaluation: its name, and how people are shown it.

    Attributes:
      name: str, its key in the record; the unit of the number stands in it.
      meaning: str, one line for a reader who meets it for the first time.
      unit: str, of what is shown, such as "bits per example".
      title: str, of its column; "" for a number that has no column of its own.
      label: str, of its axis in a figure, without the unit; by default the title.
      form: str, how it is shown: a format of one number.
      factor: float, what is shown is factor * number: 1 / ln 2 shows nats in bits.
      error: str, the metric that is its standard error, shown after "+-"; or "".
      column_of: the kinds of data whose tables have its column.
    """

    name: str
    meaning: str = ""
    unit: str = ""
    title: str = ""
    label: str = ""
    form: str = "{:.3f}"
    factor: float = 1.0
    error: str = ""
    column_of: tuple[str, ...] = KINDS

    def shown(self, number: float) -> float:
        """The number in the unit that people are shown."""
        return self.factor * number

    def text(self, number: float) -> str:
        """The number as tables have it."""
        return self.form.format(self.shown(number))

    def axis(self, example: str = "example") -> str:
        """The name of an axis: "distortion (bits per image)" with "image"."""
        unit = self.unit.replace("example", example)
        return f"{self.label or self.title or self.name}" + (f" ({unit})" * bool(unit))


@dataclasses.dataclass(frozen=True)
class Measurement:
    """A function that measures, and the metrics that it gives."""

    function: Callable
    metrics: tuple[Metric, ...]
    splits: tuple[str, ...]
    kinds: tuple[str, ...]
    cheap: bool


_MEASUREMENTS: dict[str, Measurement] = {}  # By the function's module and name.


def register(
    *metrics: Metric,
    split: str = "held_out",
    kinds: tuple[str, ...] = KINDS,
    cheap: bool = False,
) -> Callable:
    """A decorator: adds a function (context) -> numbers to what is measured.

    The function gets a `context.Context` and returns a dict from names to numbers; or
    one number, if it declares one metric; or None or less than all of its names, where
    there is nothing to say (a decoder alone has no active units).

    Args:
      *metrics: what the function gives.
      split: "held_out", "training" or "both": the examples that it looks at,
        `context.examples`.
      kinds: of data, "images" and "text": where it makes sense.
      cheap: bool, measured in every evaluation during training too.

    Raises:
      UserError: a name is taken, or an argument is none of the above.
    """
    splits = SPLITS if split == "both" else (split,)
    if not metrics or not set(splits) <= set(SPLITS) or not set(kinds) <= set(KINDS):
        raise UserError(
            "A measurement needs metrics, `split` 'held_out', 'training' or 'both', "
            f"and `kinds` of {KINDS}. "
            f"Received: {len(metrics)} metrics, {split!r}, {kinds}"
        )

    def add(function: Callable) -> Callable:
        key = f"{function.__module__}.{function.__qualname__}"
        others = [m for k, m in _MEASUREMENTS.items() if k != key]
        taken = {m.name for other in others for m in other.metrics}
        names = [m.name for m in metrics]
        twice = [n for n in names if n in taken or names.count(n) > 1]
        if twice:
            raise UserError(
                f"{key}: every metric needs a name of its own. Received: {twice[0]!r}, "
                "which is taken"
            )
        _MEASUREMENTS[key] = Measurement(
            function, tuple(metrics), splits, tuple(kinds), cheap
        )
        return function

    return add


@functools.cache
def _load_own() -> None:
    from deltavae_tf.evaluation import metrics as package

    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"{package.__name__}.{module.name}")


def measurements(kind: str | None = None) -> list[Measurement]:
    """Every registered measurement, or those of one kind of data."""
    _load_own()
    return [m for m in _MEASUREMENTS.values() if kind is None or kind in m.kinds]


def metrics(kind: str | None = None) -> list[Metric]:
    """Every metric in the order of the tables, or those of one kind of data."""
    return [found for m in measurements(kind) for found in m.metrics]


def find(name: str) -> Metric:
    """The metric of a name; a UserError with the nearest name if there is none."""
    known = {m.name: m for m in metrics()}
    if name not in known:
        raise UserError(
            f"No metric has this name{near(name, known)} Received: {name!r}"
        )
    return known[name]


def splits_of(name: str) -> tuple[str, ...]:
    """The splits that a metric is measured on; empty if nobody declares it here."""
    for measurement in measurements():
        if any(m.name == name for m in measurement.metrics):
            return measurement.splits
    return ()


def measure(context: "Context", cheap: bool = False) -> dict[str, dict[str, float]]:
    """Measures the model with the weights that it has now.

    Args:
      context: `context.Context`; without training examples, what looks at these is
        left out.
      cheap: bool, only what every evaluation during training measures.

    Returns:
      {"held_out": {name: number}, "training": {name: number}}: a split of a record's
      weights. Integers stay integers.

    Raises:
      UserError: a function gave a name that it does not declare, or no number.
      NotFiniteError: a number is not finite.
    """
    context = context.fresh()
    found: dict[str, dict] = {split: {} for split in SPLITS}
    for measurement in measurements(context.kind):
        if cheap and not measurement.cheap:
            continue
        for split in measurement.splits:
            if split == "training" and (cheap or context.training is None):
                continue
            context.split = split
            found[split].update(_numbers(measurement, context))
    return found


def _numbers(measurement: Measurement, context: "Context") -> dict:
    given = measurement.function(context)
    declared = [m.name for m in measurement.metrics]
    if given is None:
        return {}
    if isinstance(given, numbers.Real) and len(declared) == 1:
        given = {declared[0]: given}
    if not isinstance(given, Mapping):
        raise UserError(
            f"{measurement.function.__qualname__} declares {declared}: it must "
            "return a dict of numbers, or one number for one metric. "
            f"Received: {given!r}"
        )
    found = {}
    for name, value in given.items():
        if name not in declared or not isinstance(value, numbers.Real):
            raise UserError(
                f"{measurement.function.__qualname__} must return numbers of the "
                f"metrics that it declares, {declared}. Received: {name!r}: {value!r}"
            )
        if not math.isfinite(value):
            raise NotFiniteError(f"The metric {name} is not finite. Received: {value}")
        found[name] = (
            int(value) if isinstance(value, numbers.Integral) else float(value)
        )
    return found
