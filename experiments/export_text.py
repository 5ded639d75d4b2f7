r"""Writes a trained run of text as a SavedModel: strings in, strings out.

  python -m experiments.export_text --output_dir=/tmp/lm1b

RUN/saved_model receives signatures sample, complete, encode and log_likelihood (without
latents: no encode). To load it takes TensorFlow and TensorFlow Text alone:

  import tensorflow as tf, tensorflow_text
  model = tf.saved_model.load("/tmp/lm1b/saved_model")
  model.signatures["complete"](text=tf.constant(["The company"]), seed=...)
"""

import os

import numpy as np
import tensorflow as tf
from absl import logging

from deltavae_tf import text_export
from experiments import flags, runs, text_runs
from experiments import hparams as registry

FLAGS = flags.FLAGS
_TO = flags.flags.DEFINE_string(
    "export_dir", None, "The folder that receives it, by default --output_dir."
)
_PROBE = ("The cat sat on the mat .", "", "Naïve \u2581 日本語")


def main(_):
    """Loads the run, writes, reads back."""
    logging.set_verbosity(logging.WARNING)
    if not FLAGS.output_dir:
        raise ValueError("--output_dir is needed: the folder of a trained run")
    model, hparams, step = runs.load(FLAGS.output_dir, not FLAGS.raw_weights)
    if not isinstance(hparams, registry.TextHparams):
        raise ValueError(
            f"{FLAGS.output_dir} is a run of images: see experiments.export"
        )
    vocabulary = text_runs.load_vocabulary(FLAGS.output_dir)
    folder = os.path.expanduser(_TO.value or FLAGS.output_dir)
    os.makedirs(folder, exist_ok=True)
    path = os.path.join(folder, "saved_model")
    average = bool(hparams.ema_decay) and not FLAGS.raw_weights
    kind = "averaged" if average else "raw"
    details = {"step": step, "weights": kind, "problem": hparams.problem}
    found = text_export.write_saved_model(model, vocabulary, path, details)
    _check(model, vocabulary, path)
    for name, signature in found["signatures"].items():
        inputs, outputs = (", ".join(signature[k]) for k in signature)
        print(f"  {name}({inputs}) -> {outputs}")
    print(f"Step {step}, {kind} weights: {path}")


def _check(model, vocabulary, path):
    """Raises unless the SavedModel on disk gives the model's nats."""
    arguments = {"text": tf.constant(_PROBE)}
    if model.encoder is not None:
        arguments["seed"] = tf.constant(model.seed, tf.int64)
    loaded = tf.saved_model.load(path)
    found = loaded.signatures["log_likelihood"](**arguments)["distortion_nats"]
    tokens = vocabulary.encode(_PROBE).to_tensor(shape=[None, model.max_length])
    expected = model(tokens.numpy())["distortion"]
    if not np.allclose(found, expected, rtol=1e-3):
        raise RuntimeError(
            f"The SavedModel in {path} gives other numbers than the model. "
            f"Received: {found} nats, not {expected}"
        )


if __name__ == "__main__":
    flags.run(main)
