r"""Samples images from a trained run: a PNG grid and the numbers in an .npz.

  python -m experiments.sample --output_dir=/tmp/cifar10 --count=64 --prior=aux

--output_dir names a run folder of experiments.digits or experiments.cifar10; the
pictures go to its samples/ (or to --decode_to_file, without an ending).
"""

import os

import numpy as np
import tqdm
from absl import logging

from deltavae_tf.sampling import images
from experiments import build, flags, runs

FLAGS = flags.FLAGS
_PRIOR = flags.flags.DEFINE_enum(
    "prior", "aux", ["aux", "ar1"], "Where z is from: the auxiliary or the AR(1) prior."
)
_COUNT = flags.flags.DEFINE_integer("count", 64, "How many images.", lower_bound=1)
_COLUMNS = flags.flags.DEFINE_integer("columns", 8, "Of the grid.", lower_bound=1)
_BATCH = flags.flags.DEFINE_integer(
    "batch_size", 64, "Images sampled side by side.", lower_bound=1
)
_TEMPERATURE = flags.flags.DEFINE_float(
    "temperature", 1.0, "1: the model; below 1: sharper than the model."
)
_RAW = flags.flags.DEFINE_bool("raw_weights", False, "Not the average of weights.")


def main(_):
    """Loads the run, samples, writes."""
    logging.set_verbosity(logging.WARNING)
    if not FLAGS.output_dir:
        raise ValueError("--output_dir is needed: the folder of a trained run")
    if not _TEMPERATURE.value > 0:
        raise ValueError(
            f"--temperature must be above 0. Received: {_TEMPERATURE.value}"
        )
    model, hparams, step = runs.load(FLAGS.output_dir, not _RAW.value)
    parts = images.sample(
        model,
        _COUNT.value,
        _PRIOR.value,
        _TEMPERATURE.value,
        FLAGS.random_seed,
        _BATCH.value,
    )
    drawn = []
    with tqdm.tqdm(total=_COUNT.value, unit="image") as bar:
        for part in parts:
            drawn.append(part)
            bar.update(len(part))
    drawn = np.concatenate(drawn).astype(np.uint8)
    name = f"{_PRIOR.value}-temperature{_TEMPERATURE.value:g}-seed{FLAGS.random_seed}"
    path = FLAGS.decode_to_file or os.path.join(FLAGS.output_dir, "samples", name)
    levels = build.problem(hparams.problem).num_levels
    zoom = max(1, 96 // drawn.shape[1])
    images.write_png(f"{path}.png", images.grid(drawn, _COLUMNS.value, levels, zoom))
    np.savez_compressed(
        f"{path}.npz",
        image=drawn,
        prior=_PRIOR.value,
        temperature=_TEMPERATURE.value,
        seed=FLAGS.random_seed,
        step=step,
    )
    print(f"{len(drawn)} images of step {step}: {path}.png, {path}.npz")


if __name__ == "__main__":
    flags.run(main)
