r"""Turns a finished run folder into evidence: one JSON file for experiments/results/.

  python -m experiments.record --output_dir=/tmp/cifar10 \
      --decode_to_file=experiments/results/cifar10_small.json

Needs the run's evaluation.json (--schedule=evaluate writes it). A number enters the
README only through such a file.
"""

import json
import os
import platform

from deltavae_tf.training import checkpoints, run_folder
from experiments import flags

FLAGS = flags.FLAGS
_PREFIXES = ("", "eval_", "eval_ema_")
_HARDWARE = flags.flags.DEFINE_string(
    "hardware", "", "What it ran on; by default this machine's processor and cores."
)


def collect(path, hardware=""):
    """What a run folder proves: a JSON-able dict."""
    experiment, hparams = run_folder.read_identity(path)
    with open(os.path.join(path, "evaluation.json"), encoding="utf-8") as file:
        evaluation = json.load(file)
    with open(os.path.join(path, "versions.json"), encoding="utf-8") as file:
        versions = json.load(file)
    rows = run_folder.read_metrics(path)
    steps = [row["step"] for row in rows]
    seconds = sum(
        (step - before) / row["steps_per_second"]
        for before, step, row in zip([0, *steps], steps, rows, strict=False)
    )
    nelbo = [f"{p}nelbo_{u}" for p in _PREFIXES for u in ("bpd", "per_token")]
    curve = ("step", *nelbo)
    return {
        "experiment": experiment,
        "hparams": hparams,
        "evaluation": evaluation,
        "training_hours": round(seconds / 3600, 4),
        "hardware": hardware or f"{platform.machine()}, {os.cpu_count()} cores",
        "versions": versions,
        "curve": [{k: row[k] for k in curve if k in row} for row in rows],
    }


def main(_):
    """Writes the file."""
    if not FLAGS.output_dir or not FLAGS.decode_to_file:
        raise ValueError("--output_dir and --decode_to_file are needed")
    found = collect(FLAGS.output_dir, _HARDWARE.value)
    with checkpoints.atomic_file(FLAGS.decode_to_file) as file:
        file.write(json.dumps(found, indent=1).encode() + b"\n")
    print(f"Wrote {FLAGS.decode_to_file}")


if __name__ == "__main__":
    flags.run(main)
