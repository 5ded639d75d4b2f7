"""A corpus: lines of text, read in pieces, with a count of everything done to them."""

import collections
import dataclasses
import hashlib
import json
from collections.abc import Callable

from data.reading import errors, files

_CHUNK_BYTES = 1 << 20
# A line is read whole; no sentence has a million characters.
_LONGEST_LINE = 1 << 20


@dataclasses.dataclass(frozen=True, eq=False)
class Corpus:
    """One split of a text data set, a sentence a line.

    Attributes:
      name: str, such as "lm1b/test".
      note: str, what a number measured on it has to say beside it.
      chunks: () -> iterator of lists of bytes, raw lines without their ends.
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
        told = json.dumps([self.name, self.note, self.sources])
        return hashlib.sha256(told.encode()).hexdigest()[:8]

    def cleaned(self, counts=None):
        """Iterates over lists of str, the lines that can be used.

        Empty lines are left out, and bytes that are no UTF-8 become U+FFFD; both are
        counted.

        Args:
          counts: optional `collections.Counter`, receives "lines", "empty lines" and
            "lines with invalid UTF-8".
        """
        counts = collections.Counter() if counts is None else counts
        for chunk in self.chunks():
            lines = []
            for raw in chunk:
                counts["lines"] += 1
                try:
                    line = raw.decode()
                except UnicodeDecodeError:
                    counts["lines with invalid UTF-8"] += 1
                    line = raw.decode(errors="replace")
                if line.strip():
                    lines.append(line)
                else:
                    counts["empty lines"] += 1
            if lines:
                yield lines

    def lines(self):
        """Iterates over the lines that can be used, each a str."""
        for lines in self.cleaned():
            yield from lines


def read_lines(path):
    """Iterates over lists of raw lines of a file, about a megabyte at a time."""
    rest = b""
    try:
        with files.open_binary(path) as file:
            while block := file.read(_CHUNK_BYTES):
                *lines, rest = (rest + block).split(b"\n")
                yield _checked(lines, path)
                _checked([rest], path)
    except OSError as error:
        raise errors.DataError(
            f"{path} cannot be read. Received: {errors.one_line(error)}"
        ) from error
    if rest:
        yield [rest]


def split_lines(content, name):
    """The raw lines of bytes; `name` says where they are from, for messages."""
    return _checked(content.removesuffix(b"\n").split(b"\n"), name)


def _checked(lines, name):
    """The lines, none of which is too long."""
    if max(map(len, lines), default=0) > _LONGEST_LINE:
        raise errors.DataError(
            f"{name} has a line of more than {_LONGEST_LINE:,} bytes: it must be "
            "text, a sentence a line"
        )
    return lines


def num_words(line):
    """Words of a str, separated by ASCII whitespace, and one for the sentence's end."""
    return len(line.encode().split()) + 1


def num_characters(line):
    """Characters of a str, and one for the sentence's end."""
    return len(line) + 1
