"""HTML from small functions. What is not `Markup` is text, and is escaped."""

import base64
import html
import re
from collections.abc import Iterable

_LONGEST = 2000  # Characters of one text that are shown.
# Control characters, what turns the direction of writing, and halves of characters.
_STRANGE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]"
)


class Markup(str):
    """Text that is HTML already."""


def markup(value) -> Markup:
    """Anything as HTML: `Markup` as it is, all else as text."""
    if isinstance(value, Markup):
        return value
    text = str(value)
    if len(text) > _LONGEST:
        text = f"{text[:_LONGEST]} ..."
    return Markup(html.escape(_STRANGE.sub("\N{REPLACEMENT CHARACTER}", text)))


def join(parts: Iterable, separator: str = "") -> Markup:
    """Parts on end."""
    return Markup(separator.join(map(markup, parts)))


def tag(name: str, *children, **attributes) -> Markup:
    """An element; `class_` stands for the attribute class, None for no attribute."""
    written = "".join(
        f' {key.rstrip("_")}="{markup(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    return Markup(f"<{name}{written}>{join(children)}</{name}>")


def image(png: bytes, alt: str, class_: str | None = None) -> Markup:
    """A picture within the page."""
    class_ = f' class="{markup(class_)}"' if class_ else ""
    data = base64.b64encode(png).decode()
    return Markup(
        f'<img{class_} alt="{markup(alt)}" src="data:image/png;base64,{data}">'
    )


def table(
    header: list, rows: Iterable[list], classes: Iterable | None = None
) -> Markup:
    """A table that scrolls by itself where it is wider than the screen.

    Args:
      header: list of cells; the first names the rows.
      rows: lists of cells.
      classes: for each row the class of its element, or None.
    """
    rows = list(rows)
    classes = [None] * len(rows) if classes is None else classes
    lines = [tag("tr", *(tag("th", cell, scope="col") for cell in header))]
    for (first, *rest), class_ in zip(rows, classes, strict=True):
        cells = [tag("th", first, scope="row"), *(tag("td", cell) for cell in rest)]
        lines.append(tag("tr", *cells, class_=class_))
    return tag("div", tag("table", *lines), class_="wide")
