r"""Writes a trained run as a SavedModel that needs none of our code.

  python -m experiments.export --output_dir=/tmp/cifar10
  saved_model_cli show --dir /tmp/cifar10/saved_model --all

--output_dir names a run folder. Of images, RUN/saved_model receives signatures to
sample, encode, reconstruct, decode and log_likelihood (without latents: sample and
log_likelihood), and TensorFlow alone loads it. Of text it receives sample, complete,
encode and log_likelihood, strings in and strings out; whoever loads it does `import
tensorflow_text` first. Other formats: --format=keras writes RUN/model.keras,
--format=weights RUN/model.weights.h5; several: --format=saved_model --format=keras. See
docs/export.md.
"""

import os

import numpy as np
import tensorflow as tf
from absl import logging

from deltavae_tf.export import images as export
from deltavae_tf.export import text as text_export
from experiments import flags, runs, text_runs
from experiments import hparams as registry

FLAGS = flags.FLAGS
_FORMAT = flags.flags.DEFINE_multi_enum(
    "format", ["saved_model"], ["saved_model", "keras", "weights"], "What to write."
)
_TO = flags.flags.DEFINE_string(
    "export_dir", None, "The folder that receives it, by default --output_dir."
)
_SENTENCES = ("The cat sat on the mat .", "", "Naïve \u2581 日本語")


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
    details = {"step": step, "weights": kind, "problem": hparams.problem}
    for form in dict.fromkeys(_FORMAT.value):
        if form == "saved_model":
            path = os.path.join(folder, "saved_model")
            write = _write_text if _is_text(hparams) else _write_images
            for name, signature in write(model, path, details)["signatures"].items():
                inputs, outputs = (", ".join(signature[k]) for k in signature)
                print(f"  {name}({inputs}) -> {outputs}")
        elif form == "keras":
            path = os.path.join(folder, "model.keras")
            export.write_keras(model, path)
        else:
            path = os.path.join(folder, "model.weights.h5")
            export.write_weights(model, path)
        print(f"Step {step}, {kind} weights: {path}")


def _is_text(hparams):
    return isinstance(hparams, registry.TextHparams)


def _write_images(model, path, details):
    found = export.write_saved_model(
        model, path, jit_compile=FLAGS.xla_compile, details=details
    )
    shape = (4, *model.decoder.image_shape)
    images = np.random.default_rng(0).integers(0, model.decoder.num_levels, shape)
    _check(model, path, images, images=tf.constant(images, tf.uint8))
    return found


def _write_text(model, path, details):
    vocabulary = text_runs.load_vocabulary(FLAGS.output_dir)
    found = text_export.write_saved_model(model, vocabulary, path, details)
    tokens = vocabulary.encode(_SENTENCES).to_tensor(shape=[None, model.max_length])
    _check(model, path, tokens.numpy(), text=tf.constant(_SENTENCES))
    return found


def _check(model, path, examples, **inputs):
    """Raises unless the SavedModel on disk gives the model's nats of the examples."""
    if model.encoder is not None:
        inputs["seed"] = tf.constant(model.seed, tf.int64)
    loaded = tf.saved_model.load(path)
    found = loaded.signatures["log_likelihood"](**inputs)["distortion_nats"]
    expected = model(examples)["distortion"]
    if not np.allclose(found, expected, rtol=1e-3):
        raise RuntimeError(
            f"The SavedModel in {path} gives other numbers than the model. "
            f"Received: {found} nats, not {expected}"
        )


if __name__ == "__main__":
    flags.run(main)
