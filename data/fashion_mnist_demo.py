"""Part of Fashion-MNIST, embedded: the data set of the demo needs no download.

The first 10,000 training and the first 1,000 test images, averaged to 14x14, lie in
`fashion_mnist_demo.npz` beside this file, under the licence of Fashion-MNIST (MIT,
`fashion_mnist_demo.LICENSE`). `python -m data.fashion_mnist_demo FOLDER` makes the file
again from the official ones in a folder.
"""

import hashlib
import io
import pathlib
import sys

import numpy as np

from data import dataset, fashion_mnist
from data.images import splits
from data.reading import archives, errors

IMAGE_SHAPE = (14, 14, 1)
NUM_EXAMPLES = {"train": 10_000, "test": 1_000}
PATH = pathlib.Path(__file__).with_suffix(".npz")
SHA256 = "ed215abcceb869f37df3c1f0de0c2b5eda7382e630d53d83361af13e5f646693"

_MAX_BYTES = 2_000_000


def load(split: str, gray_levels: int = 256, **where) -> splits.Split:
    """Loads a split.

    Args:
      split: "train" or "test".
      gray_levels: 256, or 16: each level is then 16 of the original's.
      **where: not used: the images are embedded.

    Returns:
      `splits.Split` with images uint8 `[N, 14, 14, 1]`; `index` is the position in the
      official order.
    """
    del where
    dataset.check_split(split)
    content = archives.read(str(PATH), _MAX_BYTES)
    if hashlib.sha256(content).hexdigest() != SHA256:
        raise errors.DataError(
            f"{PATH} is damaged: its sha256 must be {SHA256}. Restore it from the "
            f"repository. Received: {hashlib.sha256(content).hexdigest()}"
        )
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        image, label = arrays[f"{split}_image"], arrays[f"{split}_label"]
    return splits.Split(
        image=image // np.uint8(256 // gray_levels),
        label=label.astype(np.int32),
        index=np.arange(len(image), dtype=np.int32),
        name=f"fashion_mnist_demo/{split}",
        note=f"the first {len(image):,} {split} images of Fashion-MNIST at 14x14",
    )


def make(data_dir: str) -> dict[str, np.ndarray]:
    """The file's content, made from the official files.

    Args:
      data_dir: str, the folder of the four IDX files.

    Returns:
      dict of uint8 arrays: `train_image` `[10000, 14, 14, 1]`, `train_label`
      `[10000]`, `test_image` and `test_label`.
    """
    found = {}
    for split, count in NUM_EXAMPLES.items():
        whole = fashion_mnist.load(split, data_dir, image_size=14)
        found[f"{split}_image"] = whole.image[:count]
        found[f"{split}_label"] = whole.label[:count].astype(np.uint8)
    return found


DATASET = dataset.ImageDataset(
    name="fashion_mnist_demo",
    loader=load,
    image_shape=IMAGE_SHAPE,
    num_levels=fashion_mnist.NUM_LEVELS,
    options=(
        dataset.Option(
            name="gray_levels",
            type=int,
            default=256,
            choices=(256, 16),
            shapes=True,
            meaning="fashion_mnist_demo: values of a pixel; 16 leaves out its noise",
        ),
    ),
    derived=lambda gray_levels: {"num_levels": gray_levels},
    class_names=fashion_mnist.CLASS_NAMES,
    num_held_out=1000,
    source="embedded: a part of https://github.com/zalandoresearch/fashion-mnist",
    paper_split="ours: the first 10,000 and 1,000 images of the official splits",
)

if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m data.fashion_mnist_demo FOLDER_OF_THE_IDX_FILES")
    np.savez_compressed(PATH, **make(sys.argv[1]))
    print(f"{hashlib.sha256(PATH.read_bytes()).hexdigest()}  {PATH}")
