"""Tables and listings for the terminal, laid out by `rich`.

On a terminal headings are bold, and long names and meanings are wrapped within their
column. A file or a pipe gets plain text, a line for each row however long.
Nothing is ever cut and no number is wrapped: where a terminal is too narrow for the
numbers, the table is wider than the terminal.
"""

import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TextIO

from rich import box, console, table, text

_RULE = box.Box("    \n    \n----\n    \n    \n    \n    \n    \n", ascii=True)
_UNBOUNDED = 100_000  # Characters in a line of a file.


def rows(found: Sequence[Mapping[str, object]], file: TextIO | None = None) -> str:
    """Rows under headings; floats with three decimals, and what is no number as "-".

    The first column, of names, is the one that may be wrapped.

    Args:
      found: dicts with the same keys, which are the headings; at least one.
      file: where the text will be printed; None for standard output.
    """
    headings = list(found[0])
    cells = [[_cell(row[name]) for name in headings] for row in found]
    made = table.Table(
        box=_RULE,
        show_edge=False,
        padding=(0, 1, 0, 0),
        pad_edge=False,
        header_style="bold",
    )
    for number, name in enumerate(headings):
        made.add_column(
            text.Text(name), justify="right" if number else "left", overflow="fold"
        )
    return _rendered(made, headings, cells, 0, file)


def listing(found: Iterable[Sequence[str]], file: TextIO | None = None) -> str:
    """Names and what they mean, indented: sequences of text, all of one length.

    The last column is the one that may be wrapped.
    """
    cells = [[f"  {name}", *others] for name, *others in found]
    if not cells:
        return ""
    made = table.Table.grid(padding=(0, 2, 0, 0))
    for _ in cells[0]:
        made.add_column(overflow="fold")
    return _rendered(made, [""] * len(cells[0]), cells, len(cells[0]) - 1, file)


def listings(
    groups: Iterable[tuple[str, Iterable[Sequence[str]]]], file: TextIO | None = None
) -> str:
    """Listings, each under its title, with an empty line between them."""
    return "\n\n".join(f"{title}\n{listing(found, file)}" for title, found in groups)


def _cell(value):
    if isinstance(value, float):
        return "-" if math.isnan(value) else f"{value:.3f}"
    return str(value)


def _rendered(made, headings, cells, wrapped, file):
    """The text of a table of which one column, number `wrapped`, may be wrapped."""
    for row in cells:
        made.add_row(*map(text.Text, row))  # `Text`: brackets in it are no markup.
    file = file or sys.stdout
    screen = console.Console(
        file=file, force_terminal=file.isatty(), force_jupyter=False
    )
    available = screen.width if file.isatty() else _UNBOUNDED
    screen.width = _UNBOUNDED
    if screen.measure(made).maximum > available:
        for number, column in enumerate(made.columns):
            # Headings are wrapped between words; what stands below them is not.
            words = headings[number].split()
            words += [word for row in cells for word in row[number].split()]
            longest = max(map(len, words), default=1)
            if number != wrapped:
                longest = max(longest, *(len(row[number]) for row in cells))
                column.width = longest
            column.min_width = longest
        screen.width = max(available, screen.measure(made).minimum)
    with screen.capture() as captured:
        screen.print(made)
    return "\n".join(line.rstrip() for line in captured.get().splitlines())
