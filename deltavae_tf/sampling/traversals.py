"""Grids of samples that show what latents do: the kinds of Figures 3 and 8 to 11.

Each function returns a `grids.Grid`, on any Keras backend. Everything is a function of
`seed` and of an image's place in its grid: it does not depend on `batch_size`.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from keras import ops

from deltavae_tf import errors
from deltavae_tf.models import delta_vae
from deltavae_tf.sampling import grids

PATHS = ("linear", "spherical")


class Traversals:
    """Draws grids from one model.

    Args:
      model: `DeltaVAE` with an `ImageDecoder`.
      prior: "auxiliary" or "training", where z is from if no image gives it.
      temperature: float > 0, of prior and decoder; 1 samples the model itself.
      seed: int.
      batch_size: int, images in one run of the compiled sampler.
      progress: callable, receives the number of images after each batch.
    """

    def __init__(
        self,
        model: delta_vae.DeltaVAE,
        prior: str = "auxiliary",
        temperature: float = 1.0,
        seed: Any = 0,
        batch_size: int = 64,
        progress: Callable[[int], Any] = lambda count: None,
    ) -> None:
        if not temperature > 0:
            raise errors.UserError(
                f"`temperature` must be above 0. Received: {temperature}"
            )
        if not batch_size >= 1:
            raise errors.UserError(
                f"`batch_size` must be at least 1. Received: {batch_size}"
            )
        self.model = model
        self.prior = prior
        self.temperature = temperature
        self.seed = seed
        self.batch_size = batch_size
        self.progress = progress

    def samples(self, rows: int = 8, columns: int = 8) -> grids.Grid:
        """Each image from a z of its own (Figures 3b and 10).

        Image r * columns + c is `model.sample(...)`'s of that number.
        """
        _check_counts(rows=rows, columns=columns)
        z = None
        if self.model.encoder is not None:
            z = self._latents(rows * columns)
        images = self._decode(z, np.arange(rows * columns))
        firsts = [str(r * columns) for r in range(rows)]
        return grids.tiled(
            images, rows, columns, firsts, [f"+{c}" for c in range(columns)], z
        )

    def decodings(self, rows: int = 4, columns: int = 8) -> grids.Grid:
        """Each column decodes one z again and again (Figures 3a and 11)."""
        _check_counts(rows=rows, columns=columns)
        self._need_latents("decodings")
        z = np.tile(self._latents(columns), (rows, 1, 1))
        images = self._decode(z, np.arange(len(z)))
        return grids.tiled(
            images,
            rows,
            columns,
            [f"x{r + 1}" for r in range(rows)],
            [f"z{c + 1}" for c in range(columns)],
            z,
        )

    def interpolation(
        self, rows: int = 8, columns: int = 8, path: str = "linear"
    ) -> grids.Grid:
        """Each column goes from one z to another (Figures 8 and 9, top left).

        All images of a column share the decoder's noise, so that what changes from
        row to row is the work of z. (Ours; the paper does not say.)

        Args:
          rows: int >= 2, steps, both ends included.
          columns: int, pairs of z.
          path: "linear", (1 - t) a + t b; or "spherical", cos(pi t / 2) a +
            sin(pi t / 2) b, which for a Gaussian prior has its law at every t (half
            way, the linear one has half its variance).
        """
        _check_counts(least=2, rows=rows)
        _check_counts(columns=columns)
        if path not in PATHS:
            raise errors.UserError(f"`path` must be one of {PATHS}. Received: {path!r}")
        self._need_latents("interpolation")
        ends = self._latents(2 * columns)
        t = np.linspace(0, 1, rows)[:, None, None, None]
        first, second = 1 - t, t
        if path == "spherical":
            first, second = np.cos(np.pi / 2 * t), np.sin(np.pi / 2 * t)
        z = (first * ends[:columns] + second * ends[columns:]).astype("float32")
        z = z.reshape(-1, *ends.shape[1:])
        images = self._decode(z, np.tile(np.arange(columns), rows))
        labels = [f"t={value:.2f}" for value in t.ravel()]
        pairs = [f"z{c + 1}-z{columns + c + 1}" for c in range(columns)]
        return grids.tiled(images, rows, columns, labels, pairs, z)

    def daydream(self, rows: int = 8, columns: int = 8) -> grids.Grid:
        """Alternates x ~ p(x | z) and z ~ q(z | x) (Figures 8 and 9, top right).

        Each column starts at a z of the prior and goes down.
        """
        _check_counts(rows=rows, columns=columns)
        self._need_latents("daydream")
        z = self._latents(columns)
        images: list[np.ndarray] = []
        latents: list[np.ndarray] = []
        for row in range(rows):
            numbers = row * columns + np.arange(columns)
            if row:
                z = self._posterior(images[-1], numbers)
            images.append(self._decode(z, numbers))
            latents.append(z)
        return grids.tiled(
            np.concatenate(images),
            rows,
            columns,
            [f"step {r}" for r in range(rows)],
            [f"z{c + 1}" for c in range(columns)],
            np.concatenate(latents),
        )

    def reconstruction(
        self, originals: np.ndarray, rows: int = 3, names: Sequence[str] | None = None
    ) -> grids.Grid:
        """Originals and, below, x' ~ p(x | z) with z ~ q(z | x), anew in each row.

        Figures 8 and 9, bottom right.

        Args:
          originals: integers `[columns, H, W, C]`.
          rows: int, reconstructions of each.
          names: list of str, labels of the columns; by default their numbers.
        """
        _check_counts(rows=rows)
        self._need_latents("reconstruction")
        originals = self._check_images(originals)
        z, images = self._from_posterior(originals, rows)
        labels = ["original", *(f"z{r + 1}" for r in range(rows))]
        return grids.below([originals], images, labels, names, z)

    def completion(
        self,
        originals: np.ndarray,
        num_given: int,
        rows: int = 2,
        fill: int | None = None,
        names: Sequence[str] | None = None,
    ) -> grids.Grid:
        """Originals, what is given of them, and completions of that.

        Figures 8 and 9, bottom left. The first `num_given` pixels in raster order are
        given. z ~ q(z | occluded image), anew in each row; then the sampler takes the
        given pixels as they are and samples the rest: exactly from
        p(rest | z, given).

        Args:
          originals: integers `[columns, H, W, C]`.
          num_given: int, 0 .. H * W.
          rows: int, completions of each.
          fill: int, the level of the occluded pixels that the encoder sees; by default
            the middle one. (Ours; the paper does not say.)
          names: list of str, labels of the columns; by default their numbers.
        """
        _check_counts(rows=rows)
        originals = self._check_images(originals)
        height, width, _ = originals.shape[1:]
        levels = self.model.decoder.num_levels
        fill = levels // 2 if fill is None else fill
        if not 0 <= num_given <= height * width:
            raise errors.UserError(
                f"`num_given` must be 0 to {height * width} pixels. "
                f"Received: {num_given}"
            )
        if not 0 <= fill < levels:
            raise errors.UserError(
                f"`fill` must be 0 to {levels - 1}. Received: {fill}"
            )
        occluded = occlude(originals, num_given, fill)
        z, images = self._from_posterior(occluded, rows, num_given)
        labels = ["original", "given", *(f"x{r + 1}" for r in range(rows))]
        return grids.below([originals, occluded], images, labels, names, z)

    # What they share.

    def _latents(self, count):
        """float32 `[count, n, d]` of the prior, numbers 0 .. count - 1."""
        return _numpy(
            self.model.sample_latents(count, self.prior, self.temperature, self.seed)
        )

    def _posterior(self, images, numbers):
        """z ~ q(z | x) of the images, with the noise of their numbers."""
        images = np.asarray(images, "int32")
        parts = [
            self.model.sample_posterior(_tensor(images[rows]), self.seed, n)
            for rows, n in self._batches(numbers)
        ]
        return _joined(parts, len(images))

    def _decode(self, z, numbers, given=None, num_given=None):
        """x ~ p(x | z), with the noise of the numbers: int32 `[N, H, W, C]`."""
        parts, left = [], len(numbers)
        for rows, n in self._batches(numbers):
            extra = {}
            if given is not None:
                extra["given"] = _tensor(given[rows])
                extra["num_given"] = ops.convert_to_tensor(num_given, dtype="int32")
            latents = None if z is None else ops.convert_to_tensor(z[rows])
            part = self.model.sample_data(
                latents, len(rows), self.temperature, self.seed, n, **extra
            )
            parts.append(_numpy(part))
            self.progress(min(len(rows), left))
            left -= len(rows)
        return _joined(parts, len(numbers))

    def _from_posterior(self, images, rows, num_given=None):
        """`rows` samples of z and of x for each image, row by row."""
        images = np.tile(images, (rows, 1, 1, 1))
        numbers = np.arange(len(images))
        z = None
        if self.model.encoder is not None:
            z = self._posterior(images, numbers)
        given = None if num_given is None else images
        return z, self._decode(z, numbers, given, num_given)

    def _batches(self, numbers):
        """Places and numbers in batches of one size; the last place fills up."""
        size = min(self.batch_size, len(numbers))
        for first in range(0, len(numbers), size):
            places = np.minimum(np.arange(first, first + size), len(numbers) - 1)
            yield places, ops.convert_to_tensor(np.asarray(numbers)[places], "int32")

    def _need_latents(self, kind):
        if self.model.encoder is None:
            raise errors.UserError(
                f"This model has no latents: there is no {kind} of it"
            )

    def _check_images(self, images):
        images = np.asarray(images)
        shape, levels = self.model.decoder.image_shape, self.model.decoder.num_levels
        if images.ndim != 4 or images.shape[1:] != tuple(shape) or not len(images):
            raise errors.UserError(
                f"`originals` must be [columns, {', '.join(map(str, shape))}]. "
                f"Received: {list(images.shape)}"
            )
        if images.dtype.kind not in "iu" or images.min() < 0 or images.max() >= levels:
            raise errors.UserError(
                f"`originals` must be integers in [0, {levels - 1}]. Received: "
                f"{images.dtype} in [{images.min()}, {images.max()}]"
            )
        return images.astype("int32")


def occlude(images: np.ndarray, num_given: int, fill: int) -> np.ndarray:
    """Images whose pixels from number `num_given` on, in raster order, are `fill`."""
    flat = images.reshape(len(images), -1, images.shape[-1]).copy()
    flat[:, num_given:] = fill
    return flat.reshape(images.shape)


def _check_counts(least=1, **counts):
    for name, count in counts.items():
        if not count >= least:
            raise errors.UserError(
                f"`{name}` must be at least {least}. Received: {count}"
            )


def _joined(parts, count):
    return np.concatenate([_numpy(part) for part in parts])[:count]


def _numpy(x):
    return np.asarray(ops.convert_to_numpy(x))


def _tensor(images):
    return ops.convert_to_tensor(images, dtype="int32")
