"""A `.tar` of small PNG images, read one image at a time and never as a whole.

The archive is scanned once for where its images lie (12 bytes each in memory); what
was found is kept beside it, in `<archive>.index.npy`, for the next time. An image is
then one read at a known place, so that any order of any part of the archive can be
streamed, and repeated when a run resumes.
"""

import io
import os
import struct
import tarfile
import zlib

import numpy as np
from PIL import Image

from data.reading import errors, files

_BLOCK = 512
_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_HEADER_BYTES = 33  # Of a PNG: the signature and the first chunk, with the size.
_MAX_IMAGE_BYTES = 1 << 16
_READING_ERRORS = (OSError, tarfile.TarError, ValueError)


class PngArchive:
    """Where the images of an archive lie, and how to read some of them.

    Args:
      path: str, an uncompressed `.tar` on a local disk.
      height: int, of every image.
      width: int, of every image.
      progress: callable, receives a fraction of the scan that is done; or None.

    Images are numbered in the order of the archive.
    """

    def __init__(self, path, height, width, progress=None):
        if "://" in path:
            raise errors.DataError(
                f"An archive is read on a local disk; copy it. Received: {path}"
            )
        self.path = path
        self.shape = (height, width, 3)
        try:
            stat = os.stat(path)
            self._file = open(path, "rb", buffering=0)
        except OSError as error:
            raise errors.DataNotFoundError(
                f"{path} cannot be read: {error.strerror}"
            ) from error
        identity = np.array([stat.st_size, stat.st_mtime_ns, height, width], np.int64)
        found = _read_index(path, identity)
        if found is None:
            found = self._scan(stat.st_size, progress)
            _write_index(path, identity, found)
        self._offsets, self._sizes = found

    def __len__(self):
        return len(self._offsets)

    def read(self, positions):
        """Images by their positions: uint8 `[len(positions), H, W, 3]`."""
        images = np.empty((len(positions), *self.shape), np.uint8)
        for i, position in enumerate(positions):
            size = int(self._sizes[position])
            content = os.pread(self._file.fileno(), size, int(self._offsets[position]))
            images[i] = self._decode(content, size, position)
        return images

    def _decode(self, content, size, position):
        where = f"{self.path}, image {position},"
        try:
            if len(content) != size:
                raise EOFError("the file ends within it")
            with Image.open(io.BytesIO(content), formats=["PNG"]) as image:
                if image.size != (self.shape[1], self.shape[0]):
                    raise ValueError(f"its size is {image.size}")
                return np.asarray(image.convert("RGB"))
        except Exception as error:  # Damage shows as any of many of Pillow's.
            raise errors.DataError(
                f"{where} is damaged; copy the archive again. "
                f"Received: {errors.one_line(error)}"
            ) from error

    def _scan(self, total, progress):
        """(offsets int64 `[N]`, sizes int32 `[N]`) of all PNG members, checked."""
        offsets, sizes = [], []
        try:
            with open(self.path, "rb", buffering=1 << 20) as file:
                position = 0
                while True:
                    block = file.read(_BLOCK)
                    if len(block) < _BLOCK or block == bytes(_BLOCK):
                        break
                    member = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
                    start, size = position + _BLOCK, member.size
                    if size < 0 or start + size > total:
                        raise errors.DataError(
                            f"{self.path} is truncated: {member.name!r} ends beyond "
                            f"it, at byte {start + size:,}. Copy it again"
                        )
                    if member.isreg() and member.name.lower().endswith(".png"):
                        head = file.read(_HEADER_BYTES)
                        self._check_head(head, member)
                        offsets.append(start)
                        sizes.append(size)
                    position = start + -(-size // _BLOCK) * _BLOCK
                    file.seek(position)
                    if progress and len(offsets) % 20_000 == 1:
                        progress(position / total)
        except errors.DataError:
            raise
        except _READING_ERRORS as error:
            raise errors.DataError(
                f"{self.path} is no .tar, or damaged. "
                f"Received: {errors.one_line(error)}"
            ) from error
        if not offsets:
            raise errors.DataError(f"{self.path} has no PNG images")
        return np.array(offsets, np.int64), np.array(sizes, np.int32)

    def _check_head(self, head, member):
        height, width, _ = self.shape
        where = f"{self.path}, member {member.name},"
        if member.size > _MAX_IMAGE_BYTES:
            raise errors.DataError(
                f"{where} is larger than a {height}x{width} image may be: "
                f"{member.size:,} bytes"
            )
        ok = len(head) == _HEADER_BYTES and head[:8] == _SIGNATURE
        if ok:
            crc = zlib.crc32(head[12:29])
            ok = head[12:16] == b"IHDR" and crc == struct.unpack(">I", head[29:33])[0]
        if not ok:
            raise errors.DataError(f"{where} is not a PNG image, or damaged")
        found = struct.unpack(">II", head[16:24])
        if found != (width, height):
            raise errors.DataError(
                f"{where} must have {width} x {height} pixels. "
                f"Received: {found[0]} x {found[1]}"
            )


def _index_path(path):
    return f"{path}.index.npy"


def _read_index(path, identity):
    """The kept scan of this very file, or None."""
    try:
        kept = files.map_array(_index_path(path))
    except ValueError:
        return None
    if kept.dtype != np.int64 or kept.ndim != 2 or kept.shape[1] != 2 or len(kept) < 3:
        return None
    offsets, sizes = np.ascontiguousarray(kept[2:].T)
    sound = (
        np.array_equal(kept[:2].ravel(), identity)
        and 0 <= offsets.min()
        and 0 < sizes.min()
        and sizes.max() <= _MAX_IMAGE_BYTES
        and offsets.max() <= identity[0] - sizes[offsets.argmax()]
    )
    return (offsets, sizes.astype(np.int32)) if sound else None


def _write_index(path, identity, found):
    """Keeps a scan beside the archive, or not at all where one may not write."""
    temporary = f"{_index_path(path)}.{os.getpid()}"
    try:
        with open(temporary, "wb") as file:
            np.save(file, np.vstack([identity.reshape(2, 2), np.stack(found, 1)]))
        os.replace(temporary, _index_path(path))
    except OSError:
        return
