"""CIFAR-10 (Krizhevsky 2009): 50,000 + 10,000 color images of ten classes."""

import numpy as np

from data import dataset
from data.images import splits
from data.reading import cifar10_files, errors, prepared

IMAGE_SHAPE = (32, 32, 3)
NUM_LEVELS = 256
CLASS_NAMES = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)
NUM_EXAMPLES = {"train": 50_000, "test": 10_000}

_BATCH_FILES = {
    "train": [f"data_batch_{i}" for i in range(1, 6)],
    "test": ["test_batch"],
}
_HOW_TO_GET_IT = (
    f"put {cifar10_files.BINARY_ARCHIVE} or {cifar10_files.PYTHON_ARCHIVE} from "
    "https://www.cs.toronto.edu/~kriz/cifar.html there, or download with "
    "--generate_data"
)


def load(
    split: str,
    data_dir: str | None = None,
    tmp_dir: str | None = None,
    download: bool = False,
    archive_md5: dict[str, str] | None = None,
) -> splits.Split:
    """Loads a split from the first of these that is in `data_dir`.

    1. Records, `data_batch_1.bin` to `data_batch_5.bin` or `test_batch.bin`, each
       perhaps `.xz`. Such files may hold fewer images than the official ones; the
       split's `note` then says how many.
    2. `cifar-10-binary.tar.gz`, the official archive: its md5 is checked.
    3. `cifar-10-python.tar.gz`, likewise.
    4. `cifar-10-batches-bin/`, the first archive extracted; as 1.
    5. `cifar-10-batches-py/`, the second archive extracted.
    6. `cifar10/`, prepared by `tensorflow_datasets`; with `download`, what is not
       there is downloaded and prepared.

    All give the images in the same order, the official one.

    Args:
      split: "train" or "test".
      data_dir: optional str, that of `tensorflow_datasets` if not given:
        $TFDS_DATA_DIR or ~/tensorflow_datasets.
      tmp_dir: optional str, where a download goes.
      download: bool.
      archive_md5: optional dict from the names of archives to their md5 in
        hexadecimal, in place of the official `cifar10_files.ARCHIVE_MD5`.

    Returns:
      `splits.Split` with images uint8 `[N, 32, 32, 3]`; `index` is the position in
      the order of reading.
    """
    dataset.check_split(split)
    data_dir = prepared.data_dir_of(data_dir, download, _HOW_TO_GET_IT)
    parts = cifar10_files.read(
        _BATCH_FILES[split], data_dir, archive_md5 or cifar10_files.ARCHIVE_MD5
    )
    if parts is None:
        parts = _read_prepared(split, data_dir, tmp_dir, download)
    image, label = (np.concatenate(column) for column in zip(*parts, strict=True))
    return splits.Split(
        image=image,
        label=label,
        index=np.arange(len(image), dtype=np.int32),
        name=f"cifar10/{split}",
        note=_note(len(image), NUM_EXAMPLES[split]),
    )


def _read_prepared(split, data_dir, tmp_dir, download):
    """[(images, labels)] from `tensorflow_datasets`."""
    columns = prepared.load("cifar10", split, data_dir, tmp_dir, download)
    if columns is None:
        raise errors.DataNotFoundError(
            f"`data_dir` must have CIFAR-10's {split} images; {_HOW_TO_GET_IT}. "
            f"Received: {data_dir}"
        )
    # It shuffles what it prepares; the ids, such as "test_00042", tell the order.
    order = np.argsort(columns["id"])
    return [(columns["image"][order], columns["label"][order].astype(np.int32))]


def _note(found, official):
    """What a number measured on `found` of the `official` images has to say."""
    return "" if found == official else f"{found:,} of {official:,} images"


DATASET = dataset.ImageDataset(
    name="cifar10",
    loader=load,
    image_shape=IMAGE_SHAPE,
    num_levels=NUM_LEVELS,
    class_names=CLASS_NAMES,
    num_held_out=2000,
    source="https://www.cs.toronto.edu/~kriz/cifar.html, either archive",
    paper_split="the official 50,000 and 10,000 images",
)
