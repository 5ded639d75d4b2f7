"""ImageNet 32x32 from archives of the true layout, made on the spot."""

import io
import os
import tarfile

import numpy as np
import pytest
from PIL import Image

from data import imagenet32
from data.images import batches
from data.reading import errors, png_archive

COUNT = {"train": 23, "valid": 7}


def pixels(split, i):
    rng = np.random.default_rng([list(COUNT).index(split), i])
    return rng.integers(0, 256, (32, 32, 3)).astype(np.uint8)


def png(image):
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, format="PNG")
    return stream.getvalue()


def write_tar(path, members):
    """An archive as PixelRNN's: a folder, then its images; GNU format."""
    with tarfile.open(path, "w", format=tarfile.GNU_FORMAT) as archive:
        folder = tarfile.TarInfo(os.path.basename(path).removesuffix(".tar"))
        folder.type = tarfile.DIRTYPE
        archive.addfile(folder)
        for name, content in members:
            member = tarfile.TarInfo(f"{folder.name}/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def write_split(folder, split, count=None):
    count = count or COUNT[split]
    members = [(f"{i:07d}.png", png(pixels(split, i))) for i in range(count)]
    write_tar(os.path.join(folder, imagenet32.ARCHIVES[split]), members)


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("imagenet32")
    for split in COUNT:
        write_split(folder, split)
    return str(folder)


def test_images_are_those_of_the_archive(data_dir):
    split = imagenet32.load("train", data_dir)
    assert (len(split), split.name) == (23, "imagenet32/train")
    assert split.note == "23 of 1,281,149 images"
    expected = np.stack([pixels("train", i) for i in range(23)])
    np.testing.assert_array_equal(split.image[:], expected)
    np.testing.assert_array_equal(split.image[[5, 2]], expected[[5, 2]])
    assert imagenet32.load("test", data_dir).name == "imagenet32/valid"


def test_the_manual_folder_of_tfds_serves(tmp_path):
    manual = tmp_path / "downloads" / "manual"
    manual.mkdir(parents=True)
    write_split(manual, "valid")
    assert len(imagenet32.load("valid", str(tmp_path))) == 7


def take(dataset, count):
    return [b for b, _ in zip(dataset.as_numpy_iterator(), range(count), strict=False)]


def test_training_order_is_exact_and_resumes(data_dir):
    split = imagenet32.load("train", data_dir)
    seen = take(batches.training_batches(split, 5, seed=3), 12)
    for epoch in range(3):  # 23 // 5 = 4 batches each.
        rows = seen[4 * epoch : 4 * epoch + 4]
        index = np.concatenate([row["index"] for row in rows])
        assert len(set(index)) == 20 and not (index == np.sort(index)).all()
    for batch in seen:
        for i, image in zip(batch["index"], batch["image"], strict=True):
            np.testing.assert_array_equal(image, pixels("train", i))
    resumed = take(batches.training_batches(split, 5, seed=3, start_step=7), 5)
    for a, b in zip(seen[7:], resumed, strict=True):
        np.testing.assert_array_equal(a["image"], b["image"])
    spec = batches.training_batches(split, 5, seed=3).element_spec
    assert spec["image"].shape == (5, 32, 32, 3)


def test_evaluation_has_each_image_once(data_dir):
    split = imagenet32.load("valid", data_dir)
    rows = list(batches.evaluation_batches(split, 4).as_numpy_iterator())
    mask = np.concatenate([row["mask"] for row in rows]) > 0
    index = np.concatenate([row["index"] for row in rows])[mask]
    np.testing.assert_array_equal(index, range(7))
    kept, held = imagenet32.load("train", data_dir).hold_out(3)
    np.testing.assert_array_equal(held.index, [20, 21, 22])
    np.testing.assert_array_equal(held.image[1:2][0], pixels("train", 21))
    assert len(kept) == 20 and "last 3" in held.note
    assert len(split.first(2)) == 2 and split.first(99) is split


def test_only_what_is_asked_for_is_read(data_dir, monkeypatch):
    split = imagenet32.load("train", data_dir)
    read = []
    pread = os.pread
    monkeypatch.setattr(os, "pread", lambda f, n, at: read.append(n) or pread(f, n, at))
    split.read([4, 9])
    assert len(read) == 2 and max(read) < 4000


def test_the_scan_is_kept_until_the_archive_changes(tmp_path, monkeypatch):
    write_split(tmp_path, "valid")
    first = imagenet32.load("valid", str(tmp_path)).image[:]
    with monkeypatch.context() as patched:
        patched.setattr(png_archive.PngArchive, "_scan", None)
        again = imagenet32.load("valid", str(tmp_path)).image[:]
    np.testing.assert_array_equal(first, again)
    write_split(tmp_path, "valid", count=4)
    assert len(imagenet32.load("valid", str(tmp_path))) == 4
    index = tmp_path / "valid_32x32.tar.index.npy"
    index.write_bytes(index.read_bytes()[:-30])
    assert len(imagenet32.load("valid", str(tmp_path))) == 4


@pytest.mark.parametrize(
    "split, count, name, note",
    [
        ("valid", 49_999, "imagenet32/valid", ""),
        ("train", 1_281_149, "imagenet32/train", ""),
        (
            "valid",
            50_000,
            "imagenet32_box/valid",
            "50,000 images: the box-filtered set",
        ),
        ("train", 1_281_167, "imagenet32_box/train", "not the paper's"),
        ("valid", 7, "imagenet32/valid", "7 of 49,999 images"),
    ],
)
def test_which_data_set_it_is(split, count, name, note):
    found = imagenet32.identify(split, count)
    assert found[0] == name and note in found[1] and bool(note) == bool(found[1])


GOOD = png(np.zeros((32, 32, 3), np.uint8))


@pytest.mark.parametrize(
    "members, message",
    [
        ([], "has no PNG images"),
        ([("a.png", b"not an image" * 9)], "a.png, is not a PNG image"),
        ([("a.png", png(np.zeros((16, 32, 3), np.uint8)))], "Received: 32 x 16"),
        ([("a.png", GOOD[:20] + b"\1" + GOOD[21:])], "is not a PNG image, or damaged"),
        ([("a.png", GOOD + bytes(1 << 16))], "is larger than a 32x32 image may be"),
    ],
)
def test_bad_archives(tmp_path, members, message):
    write_tar(tmp_path / "valid_32x32.tar", members)
    with pytest.raises(errors.DataError, match=message) as error:
        imagenet32.load("valid", str(tmp_path))
    assert "\n" not in str(error.value)


def test_truncated_and_foreign_files(tmp_path):
    write_split(tmp_path, "valid")
    path = tmp_path / "valid_32x32.tar"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(errors.DataError, match="is truncated"):
        imagenet32.load("valid", str(tmp_path))
    path.write_bytes(b"PK" + bytes(range(256)) * 9)
    with pytest.raises(errors.DataError, match="is no .tar, or damaged"):
        imagenet32.load("valid", str(tmp_path))


def test_a_damaged_image_is_named_when_it_is_read(tmp_path):
    body = bytearray(GOOD)
    body[-20] ^= 255
    write_tar(tmp_path / "valid_32x32.tar", [("a.png", GOOD), ("b.png", bytes(body))])
    split = imagenet32.load("valid", str(tmp_path))
    with pytest.raises(errors.DataError, match="image 1, is damaged"):
        split.image[:]
    # Through tf.data it arrives wrapped; programs find the line in it (flags.py).
    with pytest.raises(
        Exception, match=r"(?m)^data\.reading\.errors\.DataError: .*image 1, is damaged"
    ):
        list(batches.evaluation_batches(split, 2))


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"split": "dev"}, "`split` must be 'train' or 'valid'"),
        ({"split": "train"}, "`data_dir` is needed"),
        ({"split": "train", "data_dir": "/nowhere"}, "must be in `data_dir`"),
        (
            {"split": "valid", "data_dir": "/nowhere", "download": True},
            "cannot be downloaded.*academictorrents",
        ),
    ],
)
def test_missing(arguments, message):
    with pytest.raises(errors.DataError, match=message):
        imagenet32.load(**arguments)
