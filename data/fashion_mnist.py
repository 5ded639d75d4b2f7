"""Fashion-MNIST (Xiao et al. 2017): 60,000 + 10,000 grey images of ten garments.

https://github.com/zalandoresearch/fashion-mnist
"""

import hashlib
import os
from typing import NamedTuple

import numpy as np

from data import dataset
from data.images import splits
from data.reading import errors, files, idx, prepared

IMAGE_SHAPE = (28, 28, 1)
NUM_LEVELS = 256
CLASS_NAMES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)


class Files(NamedTuple):
    """The two files of a split, and the sha256 of their values."""

    num_examples: int
    images: str
    images_sha256: str
    labels: str
    labels_sha256: str


OFFICIAL = {
    "train": Files(
        60_000,
        "train-images-idx3-ubyte",
        "2e487a6c89124f78f2d7521542223cafe96f7123c3ca13d447772ac6ecbb3012",
        "train-labels-idx1-ubyte",
        "657fbd221bfc9f4198cc14b5619cc33ec57c58dd0e47af4d99d6650759e869a7",
    ),
    "test": Files(
        10_000,
        "t10k-images-idx3-ubyte",
        "c867c93ff95360594e8ec3287995350b824dd110b11595c0e13d5423f621867a",
        "t10k-labels-idx1-ubyte",
        "3d0e6c6ea990b53b6f8f500a41cac93881d981b315f84578b7d915342ade01e9",
    ),
}
_HOW_TO_GET_IT = (
    "put the four files such as train-images-idx3-ubyte.gz from "
    "https://github.com/zalandoresearch/fashion-mnist there, or download with "
    "--generate_data"
)


def load(
    split: str,
    data_dir: str | None = None,
    tmp_dir: str | None = None,
    download: bool = False,
    image_size: int = 28,
) -> splits.Split:
    """Loads a split from the first of these that is in `data_dir`.

    1. The official IDX files, each gzipped (`.gz`) or not. What they hold is compared
       with the official sha256: MNIST and others have files of the same names.
    2. `fashion_mnist/`, prepared by `tensorflow_datasets`; with `download`, what is not
       there is downloaded and prepared. Its order is another, and the note says so:
       other images are held out of the training set than with the official files.

    Args:
      split: "train" or "test".
      data_dir: optional str, that of `tensorflow_datasets` if not given:
        $TFDS_DATA_DIR or ~/tensorflow_datasets.
      tmp_dir: optional str, where a download goes.
      download: bool.
      image_size: int, 28, or 14 for `halve`d images.

    Returns:
      `splits.Split` with images uint8 `[N, image_size, image_size, 1]`; `index` is the
      position in the order of reading.
    """
    dataset.check_split(split)
    if image_size not in (28, 14):
        raise errors.DataError(f"`image_size` must be 28 or 14. Received: {image_size}")
    data_dir = prepared.data_dir_of(data_dir, download, _HOW_TO_GET_IT)
    notes = []
    found = _read_files(OFFICIAL[split], data_dir)
    if found is None:
        found = _read_prepared(split, data_dir, tmp_dir, download)
        notes.append("in the order of tensorflow_datasets")
    image, label = found
    if image_size == 14:
        image = halve(image)
        notes.append("averaged to 14x14")
    return splits.Split(
        image=image,
        label=label,
        index=np.arange(len(image), dtype=np.int32),
        name=f"fashion_mnist/{split}",
        note=", ".join(notes),
    )


def halve(image: np.ndarray) -> np.ndarray:
    """The means of 2x2 pixels, rounded to the nearest integer, halves up.

    Args:
      image: uint8 `[N, H, W, C]`, H and W even.

    Returns:
      uint8 `[N, H / 2, W / 2, C]`.
    """
    n, height, width, channels = image.shape
    blocks = image.reshape(n, height // 2, 2, width // 2, 2, channels)
    return ((blocks.sum((2, 4), dtype=np.uint16) + 2) // 4).astype(np.uint8)


def _read_files(official, data_dir):
    """(images, labels) of the IDX files; `None` if there are none."""
    names = (official.images, official.labels)
    paths = [_existing(os.path.join(data_dir, name)) for name in names]
    if paths == [None, None]:
        return None
    if None in paths:
        raise errors.DataNotFoundError(
            f"{data_dir} must have a split's images and its labels. "
            f"Missing: {names[paths.index(None)]}.gz"
        )
    count = official.num_examples
    image = idx.read(paths[0], (count, 28, 28), "images")
    label = idx.read(paths[1], (count,), "labels")
    wrong = np.flatnonzero(label >= len(CLASS_NAMES))
    if wrong.size:
        raise errors.DataError(
            f"{paths[1]} must have labels 0 to {len(CLASS_NAMES) - 1}. Received: "
            f"{label[wrong[0]]} at image {wrong[0]}"
        )
    _check_sha256(paths[0], image, official.images_sha256)
    _check_sha256(paths[1], label, official.labels_sha256)
    return image[..., np.newaxis], label.astype(np.int32)


def _existing(stem):
    """The path of a file, gzipped or not; `None` if there is neither."""
    return next(filter(files.exists, (f"{stem}.gz", stem)), None)


def _check_sha256(path, array, expected):
    """Raises unless the array is what the official file holds."""
    found = hashlib.sha256(array).hexdigest()
    if found != expected:
        raise errors.DataError(
            f"{path} is not Fashion-MNIST's file, whose values have the sha256 "
            f"{expected}: damaged, or another data set's file of that name, such as "
            f"MNIST's. Received: {found}"
        )


def _read_prepared(split, data_dir, tmp_dir, download):
    """(images, labels) from `tensorflow_datasets`."""
    columns = prepared.load("fashion_mnist", split, data_dir, tmp_dir, download)
    if columns is None:
        raise errors.DataNotFoundError(
            f"`data_dir` must have Fashion-MNIST's {split} images; {_HOW_TO_GET_IT}. "
            f"Received: {data_dir}"
        )
    return columns["image"], columns["label"].astype(np.int32)


DATASET = dataset.ImageDataset(
    name="fashion_mnist",
    loader=load,
    image_shape=IMAGE_SHAPE,
    num_levels=NUM_LEVELS,
    class_names=CLASS_NAMES,
    num_held_out=2000,
    source="https://github.com/zalandoresearch/fashion-mnist, the four IDX files",
    paper_split="the official 60,000 and 10,000 images",
    options=(
        dataset.Option(
            name="image_size",
            type=int,
            default=28,
            choices=(28, 14),
            shapes=True,
            meaning="fashion_mnist: height and width; 14 averages 2x2 pixels",
        ),
    ),
    derived=lambda image_size: {"image_shape": (image_size, image_size, 1)},
)
