"""A corpus: lines of text, read in pieces, with a count of everything done to them."""

import collections
import dataclasses
import hashlib
import json
from collections.abc import Callable

from data.text import lines as text_lines

# Another number for another text of the same files: `fingerprint` tells them apart.
_CLEANING = 2


@dataclasses.dataclass(frozen=True, eq=False)
class Corpus:
    """One split of a text data set, a sentence a line.

    Attributes:
      name: str, such as "lm1b/test".
      note: str, what a number measured on it has to say beside it.
      chunks: () -> iterator of lists of bytes, raw lines as `lines.split` gives them.
      sources: tuple, what tells it from another corpus: file names and sizes.
      known_words: optional int, how many words (ends of sentences included) there
        must be.
    """

    name: str
    chunks: Callable
    note: str = ""
    sources: tuple = ()
    known_words: int | None = None

    def fingerprint(self):
        """Hexadecimal; another corpus, or other files, have another one."""
        told = json.dumps([_CLEANING, self.name, self.note, self.sources])
        return hashlib.sha256(told.encode()).hexdigest()[:8]

    def cleaned(self, counts=None):
        """Iterates over lists of str, the lines that can be used.

        Empty lines are left out, bytes that are no UTF-8 become U+FFFD, and what
        `lines.clean` names goes; all are counted.

        Args:
          counts: optional `collections.Counter`, receives "lines", "empty lines",
            "lines with invalid UTF-8" and `lines.TRIMMED`.
        """
        counts = collections.Counter() if counts is None else counts
        for chunk in self.chunks():
            found = []
            for raw in _split_again(chunk):
                counts["lines"] += 1
                try:
                    line = raw.decode()
                except UnicodeDecodeError:
                    counts["lines with invalid UTF-8"] += 1
                    line = raw.decode(errors="replace")
                cleaned = text_lines.clean(line)
                if cleaned:
                    found.append(cleaned)
                    counts[text_lines.TRIMMED] += cleaned != line
                else:
                    counts["empty lines"] += 1
            if found:
                yield found

    def lines(self):
        """Iterates over the lines that can be used, each a str."""
        for lines in self.cleaned():
            yield from lines


def _split_again(chunk):
    """The lines of a chunk that may come from a library which splits at LF alone."""
    for raw in chunk:
        yield from raw.splitlines(keepends=True) or [b""]


def num_words(line):
    """Words of a str, separated by ASCII whitespace, and one for the sentence's end."""
    return len(line.encode().split()) + 1


def num_characters(line):
    """Characters of a str, and one for the sentence's end."""
    return len(line) + 1
