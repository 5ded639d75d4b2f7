"""The files in which CIFAR-10 is published, and the two formats inside them.

A batch file holds 10,000 images, as records (a byte of label, then 3,072 of image:
red, green and blue planes, each row by row) or as a pickle of the same bytes.
"""

import os
from collections.abc import Callable
from concurrent import futures
from typing import NamedTuple

import numpy as np

from data.reading import archives, errors, files, pickles

BINARY_ARCHIVE = "cifar-10-binary.tar.gz"
PYTHON_ARCHIVE = "cifar-10-python.tar.gz"
ARCHIVE_MD5 = {
    BINARY_ARCHIVE: "c32a1d4ab5d03f1284b67883e8d87530",
    PYTHON_ARCHIVE: "c58f30108f718f92721af3b95e74349a",
}

_PLANES = (3, 32, 32)
_IMAGE_BYTES = 3 * 32 * 32
_RECORD_BYTES = 1 + _IMAGE_BYTES
_MAX_LABEL = 9
_MAX_RECORDS = 10_000
_MAX_ARCHIVE_BYTES = 192 << 20


def read(names, data_dir, archive_md5):
    """Reads batch files from the first place in `data_dir` that has them.

    Args:
      names: list of str, such as "data_batch_1".
      data_dir: str.
      archive_md5: dict from the archives' names to md5 in hexadecimal.

    Returns:
      List of (uint8 images `[N, 32, 32, 3]`, int32 labels `[N]`), one for each name,
      or `None` where no place has any.
    """
    found = _read_folder(_BINARY, data_dir, names)
    for kind in (_BINARY, _PYTHON):
        found = found or _read_archive(kind, data_dir, names, archive_md5)
    for kind in (_BINARY, _PYTHON):
        folder = os.path.join(data_dir, kind.folder)
        found = found or _read_folder(kind, folder, names)
    return found


def _from_records(content, where):
    """(images, labels) of records."""
    if len(content) % _RECORD_BYTES:
        raise errors.DataError(
            f"{where} must be whole records of {_RECORD_BYTES} bytes; it seems "
            f"truncated. Received: {len(content)} bytes"
        )
    records = np.frombuffer(content, np.uint8).reshape([-1, _RECORD_BYTES])
    return _checked(records[:, 1:], records[:, 0], where)


def _from_pickle(content, where):
    """(images, labels) of a pickled dict with the keys `data` and `labels`."""
    batch = pickles.loads(content, where)
    planes, labels = batch.get(b"data"), batch.get(b"labels")
    if not isinstance(planes, np.ndarray) or not isinstance(labels, list):
        raise errors.DataError(
            f"{where} must have an array `data` and a list `labels`. Received: "
            f"{type(planes).__name__} and {type(labels).__name__}"
        )
    if planes.shape != (len(labels), _IMAGE_BYTES) or not labels:
        raise errors.DataError(
            f"{where} must have `data` of shape [N, {_IMAGE_BYTES}] and N `labels`. "
            f"Received: {list(planes.shape)} and {len(labels)} labels"
        )
    if any(type(label) is not int for label in labels):
        raise errors.DataError(f"{where} has labels that are not integers")
    # As objects, because an int in a pickle can be larger than any of NumPy's.
    return _checked(planes, np.array(labels, object), where)


def _checked(planes, labels, where):
    """(images, labels) of planes `[N, 3072]` and labels `[N]`, which it checks."""
    wrong = np.flatnonzero((labels < 0) | (labels > _MAX_LABEL))
    if wrong.size:
        raise errors.DataError(
            f"{where} must have labels 0 to {_MAX_LABEL}. Received: "
            f"{labels[wrong[0]]} at image {wrong[0]}"
        )
    images = planes.reshape([-1, *_PLANES]).transpose([0, 2, 3, 1])
    return np.ascontiguousarray(images), labels.astype(np.int32)


class _Kind(NamedTuple):
    """One of the two ways in which the official site publishes the batch files."""

    archive: str
    folder: str  # The archive's only one.
    suffixes: tuple[str, ...]  # Of a batch file; inside the archive, the first.
    max_bytes: int  # Of a batch file.
    parse: Callable


_BINARY = _Kind(
    archive=BINARY_ARCHIVE,
    folder="cifar-10-batches-bin",
    suffixes=(".bin", ".bin.xz"),
    max_bytes=_MAX_RECORDS * _RECORD_BYTES,
    parse=_from_records,
)
_PYTHON = _Kind(
    archive=PYTHON_ARCHIVE,
    folder="cifar-10-batches-py",
    suffixes=("",),
    max_bytes=32 << 20,  # The images' file names and labels are in it too.
    parse=_from_pickle,
)


def _read_folder(kind, folder, names):
    """The batches in a folder; `None` if it has none, an error if it has some."""
    paths = {name: _existing(os.path.join(folder, name), kind) for name in names}
    missing = [name for name, path in paths.items() if path is None]
    if len(missing) == len(names):
        return None
    if missing:
        raise errors.DataNotFoundError(
            f"{folder} must have all batch files of the split. Missing: "
            + ", ".join(name + kind.suffixes[0] for name in missing)
        )

    def read_one(path):
        return kind.parse(archives.read(path, kind.max_bytes), path)

    # Unpacking takes two seconds a file, outside Python's lock.
    with futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(read_one, paths.values()))


def _existing(stem, kind):
    """The first of the paths `stem` + suffix that exists, or `None`."""
    paths = (stem + suffix for suffix in kind.suffixes)
    return next(filter(files.exists, paths), None)


def _read_archive(kind, folder, names, archive_md5):
    """The batches in an archive; `None` if there is no archive."""
    path = os.path.join(folder, kind.archive)
    if not files.exists(path):
        return None
    members = [f"{kind.folder}/{name}{kind.suffixes[0]}" for name in names]
    contents = archives.read_members(
        path,
        members,
        limit=kind.max_bytes,
        total_limit=_MAX_ARCHIVE_BYTES,
        md5=archive_md5[kind.archive],
    )
    return [
        kind.parse(content, f"{path}, member {member},")
        for member, content in zip(members, contents, strict=True)
    ]
