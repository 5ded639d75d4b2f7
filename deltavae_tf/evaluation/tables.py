"""Tables of records, with the metrics' own columns: for a terminal and in Markdown."""

from collections.abc import Iterable


def terminal(rows: list[dict]) -> str:
    """A table for the terminal: dicts with the same keys, the columns -> text."""
    raise NotImplementedError


def markdown(header: list[str], rows: Iterable[list[str]]) -> str:
    """A table in Markdown."""
    raise NotImplementedError


def of_record(record: dict) -> str:
    """A record for the terminal: a metric a line; weights and splits as columns."""
    raise NotImplementedError


def columns(numbers: Iterable[dict], names: list[str] | None = None) -> list:
    """The metrics that have a column and a number in any of the dicts, in order."""
    raise NotImplementedError
