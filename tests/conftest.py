"""Set-up shared by all tests."""

import os
import pathlib

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
# A worker to a core, and a thread to a worker: threads that wait for work are busy too.
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
# Compiled JAX programs, for this and all later processes: most of the tests' time.
_COMPILED = pathlib.Path(__file__).parents[1] / ".venv-jax" / "compiled"
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(_COMPILED))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")

from absl import flags  # noqa: E402

flags.FLAGS.mark_as_parsed()

if os.environ.get("KERAS_BACKEND", "tensorflow") == "tensorflow":
    import tensorflow as tf

    # To optimize a graph takes longer than to run it the few times that a test does.
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})


# Started first, so that no process is left alone with one of them at the end.
_LONGEST = [
    *("programs_test", "delta_vae_test", "loop_test", "text_runs_test"),
    *("conformance_test", "export_test", "runs_test", "notebooks_test"),
]


def pytest_collection_modifyitems(items):
    """The longest files first; needs xdist's --no-loadscope-reorder."""
    order = {name: i for i, name in enumerate(_LONGEST)}
    items.sort(key=lambda item: order.get(item.path.stem, len(order)))
