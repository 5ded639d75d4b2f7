"""IDX, the format of MNIST and of the sets that replace it: arrays of bytes.

  http://yann.lecun.com/exdb/mnist/ (its last section)

Two zeros, a byte of type (8: unsigned bytes), a byte of rank, the lengths of the axes
as big-endian int32, and the values, the last axis fastest.
"""

import math
import struct

import numpy as np

from data.reading import archives, errors

_UNSIGNED_BYTES = bytes([0, 0, 8])


def read(path: str, shape: tuple[int, ...], what: str) -> np.ndarray:
    """Reads a file, plain or gzipped, whose shape is known.

    Nothing is read beyond what such a file has, but for one byte.

    Args:
      path: str.
      shape: tuple of ints.
      what: str, what the file must hold, for messages, such as "labels".

    Returns:
      uint8 array.
    """
    rank, size = len(shape), math.prod(shape)
    with archives.open_gzip(path) as file:
        _check_magic(file.read(4), rank, path, what)
        _check_shape(file.read(4 * rank), shape, path, what)
        values = file.read(size + 1)
    if len(values) < size:
        raise errors.DataError(
            f"{path} is truncated: {size:,} bytes of {what} must follow its header; "
            f"copy it again. Received: {len(values):,}"
        )
    if len(values) > size:
        raise errors.DataError(
            f"{path} must end after {size:,} bytes of {what}, and has more; copy it "
            "again. Nothing beyond that was read"
        )
    return np.frombuffer(values, np.uint8).reshape(shape)


def _check_magic(start, rank, path, what):
    wanted = _UNSIGNED_BYTES + bytes([rank])
    if start == wanted:
        return
    other = len(start) == 4 and start[:3] == _UNSIGNED_BYTES
    hint = "another file under that name" if other else "no IDX file of bytes"
    raise errors.DataError(
        f"{path} must hold {what}, and so begin with the bytes {wanted.hex(' ')} (the "
        f"magic number {int.from_bytes(wanted)}); it is {hint}. Received: "
        + (f"{start.hex(' ')} ({int.from_bytes(start)})" if start else "an empty file")
    )


def _check_shape(header, shape, path, what):
    if len(header) < 4 * len(shape):
        raise errors.DataError(
            f"{path} is truncated within its header; copy it again. "
            f"Received: {4 + len(header)} bytes"
        )
    found = struct.unpack(f">{len(shape)}I", header)
    if found != tuple(shape):
        raise errors.DataError(
            f"{path} must hold {what} of shape {list(shape)}; is it another file "
            f"under that name? Received: {list(found)}"
        )
