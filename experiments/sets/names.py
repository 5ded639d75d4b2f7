"""What messages about names share."""

import difflib
from collections.abc import Iterable


def near(name: str, known: Iterable[str]) -> str:
    """ "; did you mean 'x'?" with the nearest known name, or a full stop."""
    found = difflib.get_close_matches(str(name), list(known), n=1)
    return f"; did you mean {found[0]!r}?" if found else "."
