"""Data sets that `tensorflow_datasets` prepares, or has prepared."""

import contextlib
import os

import numpy as np

from data.reading import errors, files

_READ_AT_ONCE = 500


def data_dir_of(path, download, how_to_get_it):
    """The folder that holds a data set.

    Args:
      path: optional str; that of `tensorflow_datasets` if not given: $TFDS_DATA_DIR or
        ~/tensorflow_datasets.
      download: bool, whether it may be missing.
      how_to_get_it: str, what the error advises.

    Returns:
      str.
    """
    if path is None:
        path = os.environ.get("TFDS_DATA_DIR", "~/tensorflow_datasets")
    path = os.path.expanduser(path)
    if not download and not files.is_folder(path):
        raise errors.DataNotFoundError(
            f"`data_dir` must be a folder; make it and {how_to_get_it}. "
            f"Received: {path}"
        )
    return path


def load(name, split, data_dir, tmp_dir=None, download=False):
    """Reads a whole split into memory.

    Args:
      name: str, the data set's name in `tensorflow_datasets`.
      split: str.
      data_dir: str, the folder whose subfolder `name` holds the prepared records.
      tmp_dir: optional str, where downloads go; `data_dir`/downloads if not given.
      download: bool, whether to download and prepare what is not there.

    Returns:
      dict of arrays `[N, ...]` in the order of the records, or `None` where there is
      nothing prepared and `download` is false.
    """
    with _explained(f"{name}/{split}", os.path.join(data_dir, name)):
        source = _builder(name, data_dir, tmp_dir, download)
        if source is None:
            return None
        parts = list(_stream(source, split))
    return {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}


def builder(name, data_dir, tmp_dir=None, download=False):
    """The builder of what is prepared; arguments and None as for `load`."""
    with _explained(name, os.path.join(data_dir, name)):
        return _builder(name, data_dir, tmp_dir, download)


def stream(source, split):
    """Iterates over dicts of arrays `[n, ...]`, a part of the split each.

    Args:
      source: from `builder`.
      split: str.
    """
    with _explained(f"{source.name}/{split}", source.data_dir):
        yield from _stream(source, split)


def _builder(name, data_dir, tmp_dir, download):
    if not download and not files.is_folder(os.path.join(data_dir, name)):
        return None
    # Slow to import, and many a program never needs it.
    import tensorflow_datasets as tfds

    found = tfds.builder(name, data_dir=data_dir)
    if not found.is_prepared():
        if not download:
            return None
        found.download_and_prepare(download_dir=tmp_dir)
    return found


def _stream(source, split):
    dataset = source.as_dataset(split=split).batch(_READ_AT_ONCE)
    return dataset.as_numpy_iterator()


@contextlib.contextmanager
def _explained(what, folder):
    # Whatever the library, its downloader or a broken record raises, the reader of
    # the message needs the same: which data set, where, why.
    try:
        yield
    except errors.DataError:
        raise
    except Exception as error:
        raise errors.DataError(
            f"tensorflow_datasets cannot read or prepare {what} in {folder}; "
            "check the network, or remove that folder if it is damaged. "
            f"Received: {errors.one_line(error)}"
        ) from error
