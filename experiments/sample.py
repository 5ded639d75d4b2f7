r"""Samples images from a trained run: a labeled PNG grid and the numbers in an .npz.

  python -m experiments.sample --output_dir=/tmp/cifar10 --count=64 --prior=auxiliary
  python -m experiments.sample --output_dir=/tmp/cifar10 --kind=completion \
      --data_dir=~/data --given=0.5

--output_dir names a run folder of experiments.digits or experiments.cifar10; the
pictures go to its samples/ (or to --decode_to_file, without an ending). The kinds, with
the paper's figures:

  prior           every image from a z of its own (3b, 10); rows * columns = --count
  decodings       a column decodes one z --rows times (3a, 11)
  interpolation   a column goes from one z to another in --rows steps (8, 9)
  daydream        a column alternates x ~ p(x|z) and z ~ q(z|x) (8, 9)
  completion      test images, what is given of them, --rows completions (8, 9)
  reconstruction  test images, --rows reconstructions (8, 9)

The same --random_seed gives the same picture. completion and reconstruction need the
test split: --data_dir, by default the run's own.
"""

import os

import numpy as np
import tqdm
from absl import logging

from data.images import splits
from deltavae_tf.sampling import images, traversals
from deltavae_tf.training import checkpoints
from experiments import build, flags, runs

FLAGS = flags.FLAGS
_define = flags.flags
# How many rows are drawn unless --rows says: those of the paper's figures.
_ROWS_DRAWN = {
    "prior": None,
    "decodings": 4,
    "interpolation": 8,
    "daydream": 8,
    "completion": 2,
    "reconstruction": 3,
}
_KIND = _define.DEFINE_enum("kind", "prior", list(_ROWS_DRAWN), "What to draw.")
_PRIOR = _define.DEFINE_enum(
    "prior", "auxiliary", ["auxiliary", "training"], "Which prior z is from."
)
_COUNT = _define.DEFINE_integer(
    "count", 64, "Images of the kind prior, rounded up to whole rows.", lower_bound=1
)
_COLUMNS = _define.DEFINE_integer("columns", 8, "Of the grid.", lower_bound=1)
_ROWS = _define.DEFINE_integer(
    "rows", None, "Rows drawn, of every kind but prior.", lower_bound=1
)
_BATCH = _define.DEFINE_integer(
    "batch_size", 64, "Images sampled side by side.", lower_bound=1
)
_TEMPERATURE = _define.DEFINE_float(
    "temperature", 1.0, "1: the model; below 1: sharper than the model."
)
_PATH = _define.DEFINE_enum(
    "path", "linear", traversals.PATHS, "interpolation: the way from one z to another."
)
_GIVEN = _define.DEFINE_float(
    "given",
    0.5,
    "completion: the share of the pixels, in raster order, that is given.",
    lower_bound=0,
    upper_bound=1,
)
_IMAGES = _define.DEFINE_list(
    "images",
    None,
    "completion, reconstruction: places in the test split, such as 3,14,15; by default "
    "the first --columns.",
)


def main(_):
    """Loads the run, samples, writes."""
    logging.set_verbosity(logging.WARNING)
    if not FLAGS.output_dir:
        raise ValueError("--output_dir is needed: the folder of a trained run")
    if not _TEMPERATURE.value > 0:
        raise ValueError(
            f"--temperature must be above 0. Received: {_TEMPERATURE.value}"
        )
    model, hparams, step = runs.load(FLAGS.output_dir, not FLAGS.raw_weights)
    kind = _KIND.value
    rows, columns = _ROWS.value or _ROWS_DRAWN[kind], _COLUMNS.value
    originals = None
    if kind in ("completion", "reconstruction"):
        originals = _originals(hparams.problem)
        columns = len(originals)
    elif kind == "prior":
        columns = min(columns, _COUNT.value)
        rows = -(-_COUNT.value // columns)
    with tqdm.tqdm(total=rows * columns, unit="image", desc=kind) as bar:
        draw = traversals.Traversals(
            model,
            _PRIOR.value,
            _TEMPERATURE.value,
            FLAGS.random_seed,
            _BATCH.value,
            bar.update,
        )
        grid = _draw(kind, draw, rows, columns, originals)
    path = FLAGS.decode_to_file or os.path.join(
        FLAGS.output_dir, "samples", _name(kind, model)
    )
    title = f"{_name(kind, model)}, step {step}"
    _write(path, grid, title, step, build.problem(hparams.problem).num_levels)
    print(f"{kind}, {rows * columns} images of step {step}: {path}.png, {path}.npz")


def _draw(kind, draw, rows, columns, originals):
    """The grid of a kind."""
    if kind == "prior":
        return draw.samples(rows, columns)
    if kind == "decodings":
        return draw.decodings(rows, columns)
    if kind == "interpolation":
        return draw.interpolation(rows, columns, _PATH.value)
    if kind == "daydream":
        return draw.daydream(rows, columns)
    names = [str(place) for place in originals.index]
    if kind == "reconstruction":
        return draw.reconstruction(originals.image, rows, names)
    height, width = originals.image.shape[1:3]
    num_given = round(_GIVEN.value * height * width)
    return draw.completion(originals.image, num_given, rows, names=names)


def _originals(problem_name):
    """The test images that --images names, as a `Split`; its index: their places."""
    where = {
        "data_dir": FLAGS.data_dir or runs.data_dir(FLAGS.output_dir),
        "tmp_dir": FLAGS.tmp_dir,
        "download": FLAGS.generate_data,
    }
    split = build.problem(problem_name).load("test", **where)
    places = list(range(min(_COLUMNS.value, len(split))))
    if _IMAGES.value:
        try:
            places = [int(place) for place in _IMAGES.value]
        except ValueError:
            places = [-1]
        if not all(0 <= place < len(split) for place in places):
            raise ValueError(
                f"--images must be integers from 0 to {len(split) - 1}, once each. "
                f"Received: {','.join(_IMAGES.value)}"
            )
    return splits.Split(
        split.image[places],
        split.label[places],
        np.array(places, np.int32),
        split.name,
        split.note,
    )


def _name(kind, model):
    """What tells one picture of a run from another, and is its title."""
    parts = [kind]
    if kind in ("completion", "reconstruction"):
        parts += [f"given{_GIVEN.value:g}"] if kind == "completion" else []
    elif model.encoder is not None:
        parts.append(_PRIOR.value)
        parts += [_PATH.value] if kind == "interpolation" else []
    parts.append(f"temperature{_TEMPERATURE.value:g}")
    return "-".join([*parts, f"seed{FLAGS.random_seed}"])


def _write(path, grid, title, step, num_levels):
    """Writes the picture and the numbers."""
    picture = images.labeled_grid(
        grid.images, grid.row_labels, grid.column_labels, title, num_levels
    )
    numbers = {
        "image": grid.images.astype(np.uint8),
        "row_labels": np.array(grid.row_labels),
        "column_labels": np.array(grid.column_labels),
        "kind": _KIND.value,
        "prior": _PRIOR.value,
        "path": _PATH.value,
        "given": _GIVEN.value,
        "temperature": _TEMPERATURE.value,
        "seed": FLAGS.random_seed,
        "raw_weights": FLAGS.raw_weights,
        "step": step,
        "num_levels": num_levels,
    }
    if grid.latents is not None:
        numbers["latents"] = grid.latents
    images.write_png(f"{path}.png", picture)
    with checkpoints.atomic_file(f"{path}.npz") as file:
        np.savez_compressed(file, **numbers)


if __name__ == "__main__":
    flags.run(main)
