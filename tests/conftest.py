"""Set-up shared by all tests."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

from absl import flags  # noqa: E402

flags.FLAGS.mark_as_parsed()

import tensorflow as tf  # noqa: E402

# To optimize a graph takes longer than to run it the few times that a test does.
tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
