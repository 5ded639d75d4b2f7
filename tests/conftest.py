"""Set-up shared by all tests."""

import os
import pathlib

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
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
