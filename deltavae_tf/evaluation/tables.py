"""Tables of records, with the metrics' own columns: as rows, and in Markdown."""

from collections.abc import Iterable

from deltavae_tf.evaluation import metric
from deltavae_tf.evaluation import record as records

_WEIGHTS = {"raw": "raw weights", "average": "averaged weights"}


def markdown(header: list[str], rows: Iterable[list[str]]) -> str:
    """A table in Markdown: list of str, lists of str."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def of_record(record: dict) -> list[dict[str, str]]:
    """The rows of a record: one for each metric, a column for each kind of weights and
    each split that was measured. "+-" is one standard error.
    """
    columns = measured_columns(record)
    measured = {name for numbers in columns.values() for name in numbers}
    example = {"images": "image", "text": "sentence"}[record["data"]["kind"]]
    return [
        {"": m.axis(example), **{k: cell(m, v) or "-" for k, v in columns.items()}}
        for m in known(measured)
    ]


def measured_columns(record: dict) -> dict[str, dict[str, float]]:
    """{"averaged weights, training": numbers}: all weights and splits of a record."""
    return {
        f"{_WEIGHTS[name]}{', training' if split == 'training' else ''}": (
            record["weights"][name][split]
        )
        for split in metric.SPLITS
        for name in records.WEIGHTS
        if record["weights"].get(name, {}).get(split)
    }


def of_weights(record: dict) -> list[dict[str, str]]:
    """The rows of a record, short: held-out numbers alone, a row for each kind of
    weights, and the columns of the metrics that have one.
    """
    found = {
        _WEIGHTS[name]: record["weights"][name]["held_out"]
        for name in records.WEIGHTS
        if name in record["weights"]
    }
    shown = columns(found.values(), record["data"]["kind"])
    return [
        {"": name, **{m.title: cell(m, value) or "-" for m in shown}}
        for name, value in found.items()
    ]


def columns(numbers: Iterable[dict], kind: str) -> list[metric.Metric]:
    """The metrics whose column is not empty in a table of records of one kind.

    Args:
      numbers: dicts from names to numbers, as of `record.numbers`; a row each.
      kind: "images" or "text".
    """
    measured = {name for row in numbers for name in row}
    return [
        m
        for m in metric.metrics(kind)
        if m.title and m.name in measured and kind in m.column_of
    ]


def cell(shown: metric.Metric, numbers: dict) -> str:
    """The text of a number with its standard error, "4.744 +- 0.018"; "" without."""
    if shown.name not in numbers:
        return ""
    text = shown.text(numbers[shown.name])
    if shown.error in numbers:
        text += f" +- {shown.text(numbers[shown.error])}"
    return text


def known(names: set[str]) -> list[metric.Metric]:
    """The metrics of these names in order, without those shown as others' errors; a
    name that nobody declares here (any more) stands for itself.
    """
    errors = {m.error for m in metric.metrics() if m.name in names}
    known = [m for m in metric.metrics() if m.name in names]
    strange = sorted(names - {m.name for m in known})
    known += [metric.Metric(name, form="{:.6g}") for name in strange]
    return [m for m in known if m.name not in errors]
