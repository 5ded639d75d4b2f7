"""The contract of a data set's file, kept by each there is and by a user's own."""

import subprocess
import sys
import textwrap

import numpy as np
import pytest

import data
from data import dataset
from data.images import splits
from data.reading import errors

IMAGES = ("cifar10", "digits", "fashion_mnist", "fashion_mnist_demo", "imagenet32")
TEXT = ("documents", "lm1b")


def image_set(**changes):
    """A small image data set whose pixels are 0 to 3 and labels 0 and 1."""

    def load(split, data_dir, tmp_dir, download, **options):
        assert not options
        return splits.Split(
            image=np.arange(4, dtype=np.uint8).reshape([2, 2, 1, 1]),
            label=np.array([0, 1], np.int32),
            index=np.arange(2, dtype=np.int32),
            name=f"toy/{split}",
        )

    settings = {
        "name": "toy",
        "loader": load,
        "num_held_out": 1,
        "source": "here",
        "image_shape": (2, 1, 1),
        "num_levels": 4,
        "class_names": ("even", "odd"),
    }
    return dataset.ImageDataset(**settings | changes)


def test_names():
    assert dataset.names("images") == IMAGES
    assert dataset.names("text") == TEXT
    assert dataset.names() == tuple(sorted(IMAGES + TEXT))
    with pytest.raises(errors.DataError, match="`kind` must be.*Received: 'sound'"):
        dataset.names("sound")


@pytest.mark.parametrize("name", IMAGES + TEXT)
def test_each_says_what_programs_ask(name):
    found = dataset.find(name)
    assert found.name == name and found.num_held_out > 0
    assert found.source and found.paper_split
    assert "\n" not in found.source + found.paper_split
    for option in found.options:
        assert option.check(option.default) == option.default and option.meaning
    assert found.configure() == found.configure(**found.settings)
    if found.kind == "images":
        assert found.num_dims == np.prod(found.image_shape)
        assert len(set(found.class_names)) == found.num_classes


@pytest.mark.parametrize("name", ["digits", "documents", "fashion_mnist_demo"])
def test_the_embedded_ones_need_no_folder(name):
    found = dataset.find(name)
    train, test = found.load("train"), found.load("test", data_dir="/nowhere")
    assert (train.name, test.name) == (f"{name}/train", f"{name}/test")
    with pytest.raises(errors.DataError, match="'train' or 'test'. Received: all"):
        found.load("all")


def test_flags_need_no_library():
    """What programs import before they have read their flags."""
    code = """
        import sys
        from data import dataset
        for name in dataset.names():
            dataset.find(name).configure()
        slow = {"tensorflow", "keras", "jax", "sklearn", "tensorflow_datasets"}
        assert not slow & set(sys.modules), slow & set(sys.modules)
    """
    command = [sys.executable, "-c", textwrap.dedent(code)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_unknown_name():
    with pytest.raises(errors.DataError) as caught:
        dataset.find("fasion_mnist")
    assert "did you mean 'fashion_mnist'?" in str(caught.value)
    assert "cifar10, digits" in str(caught.value)
    with pytest.raises(errors.DataError, match="There is no.*Received: 'dataset'"):
        dataset.find("dataset")


# A file of one's own, in `data/` or elsewhere.

FILE = """
import numpy as np
from data import dataset
from data.images import splits

def load(split, **where):
    image = np.full([3, 4, 5, 1], len(split), np.uint8)
    label = np.zeros(3, np.int32)
    return splits.Split(image, label, np.arange(3, dtype=np.int32), f"mine/{split}")

DATASET = dataset.ImageDataset(
    name="mine", loader=load, num_held_out=1, source="me", image_shape=(4, 5, 1)
)
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder whose files are as those of `data/`."""
    monkeypatch.setattr(data, "__path__", [*data.__path__, str(tmp_path)])
    yield tmp_path
    for name in ("mine", "other"):
        sys.modules.pop(f"data.{name}", None)


def test_one_file_is_enough(folder):
    (folder / "mine.py").write_text(FILE)
    (folder / "_helper.py").write_text("raise ImportError")
    assert dataset.names("images") == tuple(sorted((*IMAGES, "mine")))
    found = dataset.find("mine")
    assert (found.num_dims, found.num_levels, found.num_classes) == (20, 256, 0)
    assert found.load("test").image.max() == 4


@pytest.mark.parametrize("text", ["", "DATASET = 3", FILE.replace('"mine"', '"his"')])
def test_a_file_that_does_not_end_in_a_data_set(folder, text):
    (folder / "other.py").write_text(text)
    with pytest.raises(errors.DataError, match="data/other.py must end in `DATASET"):
        dataset.find("other")


def test_add(monkeypatch):
    monkeypatch.setattr(dataset, "_ADDED", {})
    mine = image_set()
    assert dataset.add(mine) is mine and dataset.add(mine) is mine
    assert dataset.find("toy") is mine
    assert "toy" in dataset.names() and "toy" in dataset.names("images")
    assert "toy" not in dataset.names("text")
    with pytest.raises(errors.DataError, match="of that name already.*'toy'"):
        dataset.add(image_set())
    with pytest.raises(errors.DataError, match="of that name already.*'digits'"):
        dataset.add(image_set(name="digits"))
    with pytest.raises(errors.DataError, match="letters, digits.*'my set'"):
        dataset.add(image_set(name="my set"))
    with pytest.raises(errors.DataError, match="must be an ImageDataset.*Received: 3"):
        dataset.add(3)


# Options.

SIZE = dataset.Option(
    name="size", type=int, default=2, choices=(1, 2), meaning="of images"
)
FILES = dataset.Option(name="files", type=str, default="*", meaning="a pattern")


def test_options_reach_the_loader_and_what_depends_on_them():
    calls = []

    def load(split, **given):
        calls.append((split, given))
        size = given["size"]
        return splits.Split(
            image=np.zeros([1, size, 1, 1], np.uint8),
            label=np.zeros(1, np.int32),
            index=np.zeros(1, np.int32),
            name="toy/train",
        )

    toy = image_set(
        loader=load,
        options=(SIZE, FILES),
        derived=lambda size, files: {"image_shape": (size, 1, 1)},
    )
    where = {"data_dir": "a", "tmp_dir": "b", "download": True}
    toy.load("train", **where)
    small = toy.configure(size=1)
    small.configure(files="x").load("test", "a")
    assert (toy.image_shape, small.image_shape) == ((2, 1, 1), (1, 1, 1))
    where_2 = {"data_dir": "a", "tmp_dir": None, "download": False}
    assert calls == [
        ("train", {**where, "size": 2, "files": "*"}),
        ("test", {**where_2, "size": 1, "files": "x"}),
    ]
    assert hash(small) != hash(toy) and small != toy


@pytest.mark.parametrize(
    "options, message",
    [
        ({"size": 3}, "`size` must be one of 1, 2. Received: 3"),
        ({"size": "1"}, "`size` must be int. Received: '1'"),
        ({"size": True}, "`size` must be int. Received: True"),
        ({"fils": "x"}, "no option `fils`; did you mean 'files'?.*size, files"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(errors.DataError, match=message):
        image_set(options=(SIZE, FILES)).configure(**options)


def test_a_set_without_options_says_so():
    with pytest.raises(errors.DataError, match="It has none. Received: image_size=14"):
        dataset.find("digits").configure(image_size=14)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"image_shape": (1, 2, 1)}, r"must be \[1, 2, 1\].*Received: \[2, 1, 1\]"),
        ({"num_levels": 3}, "`image` must be 0 to 2. Received: 0 to 3"),
        ({"class_names": ("one",)}, "`label` must be 0 to 0. Received: 0 to 1"),
    ],
)
def test_what_is_loaded_is_what_was_said(changes, message):
    assert len(image_set().load("train")) == 2
    assert len(image_set(class_names=()).load("train")) == 2
    with pytest.raises(errors.DataError, match=message):
        image_set(**changes).load("train")
