"""Tables as people see them on terminals of any width, and as files receive them."""

import io
import re

import pytest

from experiments import terminal

ROWS = [
    {"": "negative ELBO (bits/dim)", "raw weights": "4.062 +- 0.006", "all": 1234.5678},
    {"": "an [b]odd[/] :smile: name", "raw weights": "-", "all": float("nan")},
]
NUMBERS = ["4.062 +- 0.006", "1234.568"]
MEANING = "what the latents of an image tell its decoder, in bits, [0, inf)"


class Screen(io.StringIO):
    """A terminal, as far as `rich` asks."""

    def isatty(self):
        return True


@pytest.fixture(params=[200, 60, 40, 10])
def width(request, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(request.param))
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    return request.param


def without_codes(text):
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


def test_a_file_gets_a_plain_line_for_each_row(width, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert terminal.rows(ROWS, io.StringIO()).splitlines() == [
        "                              raw weights       all",
        "---------------------------------------------------",
        "negative ELBO (bits/dim)   4.062 +- 0.006  1234.568",
        "an [b]odd[/] :smile: name               -         -",
    ]
    groups = [("First:", [("a", MEANING * 9), ("long", "b")]), ("Second:", [])]
    assert terminal.listings(groups, io.StringIO()).splitlines() == [
        "First:",
        f"  a     {MEANING * 9}",
        "  long  b",
        "",
        "Second:",
    ]


def test_no_number_is_cut_or_wrapped_on_a_terminal(width):
    text = terminal.rows(ROWS, Screen())
    lines = without_codes(text).splitlines()
    assert "\x1b[1m" in text  # The headings.
    assert any(all(number in line for number in NUMBERS) for line in lines)
    # As wide as the terminal, or as the numbers and the longest word want.
    assert max(map(len, lines)) <= max(
        width, len("(bits/dim)  4.062 +- 0.006  1234.568")
    )
    words = " ".join(lines).split()
    for row in ROWS:
        assert set(row[""].split()) <= set(words)
    assert "…" not in text


def test_meanings_are_wrapped_in_their_column(width):
    text = terminal.listing([("a_name", MEANING)], Screen())
    lines = text.splitlines()
    indent = len("  a_name  ")
    assert max(map(len, lines)) <= max(width, indent + len("decoder,"))
    assert all(line[:indent].strip() in ("", "a_name") for line in lines)
    assert " ".join(line[indent:].strip() for line in lines) == MEANING
