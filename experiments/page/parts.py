"""Pieces of HTML that several sections have."""

from collections.abc import Callable

from experiments.page import charts
from experiments.page.markup import Markup, image, join, tag

_LONGEST = 200  # Characters of one value.


def cards(runs: list, show: Callable) -> Markup:
    """What `show` makes of each run, side by side where there is room."""
    if len(runs) == 1:
        return show(runs[0])
    found = [
        tag("div", tag("h3", chip(number), run.name), show(run), class_="card")
        for number, run in enumerate(runs)
    ]
    return tag("div", *found, class_="cards")


def chip(number: int) -> Markup:
    """The letter of a run in its color."""
    style = f"background:{charts.color(number)}"
    return tag("span", charts.letter(number), class_="chip", style=style)


def headings(runs: list, word: str) -> list:
    """Of a table's columns: a run each; of one run `word`."""
    if len(runs) == 1:
        return [word]
    return [join([chip(i), run.name]) for i, run in enumerate(runs)]


def panels(found: dict[str, bytes]) -> Markup:
    """Charts side by side: {name: PNG}."""
    figures = [
        tag("figure", tag("figcaption", name), image(png, f"Chart: {name}"))
        for name, png in found.items()
    ]
    return tag("div", *figures, class_="panels")


def absent(run, name: str) -> Markup:
    """That something is missing, and the command that makes it."""
    return tag("p", f"{name} is not there. This makes it: ", tag("code", run.evaluate))


def plain(value) -> str:
    """A JSON value as a short text."""
    text = "none" if value is None else str(value)
    if isinstance(value, bool):
        text = text.lower()
    elif isinstance(value, int):
        text = f"{value:,}"
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} ..."
