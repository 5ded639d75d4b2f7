"""Files and folders that an export writes: whole or not at all, at any path."""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator

from deltavae_tf import errors


def absolute(path: str | os.PathLike) -> str:
    """The path from the root; `~` is the home folder."""
    return os.path.abspath(os.path.expanduser(path))


@contextlib.contextmanager
def new_folder(path: str | os.PathLike) -> Iterator[str]:
    """A folder to fill, which replaces what was at `path` at the end.

    If anything fails, `path` is as it was.

    Args:
      path: str, where it goes; its parent is made if there is none.

    Yields:
      str, a path beside it, at which there is nothing yet.
    """
    path = absolute(path)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    fresh, old = f"{path}.{os.getpid()}.tmp", f"{path}.{os.getpid()}.old"
    try:
        yield fresh
        if os.path.exists(path):
            os.rename(path, old)
        os.rename(fresh, path)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
        if os.path.exists(path):
            shutil.rmtree(old, ignore_errors=True)


@contextlib.contextmanager
def plain_name(path: str | os.PathLike) -> Iterator[str]:
    """Another path to the same folder, in which no character is a pattern's.

    TensorFlow looks for the files it reads by patterns: in a folder named `run [1]` it
    finds none.

    Args:
      path: str, an existing folder.
    """
    with tempfile.TemporaryDirectory() as folder:
        link = os.path.join(folder, "folder")
        os.symlink(absolute(path), link)
        yield link


def write_file(
    path: str | os.PathLike, ending: str, write: Callable[[str], object]
) -> None:
    """Writes a file whole or not at all, in place of what was at `path`.

    Args:
      path: str.
      ending: str, what the name must end in: Keras chooses the format by it.
      write: callable, receives the path to write to, with the same ending.

    Raises:
      UserError: the name ends otherwise.
    """
    path = absolute(path)
    if not path.endswith(ending):
        raise errors.UserError(
            f"The file's name must end in {ending}. Received: {path}"
        )
    fresh = f"{path.removesuffix(ending)}.{os.getpid()}.tmp{ending}"
    try:
        write(fresh)
        os.replace(fresh, path)
    finally:
        if os.path.exists(fresh):
            os.unlink(fresh)
