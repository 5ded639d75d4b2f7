"""Samples of images: in batches through the cache, and naively as its oracle."""

import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from keras import ops
from PIL import Image, ImageDraw, ImageFont

from deltavae_tf import backend, errors, noise
from deltavae_tf.backend import Tensor
from deltavae_tf.models.delta_vae import DeltaVAE
from deltavae_tf.models.image_decoder import ImageDecoder


def sample(
    model: DeltaVAE,
    count: int,
    prior: str = "auxiliary",
    temperature: float = 1.0,
    seed: Any = 0,
    batch_size: int = 64,
) -> Iterator[np.ndarray]:
    """Samples any number of images in batches of one compiled size.

    Args:
      model: `DeltaVAE` with an `ImageDecoder`.
      count: int, how many images.
      prior: "auxiliary" or "training".
      temperature: float > 0.
      seed: int; image i of a seed is the same whatever `count` and `batch_size`.
      batch_size: int, images in one run of the compiled loop.

    Yields:
      int32 `[b, H, W, C]`, b <= batch_size, in order.
    """
    if not count >= 1:
        raise errors.UserError(f"`count` must be at least 1. Received: {count}")
    batch_size = min(batch_size, count)
    for first in range(0, count, batch_size):
        images = model.sample(batch_size, prior, temperature, seed, first)
        yield ops.convert_to_numpy(images)[: count - first]


def naive_sample(
    decoder: ImageDecoder,
    z: Tensor | None,
    keys: Tensor,
    temperature: float = 1.0,
    given: np.ndarray | None = None,
    num_given: int | np.ndarray = 0,
) -> np.ndarray:
    """What `ImageDecoder.sample` computes, by one whole forward pass per pixel.

    The oracle of the cached sampler and the peer of its benchmark. Args and returns:
    as `ImageDecoder.sample`.
    """
    height, width, channels = decoder.image_shape
    x = np.zeros((keys.shape[0], *decoder.image_shape), np.int32)
    uniforms = noise.uniform(keys, (height * width, 1 + channels))
    uniforms = ops.reshape(uniforms, (-1, height, width, 1 + channels))
    draw = naive_pass(decoder, z, uniforms, temperature)
    for row in range(height):
        for column in range(width):
            drawn = ops.convert_to_numpy(draw(x))[:, row, column]
            if given is not None:
                kept = row * width + column < np.reshape(num_given, (-1, 1))
                drawn = np.where(kept, np.asarray(given)[:, row, column], drawn)
            x[:, row, column] = drawn
    return x


def naive_pass(
    decoder: ImageDecoder,
    z: Tensor | None,
    uniforms: Tensor,
    temperature: float = 1.0,
    compiler: Callable = backend.graph,
) -> Callable[[Any], Tensor]:
    """A compiled x -> x' in which every pixel of x' is sampled given those of x.

    Args:
      decoder: `ImageDecoder`.
      z: float `[B, H, d]`, or None for the baseline.
      uniforms: float `[B, H, W, 1 + C]`, the random numbers.
      temperature: float > 0.
      compiler: `backend.graph` or `backend.compile`.
    """

    def draw(x):
        return decoder(z, x).sample_from_uniforms(
            uniforms[..., 0], uniforms[..., 1:], temperature
        )

    return compiler(draw, decoder)


def grid(
    images: np.ndarray, columns: int, num_levels: int = 256, zoom: int = 1
) -> np.ndarray:
    """Tiles images, with a white gap between them, as one picture.

    Args:
      images: integer `[N, H, W, C]`, 0 .. num_levels - 1, C = 1 or 3.
      columns: int.
      num_levels: int.
      zoom: int, screen pixels per pixel.

    Returns:
      uint8 `[rows, columns, 3]`.
    """
    images = np.asarray(images, np.float32) * (255.0 / (num_levels - 1))
    images = np.broadcast_to(images.round(), (*images.shape[:3], 3)).astype(np.uint8)
    count, height, width, _ = images.shape
    rows = -(-count // columns)
    gap = max(1, height // 16)
    picture = np.full((rows * (height + gap), columns * (width + gap), 3), 255, "uint8")
    for i, image in enumerate(images):
        top, left = i // columns * (height + gap), i % columns * (width + gap)
        picture[top : top + height, left : left + width] = image
    return picture[:-gap, :-gap].repeat(zoom, axis=0).repeat(zoom, axis=1)


def labeled_grid(
    images: np.ndarray,
    row_labels: Sequence[str],
    column_labels: Sequence[str],
    title: str = "",
    num_levels: int = 256,
    zoom: int | None = None,
) -> np.ndarray:
    """`grid` with a title above, column labels on top and row labels at the left.

    Args:
      images: integer `[rows, columns, H, W, C]`, 0 .. num_levels - 1, C = 1 or 3.
      row_labels: list of str.
      column_labels: list of str.
      title: str.
      num_levels: int.
      zoom: int, screen pixels per pixel; by default tiles are about 96 wide.

    Returns:
      uint8 `[rows, columns, 3]`.
    """
    rows, columns, height, width, _ = images.shape
    zoom = max(1, 96 // width) if zoom is None else zoom
    tiles = grid(images.reshape(-1, *images.shape[2:]), columns, num_levels, zoom)
    font = ImageFont.load_default(size=16)
    line = 22
    margin = 12 + int(max(map(font.getlength, row_labels)))
    size = (
        max(margin + tiles.shape[1], 12 + int(font.getlength(title))) + 6,
        2 * line + tiles.shape[0] + 6,
    )
    picture = Image.new("RGB", size, "white")
    picture.paste(Image.fromarray(tiles), (margin, 2 * line))
    draw = ImageDraw.Draw(picture)
    draw.text((6, line // 2), title, "black", font, anchor="lm")
    step = (height + max(1, height // 16)) * zoom  # As in `grid`.
    across = (width + max(1, height // 16)) * zoom
    for row, label in enumerate(row_labels):
        y = 2 * line + row * step + height * zoom // 2
        draw.text((margin - 6, y), label, "black", font, anchor="rm")
    for column, label in enumerate(column_labels):
        x = margin + column * across + width * zoom // 2
        draw.text((x, 3 * line // 2), label, "black", font, anchor="mm")
    return np.asarray(picture)


def write_png(path: str | os.PathLike, picture: np.ndarray) -> None:
    """Writes a uint8 `[H, W, 3]` picture."""
    Image.fromarray(picture).save(path, format="PNG")
