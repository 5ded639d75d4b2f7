"""Lines of text files: read in pieces, and cleaned of what is no text.

A file written elsewhere ends its lines by CR LF or CR, begins with a byte order mark,
or has blanks where nobody sees them. A model would learn and score those, so no reader
lets them through: `clean` says what a line is.
"""

import codecs
from collections.abc import Iterator

from absl import logging

from data.reading import errors, files

TRIMMED = "lines with CR, a byte order mark or trailing blanks"

_CHUNK_BYTES = 1 << 20
# A line is read whole; no sentence has a million characters.
_LONGEST_LINE = 1 << 20
_LARGEST_FILE = 1 << 26
_BYTE_ORDER_MARK = "\ufeff"


def clean(line: str) -> str:
    """A str without a leading byte order mark and without trailing white space."""
    return line.lstrip(_BYTE_ORDER_MARK).rstrip()


def read_whole(path: str) -> list[str]:
    """Reads a small file of text, such as one to decode.

    Args:
      path: str; `~` is the home folder.

    Returns:
      List of str, every line cleaned, empty ones too. What was cleaned is logged.
    """
    path = files.expanded(path)
    try:
        with files.open_binary(path) as file:
            content = file.read(_LARGEST_FILE + 1)
    except OSError as error:
        raise _unreadable(path, error) from error
    if len(content) > _LARGEST_FILE:
        raise errors.DataError(
            f"{path} must have at most {_LARGEST_FILE:,} bytes. It has more"
        )
    found, trimmed = [], 0
    for number, raw in enumerate(split(content, path), start=1):
        try:
            line = raw.decode()
        except UnicodeDecodeError as error:
            raise errors.DataError(
                f"Line {number} of {path} is no UTF-8. "
                f"Received: {errors.one_line(error)}"
            ) from error
        found.append(clean(line))
        trimmed += found[-1] != line
    if not any(found):
        raise errors.DataError(f"{path} has no line of text: put one in each line")
    log_trimmed(trimmed, path)
    return found


def read_in_pieces(path: str) -> Iterator[list[bytes]]:
    """Iterates over lists of raw lines of a file, about a megabyte at a time.

    As `split` gives them. A local path, or one of a bucket.
    """
    rest = None
    try:
        with files.open_binary(path) as file:
            while block := file.read(_CHUNK_BYTES):
                if rest is None:
                    _refuse_utf16(block, path)
                text = (rest or b"") + block
                # A last CR may be half of a CR LF.
                end = max(text.rfind(b"\n"), text.rfind(b"\r", 0, -1)) + 1
                rest = text[end:]
                yield _split(text[:end], path)
                _split(rest, path)
    except OSError as error:
        raise _unreadable(path, error) from error
    if rest:
        yield _split(rest, path)


def split(content: bytes, name: str) -> list[bytes]:
    """The raw lines of a file's bytes, each without its LF; a CR stays.

    Args:
      content: bytes.
      name: str, where they are from, for messages.
    """
    _refuse_utf16(content, name)
    return _split(content, name)


def log_trimmed(count: int, name: str) -> None:
    """Says once for a file or corpus how many lines `clean` changed, if any."""
    if count:
        logging.warning("%s: %s %s trimmed.", name, f"{count:,}", TRIMMED)


def _split(content, name):
    lines = [x.removesuffix(b"\n") for x in content.splitlines(keepends=True)]
    if max(map(len, lines), default=0) > _LONGEST_LINE:
        raise errors.DataError(
            f"{name} has a line of more than {_LONGEST_LINE:,} bytes: it must be "
            "text, a sentence a line"
        )
    return lines


def _refuse_utf16(start, name):
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) and b"\0" in start:
        raise errors.DataError(
            f"{name} is UTF-16 or UTF-32; save it as UTF-8. "
            f"Received: it begins with the bytes {start[:4].hex(' ')}"
        )


def _unreadable(path, error):
    return errors.DataNotFoundError(
        f"{path} cannot be read. Received: {errors.one_line(error)}"
    )
