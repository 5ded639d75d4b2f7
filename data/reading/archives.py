"""Reads files that may be damaged or hostile: within bounds, and into memory only.

Nothing is extracted to disk, so no member's name can point outside a folder, and
nothing is unpacked beyond a limit. Whatever is wrong becomes a `DataError` of one
line. Paths are those of `data.reading.files`: local ones, or those of a bucket.
"""

import contextlib
import gzip
import hashlib
import lzma
import tarfile
import zlib

from data.reading import errors, files

_CHUNK = 1 << 20
_GZIP = b"\x1f\x8b"
# All that is no member's content: 2,048 blocks, where official archives have hundreds.
_MAX_HEADERS = 1 << 20
# What `xz -9` asks for is 65 MiB; a hostile header may ask for 4 GiB.
_XZ_MEMORY = 128 << 20
# The last three are what tarfile lets through from hostile headers.
_READING_ERRORS = (
    OSError,
    EOFError,
    MemoryError,
    lzma.LZMAError,
    tarfile.TarError,
    zlib.error,
    OverflowError,
    RecursionError,
    ValueError,
)


def read(path, limit):
    """Reads a file, unpacking it where its name ends in ".xz".

    Args:
      path: str.
      limit: int, the most bytes there may be, after unpacking.

    Returns:
      bytes, never empty.
    """
    with _explained(path), files.open_binary(path) as file:
        if path.endswith(".xz"):
            content = _unpack_xz(file, path, limit)
        else:
            content = file.read(limit + 1)
        if len(content) > limit:
            raise _oversized(path, limit)
        if not content:
            raise errors.DataError(f"{path} is empty. Put the whole file there")
        return content


@contextlib.contextmanager
def open_gzip(path):
    """Opens a file to read its bytes; a context manager.

    It is unpacked on the way where it begins as gzip does, whatever its name. What
    goes wrong within the context is a `DataError`.
    """
    with _explained(path):
        with files.open_binary(path) as file:
            packed = file.read(len(_GZIP)) == _GZIP
        with files.open_binary(path) as file:
            if packed:
                with gzip.GzipFile(fileobj=file) as unpacked:
                    yield unpacked
            else:
                yield file


def read_members(path, names, limit, total_limit, md5):
    """Reads members of a `.tar.gz` whose md5 is known.

    Args:
      path: str.
      names: list of str, the members to read, by their full names.
      limit: int, the most bytes one of them may have.
      total_limit: int, the most bytes that the archive may unpack to.
      md5: str, of the whole archive, in hexadecimal.

    Returns:
      List of bytes in the order of `names`.
    """
    with _explained(path):
        _check_digest(path, md5, "md5")
    wanted = set(names)
    found = {}
    for name, content in members(path, wanted.__contains__, limit, total_limit):
        found[name] = content
        if len(found) == len(names):
            break
    missing = [name for name in names if name not in found]
    if missing:
        raise errors.DataError(
            f"{path} must have the members of the official archive. "
            f"Missing: {', '.join(missing)}"
        )
    return [found[name] for name in names]


def members(path, wanted, limit, total_limit):
    """Iterates over members of a `.tar.gz`, reading it as a stream.

    The memory for headers, which may be as long as they say, is bounded too.

    Args:
      path: str.
      wanted: str -> bool, whether to read the member of that name.
      limit: int, the most bytes one of them may have.
      total_limit: int, the most bytes that the archive may unpack to.

    Yields:
      (name, bytes), each name once, in the order of the archive.
    """
    seen = set()
    with (
        _explained(path),
        files.open_binary(path) as packed,
        gzip.GzipFile(fileobj=packed) as unpacked,
    ):
        # Read as a stream: tarfile never goes back, so what it has unpacked can
        # be counted, headers and unwanted members included.
        bounded = _Bounded(unpacked, path, total_limit)
        archive = tarfile.open(fileobj=bounded, mode="r|", bufsize=_CHUNK)
        while (member := archive.next()) is not None:
            archive.members.clear()  # It would keep them all.
            plain = member.isreg() and not member.issparse()
            bounded.expect(member.size if plain else 0)
            if member.name in seen or not wanted(member.name):
                continue
            where = f"{path}, member {member.name},"
            if not plain:
                raise errors.DataError(
                    f"{where} must be a plain file. Received: tar type {member.type!r}"
                )
            if member.size > limit:
                raise _oversized(where, limit)
            seen.add(member.name)
            yield member.name, archive.extractfile(member).read()


def check_sha256(path, sha256):
    """Raises unless the file's sha256 (hexadecimal) is this one."""
    with _explained(path):
        _check_digest(path, sha256, "sha256")


class _Bounded:
    """A readable file that raises instead of giving more than `limit` bytes in all.

    Nor does it give more than `_MAX_HEADERS` beyond the members that were announced.
    """

    def __init__(self, file, path, limit):
        self._file = file
        self._path = path
        self._limit = limit
        self._given = 0
        self._expected = _MAX_HEADERS + 2 * _CHUNK  # It is read ahead, and padded.

    def expect(self, size):
        """Announces a member of so many bytes."""
        self._expected += size

    def read(self, size):
        content = self._file.read(size)
        self._given += len(content)
        if self._given > self._limit:
            raise _oversized(self._path, self._limit)
        if self._given > self._expected:
            raise errors.DataError(
                f"{self._path} has headers of more than {_MAX_HEADERS:,} bytes"
            )
        return content


def _unpack_xz(file, path, limit):
    """At most `limit + 1` bytes of the xz stream in `file`."""
    decompressor = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_XZ_MEMORY)
    content = bytearray()
    while not decompressor.eof and len(content) <= limit:
        packed = b""
        if decompressor.needs_input:
            packed = file.read(_CHUNK)
            if not packed:
                raise errors.DataError(
                    f"{path} is truncated: its xz stream has no end. Copy it again"
                )
        content += decompressor.decompress(packed, limit + 1 - len(content))
    if decompressor.unused_data:
        raise errors.DataError(f"{path} has bytes after its xz stream. Copy it again")
    return content


def _check_digest(path, expected, algorithm):
    """Raises unless the file's md5 or sha256 is the expected one, in hexadecimal."""
    digest = hashlib.new(algorithm, usedforsecurity=False)
    with files.open_binary(path) as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    if digest.hexdigest() != expected:
        raise errors.DataError(
            f"{path} is not the official archive, whose {algorithm} is {expected}: "
            f"damaged, or an unfinished download. Received: {algorithm} "
            f"{digest.hexdigest()}"
        )


def _oversized(where, limit):
    return errors.DataError(
        f"{where} is larger than it may be, {limit:,} bytes unpacked. Nothing "
        "beyond that was read"
    )


@contextlib.contextmanager
def _explained(path):
    """Turns what reading may raise into a `DataError` of one line."""
    try:
        yield
    except errors.DataError:
        raise
    except _READING_ERRORS as error:
        raise errors.DataError(
            f"{path} is damaged or cannot be read; copy it again. "
            f"Received: {errors.one_line(error)}"
        ) from error
