"""Files by their paths: local ones, or those of a bucket, which take TensorFlow.

Whatever goes wrong in a bucket is an `OSError` too.
"""

import contextlib
import os

import numpy as np


def expanded(path: str) -> str:
    """The path with the home folder in place of a leading `~`."""
    return os.path.expanduser(path) if _is_local(path) else path


def exists(path):
    """Whether there is a file or folder of that path."""
    if _is_local(path):
        return os.path.exists(path)
    with _as_os_error():
        return _gfile().exists(path)


def is_folder(path):
    """Whether there is a folder of that path."""
    if _is_local(path):
        return os.path.isdir(path)
    with _as_os_error():
        return _gfile().isdir(path)


def names(path: str) -> list[str]:
    """The names of what a folder holds, a list of str."""
    if _is_local(path):
        return os.listdir(path)
    with _as_os_error():
        return _gfile().listdir(path)


def size(path: str) -> int:
    """How many bytes a file has."""
    if _is_local(path):
        return os.path.getsize(path)
    with _as_os_error():
        return _gfile().stat(path).length


@contextlib.contextmanager
def open_binary(path):
    """Opens a file to read its bytes; a context manager."""
    if _is_local(path):
        with open(path, "rb") as file:
            yield file
        return
    with _as_os_error(), _gfile().GFile(path, "rb") as file:
        yield file


def map_array(path):
    """The array in a local .npy file, mapped: it cannot say that it is larger than the
    file. A ValueError whatever is wrong with the file."""
    try:
        return np.lib.format.open_memmap(path, "r")
    except Exception as error:
        # NumPy reads the header as Python: damage shows as SyntaxError, TokenError,
        # TypeError, OverflowError, RecursionError and more, by what is damaged.
        raise ValueError(f"{os.path.basename(path)}: {error}") from error


def _is_local(path):
    return "://" not in path


def _gfile():
    import tensorflow as tf

    return tf.io.gfile


@contextlib.contextmanager
def _as_os_error():
    import tensorflow as tf

    try:
        yield
    except tf.errors.OpError as error:
        raise OSError(str(error)) from error
