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

    If anything fails, `path` is as it was. The folder to fill has a plain name of the
    system's: TensorFlow takes characters such as `[` in a path that it writes to for
    patterns.

    Args:
      path: str, where it goes; its parent is made if there is none.

    Yields:
      str, a path at which there is nothing yet.
    """
    path = absolute(path)
    parent = os.path.dirname(path)
    fresh, old = f"{path}.{os.getpid()}.tmp", f"{path}.{os.getpid()}.old"
    # Beside its place where the name allows that: then nothing has to be copied.
    beside = None if set("*?[]\\") & set(parent) else parent
    os.makedirs(parent, exist_ok=True)
    try:
        with tempfile.TemporaryDirectory(prefix=".export-", dir=beside) as folder:
            filled = os.path.join(folder, "filled")
            yield filled
            shutil.move(filled, fresh)
        if os.path.exists(path):
            os.rename(path, old)
        os.rename(fresh, path)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
        if os.path.exists(path):
            shutil.rmtree(old, ignore_errors=True)


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
