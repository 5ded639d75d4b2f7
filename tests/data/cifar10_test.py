"""Tests of CIFAR-10's sources on miniatures with the official files' layout."""

import hashlib
import pathlib
import socket
import types
from unittest import mock

import numpy as np
import pytest

import data
from data import cifar10
from data.reading import cifar10_files
from tests.data import fakes

REAL = pathlib.Path(__file__).parents[3] / "shared" / "datasets" / "cifar10"
FILE_SOURCES = (
    "loose",
    "loose xz",
    "binary archive",
    "python archive",
    "binary folder",
    "python folder",
)


def assert_is_the_miniature(split, name):
    images, labels = fakes.expected(name)
    np.testing.assert_array_equal(split.image, images)
    np.testing.assert_array_equal(split.label, labels)
    np.testing.assert_array_equal(split.index, np.arange(len(images)))
    assert split.name == f"cifar10/{name}"
    official = {"train": "20 of 50,000 images", "test": "4 of 10,000 images"}
    assert split.note == official[name]


def refused(message, *args, **kwargs):
    """Asserts that `load` refuses its arguments, in one line that has `message`."""
    with pytest.raises(data.DataError, match=message) as caught:
        cifar10.load(*args, **kwargs)
    assert "\n" not in str(caught.value)
    return caught.value


@pytest.mark.parametrize("source", FILE_SOURCES)
@pytest.mark.parametrize("name", ["train", "test"])
def test_all_files_give_the_same(source, name, tmp_path):
    archive_md5 = fakes.write_source(source, tmp_path)
    split = cifar10.load(name, str(tmp_path), archive_md5=archive_md5)
    assert_is_the_miniature(split, name)


@pytest.fixture(scope="module")
def tfds_from_file(tmp_path_factory):
    """Lets `tensorflow_datasets` find the miniature where it looks for a download."""
    import tensorflow_datasets as tfds

    folder = tmp_path_factory.mktemp("manual")
    fakes.write_source("binary archive", folder)
    archive = folder / "cifar-10-binary.tar.gz"
    prepare = tfds.core.DatasetBuilder.download_and_prepare
    dirs = []

    def prepare_from_file(builder, download_dir):
        dirs.append(download_dir)
        (url,) = builder.url_infos
        info = tfds.download.checksums.UrlInfo(
            size=archive.stat().st_size,
            checksum=hashlib.sha256(archive.read_bytes()).hexdigest(),
            filename=archive.name,
        )
        config = tfds.download.DownloadConfig(manual_dir=folder)
        with mock.patch.object(type(builder), "url_infos", {url: info}):
            prepare(builder, download_dir=download_dir, download_config=config)

    with mock.patch.object(
        tfds.core.DatasetBuilder, "download_and_prepare", prepare_from_file
    ):
        yield types.SimpleNamespace(dirs=dirs)


def test_tensorflow_datasets_prepares_and_gives_the_same(tfds_from_file, tmp_path):
    data_dir, tmp_dir = str(tmp_path / "data"), str(tmp_path / "tmp")
    split = cifar10.load("train", data_dir, tmp_dir, download=True)
    assert_is_the_miniature(split, "train")
    assert tfds_from_file.dirs == [tmp_dir]
    # Prepared once, it needs no download; nor does asking for one again.
    assert_is_the_miniature(cifar10.load("train", data_dir), "train")
    assert_is_the_miniature(cifar10.load("test", data_dir, download=True), "test")
    assert len(tfds_from_file.dirs) == 1

    for path in pathlib.Path(data_dir).rglob("*test.tfrecord*"):
        path.write_bytes(path.read_bytes()[:-100])
    refused("cannot read or prepare cifar10/test in .*cifar10; ", "test", data_dir)


def test_failed_download_is_one_line(tmp_path):
    with mock.patch(
        "tensorflow_datasets.core.DatasetBuilder.download_and_prepare",
        side_effect=ConnectionError("no route\nto host"),
    ):
        refused("ConnectionError: no route$", "test", str(tmp_path), download=True)


def test_nothing_there_says_what_to_do_and_asks_no_network(tmp_path, monkeypatch):
    monkeypatch.setattr(socket, "socket", None)
    (tmp_path / "cifar10").mkdir()  # Someone's, but not prepared.
    error = refused("must have CIFAR-10's train images", "train", str(tmp_path))
    assert isinstance(error, FileNotFoundError)
    for part in (*cifar10_files.ARCHIVE_MD5, "--generate_data", str(tmp_path)):
        assert part in str(error)
    missing = str(tmp_path / "nowhere")
    error = refused(f"must be a folder.*Received: {missing}", "train", missing)
    assert isinstance(error, FileNotFoundError)
    monkeypatch.setenv("TFDS_DATA_DIR", missing)
    refused(f"Received: {missing}", "train")


def test_unknown_split():
    refused("'train' or 'test'. Received: validation", "validation")


def test_sources_are_tried_in_the_documented_order(tmp_path):
    archive_md5 = {}
    for source in FILE_SOURCES[::-1]:
        archive_md5.update(fakes.write_source(source, tmp_path) or {})
    path = str(tmp_path)
    reasons = [
        (tmp_path / "test_batch.bin", "test_batch.bin must be whole records"),
        (tmp_path / "test_batch.bin.xz", "test_batch.bin.xz is damaged"),
        (tmp_path / "cifar-10-binary.tar.gz", "binary.tar.gz is not the official"),
        (tmp_path / "cifar-10-python.tar.gz", "python.tar.gz is not the official"),
        (
            tmp_path / "cifar-10-batches-bin" / "test_batch.bin",
            "batches-bin/test_batch.bin must be whole records",
        ),
        (
            tmp_path / "cifar-10-batches-py" / "test_batch",
            "batches-py/test_batch is not a pickle",
        ),
    ]
    for file, message in reasons:
        assert_is_the_miniature(
            cifar10.load("test", path, archive_md5=archive_md5), "test"
        )
        file.write_bytes(b"damaged" * 9)
        refused(message, "test", path, archive_md5=archive_md5)
        file.unlink()


def test_official_archives_are_checked(tmp_path):
    for source in ("binary archive", "python archive"):
        (name,) = fakes.write_source(source, tmp_path)
        md5 = cifar10_files.ARCHIVE_MD5[name]
        refused(f"{name} is not the official archive.*{md5}", "test", str(tmp_path))
        (tmp_path / name).unlink()


def test_missing_batches_are_named(tmp_path):
    fakes.write_source("loose", tmp_path)
    for i in (2, 5):
        (tmp_path / f"data_batch_{i}.bin").unlink()
    error = refused(
        "Missing: data_batch_2.bin, data_batch_5.bin", "train", str(tmp_path)
    )
    assert isinstance(error, FileNotFoundError)
    assert_is_the_miniature(cifar10.load("test", str(tmp_path)), "test")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda content: content[:-1], "truncated. Received: 12291 bytes"),
        (lambda content: b"", "is empty"),
        (lambda content: content[:3073] + b"\x0a" + content[3074:], "10 at image 1"),
        (lambda content: content * 2501, "larger than it may be, 30,730,000 bytes"),
    ],
)
def test_bad_records(damage, message, tmp_path):
    good = fakes.records("test_batch").tobytes()
    (tmp_path / "test_batch.bin").write_bytes(damage(good))
    refused(message, "test", str(tmp_path))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\x80\x02}.", "Received: NoneType and NoneType"),
        (b"\x80\x02}U\x04datacos\nsystem\ns.", "global 'os.system'"),
        (fakes.python2_pickle(np.zeros([2, 9], int), width=8), r"\[2, 4\]|Value"),
        (
            fakes.python2_pickle(np.zeros([2, 9], np.uint8), width=8),
            r"Received: \[2, 8\] and 2 labels",
        ),
        (
            fakes.python2_pickle(np.full([1, 3073], 11, np.uint8)),
            "Received: 11 at image 0",
        ),
        (
            fakes.python2_pickle(np.ones([1, 3073], np.uint8)).replace(
                b"K\x01e", b"Ne"
            ),
            "labels that are not integers",
        ),
        (
            fakes.python2_pickle(np.ones([1, 3073], np.uint8)).replace(
                b"K\x01e", b"\x8a\x20" + b"\x7f" * 32 + b"e"
            ),
            "labels 0 to 9. Received: 5766",
        ),
    ],
)
def test_bad_pickles(content, message, tmp_path):
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    (folder / "test_batch").write_bytes(content)
    refused(message, "test", str(tmp_path))


@pytest.mark.skipif(not REAL.exists(), reason=f"no {REAL} on this machine")
def test_real_test_images():
    split = cifar10.load("test", str(REAL))
    assert split.image.shape == (9980, *cifar10.IMAGE_SHAPE)
    assert split.note == "9,980 of 10,000 images"
    # The 20 that are absent are ships and horses (missing.json).
    counts = dict(zip(cifar10.CLASS_NAMES, np.bincount(split.label), strict=True))
    assert counts.pop("ship") + counts.pop("horse") == 1980
    assert set(counts.values()) == {1000}
    assert split.image.max() == cifar10.NUM_LEVELS - 1
    # Neighbors resemble each other, which they do in no other reading of the bytes.
    image = split.image[:500].astype(float)
    for axis in (1, 2):
        assert np.abs(np.diff(image, axis=axis)).mean() < 20
