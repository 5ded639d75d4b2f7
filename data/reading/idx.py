"""IDX, the format of MNIST and of the sets that replace it: arrays of bytes.

  http://yann.lecun.com/exdb/mnist/ (its last section)

Two zeros, a byte of type (8: unsigned bytes), a byte of rank, the lengths of the axes as
big-endian int32, and the values, the last axis fastest.
"""

import math
import struct

import numpy as np

from data.reading import archives, errors

_UNSIGNED_BYTES = 8
# So much too long is read, to tell a file with something after its end from a bomb.
_SPARE = 1 << 20


def read(path, shape, what):
    """Reads a file, plain or gzipped, of which all but the values is known.

    Args:
      path: str.
      shape: tuple of ints, that the array must have.
      what: str, what the file must hold, for messages, such as "training labels".

    Returns:
      uint8 array.
    """
    size = math.prod(shape)
    content = archives.read_gzip(path, _header_bytes(len(shape)) + size + _SPARE)
    rank = _rank(content, path, what)
    if rank != len(shape):
        raise errors.DataError(
            f"{path} must hold {what}, an array of rank {len(shape)} (magic number "
            f"{_magic(len(shape))}); is it another file under that name? "
            f"Received: rank {rank} (magic number {_magic(rank)})"
        )
    header = _header_bytes(rank)
    if len(content) < header:
        raise errors.DataError(
            f"{path} is truncated within its header of {header} bytes; copy it again. "
            f"Received: {len(content)} bytes"
        )
    found = struct.unpack_from(f">{rank}I", content, 4)
    if found != tuple(shape):
        raise errors.DataError(
            f"{path} must hold {what} of shape {list(shape)}; is it another file under "
            f"that name? Received: {list(found)}"
        )
    values = len(content) - header
    if values < size:
        raise errors.DataError(
            f"{path} is truncated: {size:,} bytes must follow its header; copy it "
            f"again. Received: {values:,}"
        )
    if values > size:
        raise errors.DataError(
            f"{path} must end {size:,} bytes after its header; copy it again. "
            f"Received: {values - size:,} bytes more"
        )
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape)


def _rank(content, path, what):
    """The rank that the first four bytes tell, at least 1."""
    start = content[:4]
    if len(start) < 4 or start[:3] != bytes([0, 0, _UNSIGNED_BYTES]) or not start[3]:
        raise errors.DataError(
            f"{path} must be an IDX file of {what}, which begins with the bytes 00 00 "
            f"08 and its rank. Received: {start.hex(' ')}"
        )
    return start[3]


def _header_bytes(rank):
    return 4 + 4 * rank


def _magic(rank):
    """The first four bytes as an int, as descriptions of the format have it."""
    return (_UNSIGNED_BYTES << 8) + rank
