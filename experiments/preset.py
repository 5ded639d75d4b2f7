r"""Makes a preset of a trained run: a folder that `deltavae_tf.from_preset` reads.

  python -m experiments.preset --output_dir=/tmp/run --name=fashion_mnist_28 \
      --to=deltavae_tf/presets/fashion_mnist_28

The folder receives model.json, weights.npz (the averaged weights if there are any),
hparams.json, of text the vocabulary, and card.json: data, steps, hours, the numbers of
the run's evaluation.json, use, limits, licence, and the sha256 of the other files. The
weights are kept in half precision if that moves the cost of --examples held-out
examples by less than .001 bits/dim (of text nats/token). At most 6 MB.
"""

import os

from experiments import flags

FLAGS = flags.FLAGS
_define = flags.flags
_NAME = _define.DEFINE_string("name", None, "What the preset is called.")
_TO = flags.define_path(
    "to", None, "The folder that receives it; by default deltavae_tf/presets/NAME."
)
_EXAMPLES = _define.DEFINE_integer(
    "examples", 1000, "Held-out examples that half precision is tried on.", 1
)
_HARDWARE = _define.DEFINE_string(
    "hardware", "", "What it trained on; by default this machine's processor and cores."
)
_USE = _define.DEFINE_string(
    "intended_use",
    "Examples, notebooks, and experiments on latents without training first.",
    "For the card.",
)
_LIMITS = _define.DEFINE_string(
    "limits",
    "A small model of one data set, trained for minutes: no state of the art, and of "
    "no use on other data. Reconstructions keep what the latents carry, which is "
    "little, and invent the rest.",
    "For the card.",
)
_LICENSE = _define.DEFINE_string("license", "Apache-2.0", "Of the weights.")
_CHANGE = 0.001  # Bits per dimension, of text nats per token.
_COSTS = ("nelbo_bpd", "nelbo_aux_bpd", "nelbo_per_token", "nelbo_aux_per_token")


def main(_):
    """Loads the run, measures, writes, reads back."""
    import re

    from deltavae_tf import errors

    if not FLAGS.output_dir or not _NAME.value:
        raise errors.UserError(
            "--output_dir, a run folder, and --name are needed. Received: "
            f"{FLAGS.output_dir} and {_NAME.value}"
        )
    if not re.fullmatch(r"[a-z][a-z0-9_]*", _NAME.value):
        raise errors.UserError(
            "--name must be small letters, digits and underscores. Received: "
            f"{_NAME.value!r}"
        )
    from experiments import quiet

    quiet.libraries(info=False)
    from deltavae_tf.evaluation import record as records

    record = records.read(os.path.join(FLAGS.output_dir, records.FILE))
    run = flags.trained(unfinished=False)
    if record["step"] != run.step:
        raise errors.UserError(
            "The evaluation.json must be of the newest checkpoint, of step "
            f"{run.step}: python -m experiments.evaluate. Received: {record['step']}"
        )
    if run.weights not in record["weights"]:
        raise errors.UserError(
            f"The evaluation.json must have the {run.weights} weights: python -m "
            f"experiments.evaluate. Received: {', '.join(record['weights'])}"
        )
    folder = _TO.value or os.path.join("deltavae_tf", "presets", _NAME.value)
    card = _write(run, record, folder)
    print(f"{card['precision']}: {card['precision_note']}")
    total = sum(entry["bytes"] for entry in card["files"].values())
    print(f"Wrote {folder}: {total:,} bytes, step {run.step}, {run.weights} weights")


def _write(run, record, folder):
    """Writes the preset; returns its card."""
    from deltavae_tf.models import config_file
    from deltavae_tf.presets import files, loading
    from deltavae_tf.training import checkpoints

    whole = checkpoints.variables_to_arrays({"model": run.model.weights})
    arrays, precision = _in_precision(run, whole)
    fingerprint = checkpoints.fingerprint(run.hparams.architecture())
    loading.assign(run.model, arrays)
    names = ("hparams.json", "vocabulary.model")
    others = {name: os.path.join(run.path, name) for name in names}
    card = files.write(
        folder,
        config_file.of(run.model, fingerprint),
        arrays,
        run.step,
        {**_card(run, record), **precision},
        {name: path for name, path in others.items() if os.path.exists(path)},
    )
    back = loading.from_preset(os.path.abspath(folder))
    found = checkpoints.variables_to_arrays({"model": back.weights})
    kept = checkpoints.variables_to_arrays({"model": run.model.weights})
    if not all((found[key] == kept[key]).all() for key in kept):
        raise RuntimeError(f"{folder} gives other weights than were written")
    return card


def _in_precision(run, whole):
    """(arrays in the precision that the run permits, what the card says of it)."""
    import numpy as np

    from deltavae_tf.presets import loading

    with np.errstate(over="ignore"):
        half = {
            key: value.astype(np.float16) if value.dtype.kind == "f" else value
            for key, value in whole.items()
        }
    before = _costs(run)
    loading.assign(run.model, half)
    finite = all(np.isfinite(v).all() for v in half.values() if v.dtype.kind == "f")
    after = _costs(run) if finite else {name: np.inf for name in before}
    loading.assign(run.model, whole)
    change = max(abs(after[name] - before[name]) for name in before)
    unit = "bits/dim" if "nelbo_bpd" in before else "nats/token"
    chosen, name = (half, "float16") if change < _CHANGE else (whole, "float32")
    note = (
        f"half precision changes the cost of {_EXAMPLES.value:,} held-out examples by "
        f"{change:.6f} {unit}, .001 is permitted"
    )
    return chosen, {"precision": name, "precision_note": note}


def _costs(run):
    """The cost of some held-out examples under both priors, by name."""
    from deltavae_tf.evaluation import context, metric

    run.data.load()
    split = run.data.held_out
    examples = run.data.evaluated(split, min(_EXAMPLES.value, len(split)))
    found = metric.measure(context.Context(run.model, examples), cheap=True)
    return {k: v for k, v in found["held_out"].items() if k in _COSTS}


def _card(run, record):
    """What the run's record says, for people."""
    import json

    from deltavae_tf.evaluation import record as records
    from deltavae_tf.evaluation import verdict
    from deltavae_tf.training import run_folder

    numbers = records.numbers(record, weights=run.weights)
    rows = run_folder.read_metrics(run.path)
    with open(os.path.join(run.path, "versions.json"), encoding="utf-8") as file:
        versions = json.load(file)
    for name in ("command", "platform"):  # Of the machine, not of the model.
        versions.pop(name, None)
    return {
        "name": _NAME.value,
        "data": {**record["data"], "source": run.data.dataset.source},
        "parameters": run.model.count_params(),
        "steps": run.step,
        "training_hours": round(run_folder.training_seconds(rows) / 3600, 3),
        "hardware": _HARDWARE.value or run_folder.hardware(),
        "versions": versions,
        "random_seed": run.options.seed,
        "weights": run.weights,
        "verdict": verdict.line(record),
        "numbers": records.rounded(numbers),  # Under evaluation.json's names.
        "intended_use": _USE.value,
        "limits": _LIMITS.value,
        "license": _LICENSE.value,
    }


if __name__ == "__main__":
    flags.run(main, (*flags.TRAINED, *flags.DATA))
