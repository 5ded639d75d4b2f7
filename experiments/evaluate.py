r"""Evaluates a trained image run in every way that the paper's tables and figures use.

  python -m experiments.evaluate --output_dir=/tmp/cifar10 --data_dir=~/data \
      --importance_samples=16

Prints, and writes to full_evaluation.json in the run folder: the exact one-sample
negative ELBO with the AR(1) and with the auxiliary prior, of raw and averaged weights,
with standard errors; importance-weighted bounds; active units; mutual information; the
linear probe's accuracy. Every number is of the run's held-out split, but for active
units and mutual information, which look at --train_images of its training images.
"""

import json
import os

import numpy as np
from absl import logging

from deltavae_tf import units
from deltavae_tf.evaluation import importance, likelihood
from deltavae_tf.training import checkpoints
from experiments import finished, flags, measure, runs
from experiments.inputs import batches

FLAGS = flags.FLAGS
_SAMPLES = flags.flags.DEFINE_integer(
    "importance_samples", 16, "K, a power of two; 0: no such bound.", lower_bound=0
)
_IMAGES = flags.flags.DEFINE_integer(
    "importance_images", 1000, "Held-out images for that bound.", lower_bound=1
)
_TRAIN_IMAGES = flags.flags.DEFINE_integer(
    "train_images", 10_000, "Training images that are looked at.", lower_bound=2
)
FILE = "full_evaluation.json"


def main(_):
    """Evaluates, prints, writes."""
    logging.set_verbosity(logging.WARNING)
    path = finished.folder()
    if _SAMPLES.value & (_SAMPLES.value - 1):
        raise ValueError(
            f"--importance_samples must be a power of two. Received: {_SAMPLES.value}"
        )
    found = {}
    for use_average in (False, True):
        run = finished.load(path, use_average)
        if run.weights in found:  # No average was kept.
            continue
        size, dims = run.hparams.eval_batch_size, run.problem.num_dims
        evaluator = likelihood.Evaluator(run.model)
        found[run.weights] = measure.rate_distortion(
            evaluator, run.held_out, size, dims
        )
    found = {
        "step": run.step,
        "data_note": run.held_out.note,
        **found,
        "latents": measure.latents(
            run.model,
            run.training,
            run.held_out,
            size,
            run.problem.num_classes,
            _TRAIN_IMAGES.value,
        ),
        "importance": _importance(run, dims),
    }
    with checkpoints.atomic_file(os.path.join(path, FILE)) as file:
        file.write(json.dumps(found, indent=1).encode() + b"\n")
    _show(found, run)


def _importance(run, dims):
    """{prior: {K: bits/dim}} of the first images, with the number of images."""
    if not _SAMPLES.value or run.model.encoder is None:
        return {}
    found = {}
    data = batches.evaluation_batches(
        run.held_out, run.hparams.eval_batch_size, _IMAGES.value
    )
    for prior in ("training", "auxiliary"):
        weights = importance.ImportanceWeights(run.model, prior)(data, _SAMPLES.value)
        found[prior] = {
            str(k): float(np.mean(units.bits_per_dim(bound, dims)))
            for k, bound in importance.bounds(weights).items()
        }
    return {**found, "num_examples": len(weights)}


def _show(found, run):
    note = f" ({run.held_out.note})" if run.held_out.note else ""
    print(f"Step {run.step}, {run.held_out.name}{note}:")
    rows = []
    for weights in ("raw", "average"):
        if weights in found:
            value = found[weights]
            rows.append({
                "weights": weights,
                "AR(1): bits/dim": value["nelbo_bpd"],
                "+-": value["nelbo_bpd_stderr"],
                "aux: bits/dim": value["nelbo_aux_bpd"],
                "distortion bits": value["distortion_bits"],
                "AR(1) rate bits": value["rate_bits"],
                "aux rate bits": value["rate_aux_bits"],
            })  # fmt: skip
    print(runs.table(rows))
    latents = found["latents"]
    if latents:
        print(
            f"Active units: {latents['active_units']} of {latents['units']}. Mutual "
            f"information: {latents['mutual_information_bits']:.2f} bits (at most "
            f"{latents['log_num_examples_bits']:.2f}, log N)."
        )
    if "probe_accuracy" in latents:
        print(f"Linear probe: {latents['probe_accuracy']:.1%}.")
    for prior, bounds in found["importance"].items():
        if prior != "num_examples":
            shown = ", ".join(f"K={k}: {value:.4f}" for k, value in bounds.items())
            count = found["importance"]["num_examples"]
            print(f"Importance-weighted, {prior}, {count:,} images, bits/dim: {shown}")


if __name__ == "__main__":
    flags.run(main)
