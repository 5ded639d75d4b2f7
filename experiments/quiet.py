"""What a program's terminal does not need: the chatter of libraries."""

import contextlib
import logging as standard_logging
import os
import sys
import tempfile

from experiments import imports


def libraries(info: bool = True) -> None:
    """Imports the backend without its start-up lines; from here on ours are shown.

    Args:
      info: bool, show what the training reports beside warnings.
    """
    from absl import logging

    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    level = logging.INFO if info else logging.WARNING
    logging.set_verbosity(max(logging.get_verbosity(), level))
    with _held_back(), imports.quick():
        from deltavae_tf import backend  # Imports TensorFlow or JAX.

        if backend.name == "tensorflow":
            import tensorflow as tf

            tf.config.list_physical_devices()  # Looks for a GPU, and says so.
        cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
        backend.keep_compiled(os.path.join(cache, "deltavae_tf", "jax"))
    standard_logging.getLogger("tensorflow").setLevel(standard_logging.ERROR)


@contextlib.contextmanager
def _held_back():
    """Standard error, of C++ too, is shown only if what is within fails."""
    sys.stderr.flush()
    with tempfile.TemporaryFile() as file:
        before = os.dup(2)
        os.dup2(file.fileno(), 2)
        try:
            yield
        except BaseException:
            os.dup2(before, 2)
            file.seek(0)
            os.write(2, file.read())
            raise
        finally:
            os.dup2(before, 2)
            os.close(before)
