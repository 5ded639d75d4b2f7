"""Fashion-MNIST in miniature, in the official files' format; and the real files."""

import gzip
import hashlib
import os
import pathlib
import struct
import tracemalloc
from unittest import mock

import numpy as np
import pytest

from data import dataset, fashion_mnist, fashion_mnist_demo
from data.reading import errors

COUNT = {"train": 6, "test": 4}
STEM = {"train": "train", "test": "t10k"}
PLACES = (
    os.environ.get("FASHION_MNIST", ""),
    "/usr/share/datasets/fashion-mnist",  # Where Debian's package puts them.
    os.path.expanduser("~/fashion_mnist"),
)


def real_files():
    """The folder of the official files; skips the test where there is none."""
    for place in PLACES:
        if os.path.exists(os.path.join(place, "train-images-idx3-ubyte.gz")):
            return place
    pytest.skip("Fashion-MNIST's files are not here; $FASHION_MNIST may say where")


def values(split):
    rng = np.random.RandomState(len(split))
    count = COUNT[split]
    return rng.bytes(count * 784), bytes(rng.randint(0, 10, count).tolist())


def images_file(content, count):
    return struct.pack(">4I", 2051, count, 28, 28) + content


def labels_file(content, count):
    return struct.pack(">2I", 2049, count) + content


def miniature():
    """{name: content} of the four files, unpacked."""
    found = {}
    for split, stem in STEM.items():
        images, labels = values(split)
        found[f"{stem}-images-idx3-ubyte"] = images_file(images, COUNT[split])
        found[f"{stem}-labels-idx1-ubyte"] = labels_file(labels, COUNT[split])
    return found


def put(folder, contents, packed=True):
    for name, content in contents.items():
        path = folder / (f"{name}.gz" if packed else name)
        path.write_bytes(gzip.compress(content) if packed else content)


def pretend(monkeypatch):
    """The miniature's files are the official ones."""
    official = {}
    for split, files in fashion_mnist.OFFICIAL.items():
        digests = [hashlib.sha256(x).hexdigest() for x in values(split)]
        official[split] = files._replace(
            num_examples=COUNT[split],
            images_sha256=digests[0],
            labels_sha256=digests[1],
        )
    monkeypatch.setattr(fashion_mnist, "OFFICIAL", official)


@pytest.fixture(autouse=True)
def small(monkeypatch, request):
    if "real" not in request.node.name:
        pretend(monkeypatch)


def assert_is_the_miniature(split, name):
    images, labels = values(name)
    assert split.image.dtype == np.uint8
    assert split.image.shape == (COUNT[name], 28, 28, 1)
    assert split.image.tobytes() == images
    assert split.label.tolist() == list(labels)
    assert split.index.tolist() == list(range(COUNT[name]))
    assert split.name == f"fashion_mnist/{name}"


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("name", COUNT)
def test_official_files(tmp_path, packed, name):
    put(tmp_path, miniature(), packed)
    split = dataset.find("fashion_mnist").load(name, str(tmp_path))
    assert_is_the_miniature(split, name)
    assert split.note == ""


def test_a_home_folder_and_one_of_tensorflow_datasets(tmp_path, monkeypatch):
    put(tmp_path, miniature())
    monkeypatch.setenv("HOME", str(tmp_path.parent))
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    assert len(fashion_mnist.load("test", f"~/{tmp_path.name}")) == 4
    assert len(fashion_mnist.load("test")) == 4


def test_halves_are_means_of_four_pixels(tmp_path):
    put(tmp_path, miniature())
    half = dataset.find("fashion_mnist").configure(image_size=14)
    assert (half.image_shape, half.num_dims) == ((14, 14, 1), 196)
    split = half.load("train", str(tmp_path))
    assert split.note == "averaged to 14x14"
    whole = fashion_mnist.load("train", str(tmp_path)).image.astype(int)
    for n, y, x in np.ndindex(6, 14, 14):
        four = whole[n, 2 * y : 2 * y + 2, 2 * x : 2 * x + 2, 0].ravel()
        assert split.image[n, y, x, 0] == int(sum(four) / 4 + 0.5)
    with pytest.raises(errors.DataError, match="must be one of 28, 14. Received: 7"):
        half.configure(image_size=7)
    with pytest.raises(errors.DataError, match="must be 28 or 14. Received: 7"):
        fashion_mnist.load("train", str(tmp_path), image_size=7)


def attacks():
    """(what, file, message): a content of that file under which it is refused."""
    good = miniature()
    images, labels = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"
    pixels, classes = values("train")
    packed = gzip.compress(good[images])
    return [
        ("labels for images", images, gzip.compress(good[labels]),
         "must hold images, .* 00 00 08 03 .*magic number 2051.*08 01 .2049"),
        ("images for labels", labels, packed, "must hold labels, .*2049.*2051"),
        ("test for train", images, gzip.compress(good["t10k-images-idx3-ubyte"]),
         r"images of shape \[6, 28, 28\].*Received: \[4, 28, 28\]"),
        ("test labels", labels, gzip.compress(good["t10k-labels-idx1-ubyte"]),
         r"labels of shape \[6\].*Received: \[4\]"),
        ("no magic", images, b"\x89PNG" + good[images][4:],
         "no IDX file of bytes. Received: 89 50 4e 47"),
        ("floats", images, b"\0\0\x0d\3" + good[images][4:], "Received: 00 00 0d 03"),
        ("nothing", images, b"", "Received: an empty file"),
        ("gzipped nothing", images, gzip.compress(b""), "Received: an empty file"),
        ("three bytes", images, b"\0\0\x08", "Received: 00 00 08"),
        ("half a header", images, good[images][:9], "within its header.*: 9 bytes"),
        ("truncated", images, good[images][:-1],
         "is truncated: 4,704 bytes of images .*Received: 4,703"),
        ("no labels", labels, good[labels][:8], "truncated: 6 bytes.*Received: 0"),
        ("gzip truncated", images, packed[:-9], "is damaged or cannot be read.*EOFErr"),
        ("gzip broken", images, packed[:50] + b"\xff" * 9 + packed[59:],
         "is damaged or cannot be read"),
        ("wrong crc", images, packed[:-8] + b"\1\2\3\4" + packed[-4:], "CRC check"),
        ("more after it", images, good[images] + b"\0", "must end after 4,704 bytes"),
        ("more after gzip", images, packed + b"more", "is damaged or cannot be read"),
        ("gzip twice", images, packed + packed, "must end after 4,704 bytes"),
        ("gzip in gzip", images, gzip.compress(packed), "no IDX file.*: 1f 8b"),
        ("giant count", images, images_file(pixels, 0xFFFFFFFF), "4294967295, 28, 28"),
        ("no images", images, images_file(b"", 0), r"Received: \[0, 28, 28\]"),
        ("another size", images, struct.pack(">4I", 2051, 6, 14, 56) + pixels,
         r"Received: \[6, 14, 56\]"),
        ("rank 255", images, b"\0\0\x08\xff" + good[images][4:],
         "Received: 00 00 08 ff"),
        ("a class too many", labels, labels_file(b"\0\1\x0a" + classes[3:], 6),
         "must have labels 0 to 9. Received: 10 at image 2"),
        ("another data set's", images, images_file(bytes(6 * 784), 6),
         "is not Fashion-MNIST's file.*such as MNIST's"),
        ("other labels", labels, labels_file(bytes(6), 6),
         "is not Fashion-MNIST's file"),
        ("a bomb", images, gzip.compress(good[images] + bytes(64 << 20)),
         "must end after 4,704 bytes.*Nothing beyond"),
        ("a bomb for labels", labels, gzip.compress(bytes(64 << 20)),
         "no IDX file.*: 00 00 00 00"),
    ]  # fmt: skip


@pytest.mark.parametrize("attack", attacks(), ids=lambda x: x[0])
def test_hostile_files(tmp_path, attack):
    _, name, content, message = attack
    put(tmp_path, miniature())
    path = tmp_path / f"{name}.gz"
    path.write_bytes(content)
    before = sorted(tmp_path.iterdir())
    tracemalloc.start()
    with pytest.raises(errors.DataError, match=message) as caught:
        fashion_mnist.load("train", str(tmp_path))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 << 20, "what is refused was not unpacked"
    assert str(caught.value).startswith(str(path)), "the file is named"
    assert "\n" not in str(caught.value)
    assert sorted(tmp_path.iterdir()) == before
    assert len(fashion_mnist.load("test", str(tmp_path))) == 4


def test_a_folder_in_a_file_s_place(tmp_path):
    put(tmp_path, miniature())
    (tmp_path / "train-images-idx3-ubyte.gz").unlink()
    (tmp_path / "train-images-idx3-ubyte.gz").mkdir()
    with pytest.raises(errors.DataError, match="cannot be read.*IsADirectoryError"):
        fashion_mnist.load("train", str(tmp_path))


def test_missing_files(tmp_path):
    with pytest.raises(errors.DataNotFoundError, match="--generate_data.*Received: "):
        fashion_mnist.load("train", str(tmp_path))
    with pytest.raises(errors.DataNotFoundError, match="must be a folder"):
        fashion_mnist.load("train", str(tmp_path / "none"))
    put(tmp_path, miniature())
    (tmp_path / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(
        errors.DataNotFoundError, match="Missing: t10k-labels-idx1-ubyte.gz"
    ):
        fashion_mnist.load("test", str(tmp_path))
    with pytest.raises(errors.DataError, match="'train' or 'test'. Received: valid"):
        fashion_mnist.load("valid", str(tmp_path))


@pytest.fixture
def tfds_from_files(tmp_path):
    """Lets `tensorflow_datasets` find the miniature where it looks for a download."""
    import tensorflow_datasets as tfds

    files = tmp_path / "files"
    files.mkdir()
    for name, content in miniature().items():
        (files / name).write_bytes(content)
    prepare = tfds.core.DatasetBuilder.download_and_prepare

    def prepare_from_files(builder, download_dir):
        def generators(_):
            return [
                tfds.core.SplitGenerator(
                    name=split,
                    gen_kwargs={
                        "num_examples": COUNT[split],
                        "data_path": str(files / f"{stem}-images-idx3-ubyte"),
                        "label_path": str(files / f"{stem}-labels-idx1-ubyte"),
                    },
                )
                for split, stem in STEM.items()
            ]

        builder._split_generators = generators
        prepare(builder, download_dir=download_dir)

    with mock.patch.object(
        tfds.core.DatasetBuilder, "download_and_prepare", prepare_from_files
    ):
        yield


def test_tensorflow_datasets_prepares_the_same_images(tfds_from_files, tmp_path):
    data_dir = str(tmp_path / "data")
    fashion_mnist.load("train", data_dir, str(tmp_path / "tmp"), download=True)
    split = fashion_mnist.load("train", data_dir)
    images, labels = values("train")
    expected = {(images[784 * i : 784 * i + 784], labels[i]) for i in range(6)}
    found = {
        (image.tobytes(), label)
        for image, label in zip(split.image, split.label, strict=True)
    }
    assert found == expected and len(split) == 6
    assert split.note == "in the order of tensorflow_datasets"
    half = fashion_mnist.load("test", data_dir, image_size=14)
    assert half.image.shape == (4, 14, 14, 1)
    assert half.note == "in the order of tensorflow_datasets, averaged to 14x14"


def test_real_files():
    folder = real_files()
    for name, count in (("train", 60_000), ("test", 10_000)):
        split = fashion_mnist.load(name, folder)
        assert split.image.shape == (count, 28, 28, 1) and split.note == ""
        assert np.bincount(split.label).tolist() == [count // 10] * 10
    assert split.label[:6].tolist() == [9, 2, 1, 1, 6, 1]  # As the site's pictures.
    assert fashion_mnist.CLASS_NAMES[9] == "Ankle boot"


# The part that is embedded.


def test_demo():
    found = dataset.find("fashion_mnist_demo")
    path = fashion_mnist_demo.PATH
    assert path.stat().st_size <= 2_000_000
    licence = pathlib.Path(path).with_suffix(".LICENSE").read_text(encoding="utf-8")
    assert "The MIT License" in licence and "2017 Zalando SE" in licence
    train, test = found.load("train"), found.load("test")
    assert train.image.shape == (10_000, 14, 14, 1)
    assert test.image.shape == (1_000, 14, 14, 1)
    for split in (train, test):
        assert np.bincount(split.label).min() > 0.08 * len(split)
        assert split.note.startswith(f"the first {len(split):,} ")


def test_demo_is_made_of_the_real_files_bit_by_bit():
    made = fashion_mnist_demo.make(real_files())
    found = dataset.find("fashion_mnist_demo")
    for split in ("train", "test"):
        kept = found.load(split)
        np.testing.assert_array_equal(made[f"{split}_image"], kept.image)
        np.testing.assert_array_equal(made[f"{split}_label"], kept.label)


def test_damaged_demo(tmp_path, monkeypatch):
    content = bytearray(fashion_mnist_demo.PATH.read_bytes())
    content[1000] ^= 1
    path = tmp_path / "demo.npz"
    path.write_bytes(content)
    monkeypatch.setattr(fashion_mnist_demo, "PATH", path)
    with pytest.raises(errors.DataError, match="demo.npz is damaged: its sha256 must"):
        fashion_mnist_demo.load("test")
    path.unlink()
    with pytest.raises(errors.DataError, match="demo.npz .*cannot be read"):
        fashion_mnist_demo.load("test")
