"""Images in rows and columns, with what made them."""

import dataclasses
from collections.abc import Sequence

import numpy as np


@dataclasses.dataclass(frozen=True)
class Grid:
    """Images in rows and columns, with what made them.

    Attributes:
      images: int32 `[rows, columns, H, W, C]`.
      row_labels: sequence of str, `rows` of them.
      column_labels: sequence of str, `columns` of them.
      latents: float32 `[rows, columns, n, d]`, the z that each image was decoded from;
        NaN where an image is not decoded; None of a model without latents.
    """

    images: np.ndarray
    row_labels: Sequence[str]
    column_labels: Sequence[str]
    latents: np.ndarray | None = None


def below(
    given: Sequence[np.ndarray],
    images: np.ndarray,
    labels: Sequence[str],
    names: Sequence[str] | None,
    z: np.ndarray | None,
) -> Grid:
    """A grid with rows of given images above rows of drawn ones."""
    columns = len(given[0])
    names = [str(c + 1) for c in range(columns)] if names is None else list(names)
    if z is not None:
        absent = np.full((len(given) * columns, *z.shape[1:]), np.nan, "float32")
        z = np.concatenate([absent, z])
    images = np.concatenate([*given, images])
    return tiled(images, len(labels), columns, labels, names, z)


def tiled(
    images: np.ndarray,
    rows: int,
    columns: int,
    row_labels: Sequence[str],
    column_labels: Sequence[str],
    z: np.ndarray | None,
) -> Grid:
    """A grid of images `[rows * columns, H, W, C]`, row by row, and of their z."""

    def shaped(flat):
        return flat.reshape(rows, columns, *flat.shape[1:])

    latents = None if z is None else shaped(z)
    return Grid(shaped(images), row_labels, column_labels, latents)
