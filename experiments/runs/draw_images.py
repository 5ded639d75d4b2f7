"""Grids of images from a trained run, for `experiments.sample`."""

import os

import numpy as np

from deltavae_tf import errors

# How many rows are drawn unless --rows says: those of the paper's figures.
_ROWS_DRAWN = {
    "prior": None,
    "decodings": 4,
    "interpolation": 8,
    "daydream": 8,
    "completion": 2,
    "reconstruction": 3,
}
_FROM_DATA = ("completion", "reconstruction")
_COUNT = 64


def check(hparams, flags) -> None:
    """Raises a `UserError` for what cannot be drawn of these hyper-parameters."""
    del hparams
    if flags.kind not in _ROWS_DRAWN:
        raise errors.UserError(
            f"A run on images draws --kind={', '.join(_ROWS_DRAWN)}. "
            f"Received: --kind={flags.kind}"
        )


def draw(run, flags) -> None:
    """Draws a grid and writes it.

    Args:
      run: `load.Trained`.
      flags: the flags of `experiments.sample`.
    """
    import tqdm

    from deltavae_tf.sampling import traversals

    kind, count = flags.kind, flags.count or _COUNT
    rows, columns = flags.rows or _ROWS_DRAWN[kind], flags.columns
    originals = None
    if kind in _FROM_DATA:
        originals = _originals(run.data.test_split(), flags)
        columns = len(originals)
    elif kind == "prior":
        columns = min(columns, count)
        rows = -(-count // columns)
    with tqdm.tqdm(total=rows * columns, unit="image", desc=kind, disable=None) as bar:
        drawer = traversals.Traversals(
            run.model,
            flags.prior,
            flags.temperature,
            flags.random_seed,
            flags.batch_size,
            bar.update,
        )
        grid = _grid(drawer, rows, columns, originals, flags)
    name = _name(run.model, flags)
    path = flags.decode_to_file or os.path.join(run.samples, name)
    _write(path, grid, f"{name}, step {run.step}", run, flags)
    print(f"{kind}, {rows * columns} images of step {run.step}: {path}.png, {path}.npz")


def _grid(drawer, rows, columns, originals, flags):
    """The `Grid` of a kind."""
    kind = flags.kind
    if kind == "prior":
        return drawer.samples(rows, columns)
    if kind == "decodings":
        return drawer.decodings(rows, columns)
    if kind == "interpolation":
        return drawer.interpolation(rows, columns, flags.path)
    if kind == "daydream":
        return drawer.daydream(rows, columns)
    names = [str(place) for place in originals.index]
    if kind == "reconstruction":
        return drawer.reconstruction(originals.image, rows, names)
    height, width = originals.image.shape[1:3]
    num_given = round(flags.given * height * width)
    return drawer.completion(originals.image, num_given, rows, names=names)


def _originals(split, flags):
    """The test images that --images names, as a `Split`; its index: their places."""
    from data.images import splits

    places = list(range(min(flags.columns, len(split))))
    if flags.images:
        try:
            places = [int(place) for place in flags.images]
        except ValueError:
            places = [-1]
        if not all(0 <= place < len(split) for place in places):
            raise errors.UserError(
                f"--images must be integers from 0 to {len(split) - 1}. "
                f"Received: {','.join(flags.images)}"
            )
    return splits.Split(
        split.image[places],
        split.label[places],
        np.array(places, np.int32),
        split.name,
        split.note,
    )


def _name(model, flags):
    """What tells one picture of a run from another, and is its title."""
    kind = flags.kind
    parts = [kind]
    if kind in _FROM_DATA:
        parts += [f"given{flags.given:g}"] if kind == "completion" else []
    elif model.encoder is not None:
        parts.append(flags.prior)
        parts += [flags.path] if kind == "interpolation" else []
    parts.append(f"temperature{flags.temperature:g}")
    return "-".join([*parts, f"seed{flags.random_seed}"])


def _write(path, grid, title, run, flags):
    """Writes the picture and the numbers."""
    from deltavae_tf.sampling import images
    from deltavae_tf.training import checkpoints

    num_levels = run.data.dataset.num_levels
    picture = images.labeled_grid(
        grid.images, grid.row_labels, grid.column_labels, title, num_levels
    )
    numbers = {
        "image": grid.images.astype(np.uint8),
        "row_labels": np.array(grid.row_labels),
        "column_labels": np.array(grid.column_labels),
        "kind": flags.kind,
        "prior": flags.prior,
        "path": flags.path,
        "given": flags.given,
        "temperature": flags.temperature,
        "seed": flags.random_seed,
        "raw_weights": flags.raw_weights,
        "step": run.step,
        "num_levels": num_levels,
    }
    if grid.latents is not None:
        numbers["latents"] = grid.latents
    os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
    images.write_png(f"{path}.png", picture)
    with checkpoints.atomic_file(f"{path}.npz") as file:
        np.savez_compressed(file, **numbers)
