"""LM1B from fakes of its shards, its archive and tensorflow_datasets' preparation."""

import hashlib
import io
import os
import tarfile

import pytest

from data import documents, lm1b
from data.reading import errors
from data.text import corpora

REAL = os.environ.get("LM1B", os.path.expanduser("~/lm1b"))  # Skipped without.
TRAIN = [f"news.en-0000{i}-of-00100" for i in (1, 2)]
TEST = lm1b.TEST_FILES
TEXT = {TRAIN[0]: "one .\ntwo ,\n", TRAIN[1]: "three\n", TEST: "four five\nsix"}


def put_shards(folder, text=TEXT):
    for name, content in text.items():
        (folder / name).write_text(content)


def put_archive(folder, text=TEXT):
    path = folder / lm1b.ARCHIVE
    with tarfile.open(path, "w:gz") as archive:
        for name, content in text.items():
            kind = "heldout" if "heldout" in name else "training"
            member = tarfile.TarInfo(
                f"{lm1b._TOP}/{kind}-monolingual.tokenized.shuffled/{name}"
            )
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content.encode()))
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_shards(tmp_path):
    put_shards(tmp_path)
    train = lm1b.load("train", str(tmp_path))
    assert list(train.lines()) == ["one .", "two ,", "three"]
    assert train.note == "2 of 99 training shards"
    test = lm1b.load("test", str(tmp_path))
    assert list(test.lines()) == ["four five", "six"]
    assert (test.note, test.known_words) == ("", 159_658)


def test_shards_where_the_archive_unpacks_to(tmp_path):
    inside = tmp_path / lm1b._TOP / "training-monolingual.tokenized.shuffled"
    inside.mkdir(parents=True)
    put_shards(inside, {TRAIN[0]: "one\n"})
    assert list(lm1b.load("train", str(tmp_path)).lines()) == ["one"]


def test_other_files_are_named_in_the_note(tmp_path):
    put_shards(tmp_path)
    found = lm1b.load("train", str(tmp_path), train_files="news.en.heldout-00000*")
    assert found.note == "shards heldout-00000-of-00050"
    assert found.fingerprint() != lm1b.load("train", str(tmp_path)).fingerprint()


def test_archive(tmp_path):
    digest = put_archive(tmp_path)
    for split, expected in (("train", ["one .", "two ,", "three"]),
                            ("test", ["four five", "six"])):  # fmt: skip
        found = lm1b.load(split, str(tmp_path), archive_sha256=digest)
        assert list(found.lines()) == expected
        assert list(found.lines()) == expected, "a second reading"
    with pytest.raises(errors.DataError, match="not the official archive.*sha256"):
        lm1b.load("train", str(tmp_path))
    corpus = lm1b.load(
        "train", str(tmp_path), train_files="news.fr*", archive_sha256=digest
    )
    with pytest.raises(errors.DataError, match="has no members news.fr"):
        list(corpus.lines())


def prepare(folder):
    """tensorflow_datasets' own builder prepares fakes of the shards, in "data"."""
    import tensorflow_datasets as tfds

    builder = tfds.builder("lm1b", data_dir=str(folder / "data"))
    unpacked = folder / "unpacked"
    for name, content in TEXT.items():
        kind = "heldout" if "heldout" in name else "training"
        inside = unpacked / lm1b._TOP / f"{kind}-monolingual.tokenized.shuffled"
        inside.mkdir(parents=True, exist_ok=True)
        (inside / name).write_text(content)
    builder._split_generators = lambda manager: [
        tfds.core.SplitGenerator(
            name=split,
            gen_kwargs={"files": sorted(str(p) for p in unpacked.rglob(pattern))},
        )
        for split, pattern in (("train", "news.en-*"), ("test", "news.en.heldout*"))
    ]
    builder.download_and_prepare()


def test_prepared_by_tensorflow_datasets(tmp_path):
    """Nothing is downloaded."""
    prepare(tmp_path)
    train = lm1b.load("train", str(tmp_path / "data"))
    assert sorted(train.lines()) == ["one .", "three", "two ,"]
    test = lm1b.load("test", str(tmp_path / "data"))
    assert sorted(test.lines()) == ["four five", "six"]
    assert "not the benchmark's" in test.note and test.known_words is None


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda p: None, "must have LM1B's train shards.*with no shards"),
        (lambda p: put_shards(p, {TEST: "x\n"}), "1 other shards such as news.en.held"),
        (lambda p: put_shards(p, {TRAIN[0]: ""}), "is empty. Copy the shard again"),
    ],
)
def test_missing_shards(tmp_path, make, message):
    make(tmp_path)
    with pytest.raises(errors.DataError, match=message):
        lm1b.load("train", str(tmp_path))


def test_no_folder(tmp_path):
    with pytest.raises(errors.DataNotFoundError, match="must be a folder"):
        lm1b.load("train", str(tmp_path / "none"))
    with pytest.raises(errors.DataError, match="'train' or 'test'"):
        lm1b.load("valid", str(tmp_path))


def test_a_file_that_is_no_text(tmp_path):
    (tmp_path / TRAIN[0]).write_bytes(b"x" * (3 << 20))
    with pytest.raises(errors.DataError, match="a line of more than"):
        list(lm1b.load("train", str(tmp_path)).lines())


@pytest.mark.skipif(not os.path.isdir(REAL), reason=f"{REAL} is absent")
def test_real_shard():
    """Its lines and words as `wc` counts them."""
    corpus = lm1b.load("test", REAL, eval_files="news.en.heldout-00012-of-00050")
    lines = list(corpus.lines())
    assert len(lines) == 5986
    words = sum(corpora.num_words(x) for x in lines) - len(lines)
    assert abs(words - 150_766) <= 1  # `wc` does not count one that is unprintable.


def test_documents():
    train, test = (list(documents.load(split).lines()) for split in ("train", "test"))
    assert len(test) == 300 and len(train) > 1000
    assert not set(train) & set(test) and len(set(train)) == len(train)
    assert all(x == " ".join(x.split()) and x[-1] in ".!?)" for x in train)
    assert list(documents.load("train").lines()) == train
    with pytest.raises(errors.DataError, match="'train' or 'test'"):
        documents.load("valid")
