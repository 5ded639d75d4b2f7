"""ImageNet 32x32 of PixelRNN (van den Oord et al., 2016), streamed from its archives.

There are two data sets of that name. The paper's has 1,281,149 training and 49,999
validation images. The one on image-net.org now (Chrabaszcz et al., 2017) has 50,000
for validation; it was scaled down with a box filter, and models reach fewer bits/dim
on it. It is read too, and named "imagenet32_box", so that no number measured on it is
taken for one on the other.
"""

import dataclasses
import os

import numpy as np
from absl import logging

from data import dataset
from data.images import splits
from data.reading import errors, png_archive

IMAGE_SHAPE = (32, 32, 3)
NUM_LEVELS = 256
NUM_EXAMPLES = {"train": 1_281_149, "valid": 49_999}
NUM_EXAMPLES_BOX = {"train": 1_281_167, "valid": 50_000}
ARCHIVES = {"train": "train_32x32.tar", "valid": "valid_32x32.tar"}

_FOLDERS = ("", os.path.join("downloads", "manual"))  # The second is TFDS's.


@dataclasses.dataclass(frozen=True, eq=False)
class StreamedSplit(splits.Parts):
    """A split whose images stay on disk; used like `splits.Split`.

    Attributes:
      archive: `PngArchive`.
      positions: range, which images of the archive.
      name: str.
      note: str, what a number measured on this split has to say beside it.
    """

    archive: png_archive.PngArchive
    positions: range
    name: str
    note: str = ""

    examples = "images"
    parallel_reads = max(2, os.cpu_count() or 2)

    def __len__(self):
        return len(self.positions)

    @property
    def index(self):
        """int32 `[N]`: the position in the archive."""
        return np.asarray(self.positions, np.int32)

    @property
    def label(self):
        """int32 `[N]`, zeros: the archives have no classes."""
        return np.zeros(len(self), np.int32)

    @property
    def image(self):
        """What gives uint8 `[n, 32, 32, 3]` for a slice or for n positions."""
        return _Images(self)

    def read(self, places):
        """uint8 `[len(places), 32, 32, 3]`, places within this split."""
        places = np.asarray(places, np.int64)
        return self.archive.read(places + self.positions.start)

    def gatherer(self):
        """A function from positions int64 `[B]` to the batch's entries there; for
        tf.data."""
        import tensorflow as tf

        start = self.positions.start

        def gather(positions):
            image = tf.numpy_function(self.read, [positions], tf.uint8, stateful=False)
            size = positions.shape[0]
            image = tf.ensure_shape(image, [size, *self.archive.shape])
            return {
                "image": image,
                "label": tf.zeros([size], tf.int32),
                "index": tf.cast(positions + start, tf.int32),
                "mask": tf.ones([size]),
            }

        return gather

    def _rows(self, where):
        return {"positions": self.positions[where]}


class _Images:
    """The images of a `StreamedSplit` under the indices of an array."""

    def __init__(self, split):
        self._split = split
        self.shape = (len(split), *split.archive.shape)

    def __len__(self):
        return len(self._split)

    def __getitem__(self, where):
        return self._split.read(np.arange(len(self))[where])


def load(
    split: str,
    data_dir: str | None = None,
    tmp_dir: str | None = None,
    download: bool = False,
) -> StreamedSplit:
    """Opens a split's archive, `train_32x32.tar` or `valid_32x32.tar`.

    It is looked for in `data_dir`, and in `data_dir`/downloads/manual, where
    `tensorflow_datasets` wants it. Images are not read before batches ask for them.

    Args:
      split: "train", or "valid" (which "test" means too: there is no test set).
      data_dir: str.
      tmp_dir: not used; there is nothing to download.
      download: bool; True is an error that says where the archives are.

    Returns:
      `StreamedSplit`; its `name` begins with "imagenet32_box" if it has as many images
      as the other data set of that name.
    """
    del tmp_dir
    split = "valid" if split == "test" else split
    dataset.check_split(split, tuple(ARCHIVES))
    how = (
        f"put {ARCHIVES['train']} and {ARCHIVES['valid']} there; image-net.org no "
        "longer has them, academictorrents.com does"
    )
    if data_dir is None:
        raise errors.DataNotFoundError(f"`data_dir` is needed: {how}")
    data_dir = os.path.expanduser(data_dir)
    paths = [os.path.join(data_dir, folder, ARCHIVES[split]) for folder in _FOLDERS]
    path = next(filter(os.path.exists, paths), None)
    if path is None:
        what = "cannot be downloaded" if download else "must be in `data_dir`"
        raise errors.DataNotFoundError(
            f"ImageNet 32x32's {split} images {what}: {how}. Received: {data_dir}"
        )

    def report(fraction):
        logging.info("Looking for the images in %s: %.0f %%.", path, 100 * fraction)

    archive = png_archive.PngArchive(path, *IMAGE_SHAPE[:2], progress=report)
    name, note = identify(split, len(archive))
    return StreamedSplit(archive, range(len(archive)), name, note)


def identify(split, count):
    """(name, note) of a split of `count` images: which data set, and how whole."""
    if count == NUM_EXAMPLES[split]:
        return f"imagenet32/{split}", ""
    if count == NUM_EXAMPLES_BOX[split]:
        return f"imagenet32_box/{split}", (
            f"{count:,} images: the box-filtered set of image-net.org, not the paper's"
        )
    return f"imagenet32/{split}", f"{count:,} of {NUM_EXAMPLES[split]:,} images"


DATASET = dataset.ImageDataset(
    name="imagenet32",
    loader=load,
    image_shape=IMAGE_SHAPE,
    num_levels=NUM_LEVELS,
    num_held_out=2000,
    source="train_32x32.tar and valid_32x32.tar, from academictorrents.com",
    paper_split="1,281,149 and 49,999 images; not image-net.org's set of that name",
)
