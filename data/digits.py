"""Scikit-learn's embedded digits: small grey images that need no download."""

import importlib.util
import os

import numpy as np

from data import dataset
from data.images import splits

IMAGE_SHAPE = (8, 8, 1)
NUM_LEVELS = 17
CLASS_NAMES = tuple("0123456789")
NUM_EXAMPLES = {"train": 1500, "test": 297}


def load(split: str, **where) -> splits.Split:
    """Loads handwritten digits, 8 x 8 pixels of 17 grey levels, with their class.

    The 1,797 images (the test half of UCI's "Optical recognition of handwritten
    digits") have no official split. Ours permutes scikit-learn's order by
    `np.random.RandomState(0)`, a stream that NumPy has frozen, and takes the first
    1,500 to train and the last 297 to test. A writer may appear in both.

    Args:
      split: "train" or "test".
      **where: not used: the images are embedded.

    Returns:
      `splits.Split` with images uint8 `[N, 8, 8, 1]` of values 0 to 16; `index` is
      the position in scikit-learn's order.
    """
    dataset.check_split(split)
    del where
    table = _table()
    images, labels = table[:, :-1].reshape(-1, *IMAGE_SHAPE), table[:, -1]
    order = np.random.RandomState(0).permutation(len(images))
    num_train = NUM_EXAMPLES["train"]
    chosen = order[:num_train] if split == "train" else order[num_train:]
    return splits.Split(
        image=images[chosen].astype(np.uint8),
        label=labels[chosen].astype(np.int32),
        index=chosen.astype(np.int32),
        name=f"digits/{split}",
    )


def _table():
    """A row an image, float64 `[1797, 65]`: its pixels, then its class."""
    # Scikit-learn's file, without its import, which takes a second.
    found = importlib.util.find_spec("sklearn")
    if found is not None:
        folder = os.path.join(os.path.dirname(found.origin), "datasets", "data")
        path = os.path.join(folder, "digits.csv.gz")
        if os.path.exists(path):
            return np.loadtxt(path, delimiter=",")
    from sklearn import datasets  # Says that it is missing, or knows a new place.

    bunch = datasets.load_digits()
    return np.column_stack([bunch.data, bunch.target])


DATASET = dataset.ImageDataset(
    name="digits",
    loader=load,
    image_shape=IMAGE_SHAPE,
    num_levels=NUM_LEVELS,
    class_names=CLASS_NAMES,
    num_held_out=200,
    source="embedded in scikit-learn: the test half of UCI's digits",
    paper_split="ours: 1,500 and 297 images, in a fixed random order",
)
