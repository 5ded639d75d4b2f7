"""Data sets that `tensorflow_datasets` prepares, or has prepared."""

import os

import numpy as np
import tensorflow as tf

from data import errors

_READ_AT_ONCE = 500


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
    folder = os.path.join(data_dir, name)
    if not download and not tf.io.gfile.isdir(folder):
        return None
    # Slow to import, and many a program never needs it.
    import tensorflow_datasets as tfds

    # Whatever the library, its downloader or a broken record raises, the reader of
    # the message needs the same: which data set, where, why.
    try:
        builder = tfds.builder(name, data_dir=data_dir)
        if not builder.is_prepared():
            if not download:
                return None
            builder.download_and_prepare(download_dir=tmp_dir)
        dataset = builder.as_dataset(split=split).batch(_READ_AT_ONCE)
        parts = list(dataset.as_numpy_iterator())
    except Exception as error:
        raise errors.DataError(
            f"tensorflow_datasets cannot read or prepare {name}/{split} in {folder}; "
            "check the network, or remove that folder if it is damaged. "
            f"Received: {errors.one_line(error)}"
        ) from error
    return {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
