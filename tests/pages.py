"""Python code on pages of Markdown: found, run, and compared with its comments."""

import contextlib
import io
import pathlib
import re

ROOT = pathlib.Path(__file__).resolve().parents[1]
_BLOCK = re.compile(r"^```python\n(.*?)^```", re.M | re.S)
_PRINTED = re.compile(r"^print\(.*\)  # (.*)$", re.M)


def blocks(path):
    """The Python code of a page, block by block."""
    return _BLOCK.findall(path.read_text("utf-8"))


def run(path):
    """Runs a page's code in its order; what that defines.

    What a line prints stands behind it in a comment, and must be true.
    """
    scope = {"__name__": path.stem}
    for code in blocks(path):
        with contextlib.redirect_stdout(io.StringIO()) as out:
            exec(compile(code, str(path), "exec"), scope)  # Our own page.
        assert out.getvalue().splitlines() == _PRINTED.findall(code), path.name
    return scope
