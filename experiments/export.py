r"""Writes a trained run as a SavedModel that needs TensorFlow alone.

  python -m experiments.export --output_dir=/tmp/cifar10
  saved_model_cli show --dir /tmp/cifar10/saved_model --all

--output_dir names a run folder; RUN/saved_model receives signatures to sample, encode,
reconstruct, decode and log_likelihood (without latents: sample and log_likelihood).
Other formats: --format=keras writes RUN/model.keras, --format=weights
RUN/model.weights.h5; several: --format=saved_model --format=keras. See docs/export.md.
"""

import os

import numpy as np
import tensorflow as tf
from absl import logging

from deltavae_tf import export
from experiments import flags, runs

FLAGS = flags.FLAGS
_FORMAT = flags.flags.DEFINE_multi_enum(
    "format", ["saved_model"], ["saved_model", "keras", "weights"], "What to write."
)
_TO = flags.flags.DEFINE_string(
    "export_dir", None, "The folder that receives it, by default --output_dir."
)


def main(_):
    """Loads the run, writes, reads back."""
    logging.set_verbosity(logging.WARNING)
    if not FLAGS.output_dir:
        raise ValueError("--output_dir is needed: the folder of a trained run")
    model, hparams, step = runs.load(FLAGS.output_dir, not FLAGS.raw_weights)
    folder = os.path.expanduser(_TO.value or FLAGS.output_dir)
    os.makedirs(folder, exist_ok=True)
    average = bool(hparams.ema_decay) and not FLAGS.raw_weights
    kind = "averaged" if average else "raw"
    for form in dict.fromkeys(_FORMAT.value):
        if form == "saved_model":
            path = os.path.join(folder, "saved_model")
            details = {"step": step, "weights": kind, "problem": hparams.problem}
            found = export.write_saved_model(
                model, path, jit_compile=FLAGS.xla_compile, details=details
            )
            _check(model, path)
            for name, signature in found["signatures"].items():
                inputs, outputs = (", ".join(signature[k]) for k in signature)
                print(f"  {name}({inputs}) -> {outputs}")
        elif form == "keras":
            path = os.path.join(folder, "model.keras")
            export.write_keras(model, path)
        else:
            path = os.path.join(folder, "model.weights.h5")
            export.write_weights(model, path)
        print(f"Step {step}, {kind} weights: {path}")


def _check(model, path):
    """Raises unless the SavedModel on disk gives the model's nats."""
    shape = (4, *model.decoder.image_shape)
    images = np.random.default_rng(0).integers(0, model.decoder.num_levels, shape)
    arguments = {"images": tf.constant(images, tf.uint8)}
    loaded = tf.saved_model.load(path)
    if model.encoder is not None:
        arguments["seed"] = tf.constant(model.seed, tf.int64)
    found = loaded.signatures["log_likelihood"](**arguments)["distortion_nats"]
    expected = model(images)["distortion"]
    if not np.allclose(found, expected, rtol=1e-3):
        raise RuntimeError(
            f"The SavedModel in {path} gives other numbers than the model. "
            f"Received: {found} nats, not {expected}"
        )


if __name__ == "__main__":
    flags.run(main)
