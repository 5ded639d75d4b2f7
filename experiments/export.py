r"""Writes a trained run as a SavedModel that needs none of our code.

  python -m experiments.export --output_dir=/tmp/cifar10

--output_dir names a run folder. Of images, RUN/saved_model receives signatures to
sample, encode, reconstruct, decode and log_likelihood (without latents: sample and
log_likelihood), and TensorFlow alone loads it. Of text it receives sample, complete,
encode and log_likelihood, strings in and strings out; whoever loads it does `import
tensorflow_text` first. Other formats: --format=keras writes RUN/model.keras,
--format=weights RUN/model.weights.h5; several: --format=saved_model --format=keras. See
docs/export.md.
"""

import os

from experiments import flags

FLAGS = flags.FLAGS
_FORMAT = flags.flags.DEFINE_multi_enum(
    "format",
    ["saved_model"],
    ["saved_model", "keras", "weights"],
    "What to write; may be given several times.",
)
_TO = flags.define_path(
    "export_dir", None, "The folder that receives it, by default --output_dir."
)


def main(_):
    """Loads the run, writes, reads back."""
    from experiments import quiet

    quiet.libraries(info=False)
    run = flags.trained()
    folder = _TO.value or run.path
    os.makedirs(folder, exist_ok=True)
    for form in dict.fromkeys(_FORMAT.value):
        path = _write(run, form, folder)
        kind = {"average": "averaged"}.get(run.weights, run.weights)
        print(f"Step {run.step}, {kind} weights: {path}")


def _write(run, form, folder):
    """Writes one format; returns its path."""
    from deltavae_tf.export import images as export

    if form == "keras":
        path = os.path.join(folder, "model.keras")
        export.write_keras(run.model, path)
    elif form == "weights":
        path = os.path.join(folder, "model.weights.h5")
        export.write_weights(run.model, path)
    else:
        path = os.path.join(folder, "saved_model")
        weights = {"average": "averaged"}.get(run.weights, run.weights)
        details = {
            "step": run.step,
            "weights": weights,
            "problem": run.hparams.problem,
        }
        found = run.data.export(run.model, path, details, FLAGS.xla_compile)
        for name, signature in found["signatures"].items():
            inputs, outputs = (", ".join(signature[k]) for k in signature)
            print(f"  {name}({inputs}) -> {outputs}")
    return path


if __name__ == "__main__":
    flags.run(main, (*flags.TRAINED, "xla_compile"))
