"""Hostile text and image data: shards, archives, vocabularies, caches and indices.

As in `hostile_input_test`: each time the loader accepts or raises its own error of one
line; nothing runs, no file appears, memory stays within bounds.
"""

import hashlib
import io
import json
import os
import pickle
import random
import shutil
import tarfile
import tracemalloc

import numpy as np
import pytest

from data import imagenet32, lm1b
from data.reading import errors
from data.text import lines as text_lines
from data.text import sentences, vocabulary
from tests import hostile
from tests.data import imagenet32_test, lm1b_test, text_fakes

CASES = hostile.CASES
no_harm = hostile.no_harm
SHARD = lm1b_test.TRAIN[0]
LINES = ["the cat sat", "", "日本 \u2581 x" * 50, "a" * 2000, "\0\ue000"]


# Vocabularies.


def use(path):
    """Loads a vocabulary and uses it."""
    vocab = vocabulary.load(str(path))
    tokens = vocab.encode(LINES)
    assert vocab.decode_to_strings(tokens) == LINES


def mutated_model(model, rng):
    """A SentencePiece model with settings or pieces of another kind."""
    from sentencepiece import sentencepiece_model_pb2

    parsed = sentencepiece_model_pb2.ModelProto()
    parsed.ParseFromString(model)
    piece = rng.choice(parsed.pieces)
    table = rng.choice([8, 1024, 0xFFFFFFFF]).to_bytes(4, "little") + rng.randbytes(900)
    # Bytes that walk out of the table, in native code that trusts it.
    kind = rng.randrange(9)
    if kind == 0:
        parsed.normalizer_spec.precompiled_charsmap = table
    elif kind == 1:
        parsed.denormalizer_spec.precompiled_charsmap = table
    elif kind == 2:
        piece.score = rng.choice([np.nan, np.inf, -np.inf])
    elif kind == 3:
        piece.type = rng.choice([2, 3, 4, 5, 6])
    elif kind == 4:
        piece.piece = rng.choice(["", "x" * 100_000, "<0x00>", "<s>", "\u2581"])
    elif kind == 5:
        del parsed.pieces[rng.randrange(len(parsed.pieces)) :]
    elif kind == 6:
        parsed.trainer_spec.model_type = rng.choice([2, 3, 4])
    elif kind == 7:
        parsed.trainer_spec.pad_id = rng.choice([-1, 10**6])
    else:
        parsed.normalizer_spec.escape_whitespaces = False
    return parsed.SerializeToString()


def test_vocabularies(tmp_path):
    rng = random.Random(0)
    good = text_fakes.small_vocabulary().model
    path = tmp_path / "v.model"
    count = 0
    for case in range(2 * CASES):
        make = mutated_model if case % 2 else hostile.damaged
        path.write_bytes(make(good, rng))
        count += hostile.refused(errors.DataError, use, path)
    assert count > 1.5 * CASES
    assert hostile.listing(tmp_path) == ["cwd", "v.model"]


def test_tables_for_normalization_never_reach_native_code(tmp_path):
    from sentencepiece import sentencepiece_model_pb2

    for name in ("normalizer_spec", "denormalizer_spec"):
        parsed = sentencepiece_model_pb2.ModelProto()
        parsed.ParseFromString(text_fakes.small_vocabulary().model)
        getattr(parsed, name).precompiled_charsmap = b"\4\0\0\0" + bytes(64)
        with pytest.raises(errors.DataError, match="a table for normalization"):
            vocabulary.Vocabulary(parsed.SerializeToString(), "theirs")


def test_a_giant_vocabulary_is_not_read(tmp_path):
    path = tmp_path / "v.model"
    with open(path, "wb") as file:
        file.truncate(8 << 30)
    with pytest.raises(errors.DataError, match="larger than a vocabulary may be"):
        vocabulary.load(str(path))


# Shards and the archive of them.


def read_all(folder, sha256=lm1b.ARCHIVE_SHA256):
    """All lines of the training split."""
    corpus = lm1b.load("train", str(folder), archive_sha256=sha256)
    return [line for line in corpus.lines() if line is not None]


def test_shards(tmp_path):
    rng = random.Random(1)
    good = "\n".join(text_fakes.lines(40)).encode()
    texts = [hostile.damaged(good, rng) for _ in range(CASES)]
    texts += [rng.randbytes(5000), b"\0" * 5000, b"\n" * 5000, b"\xff\xfe\n", b"\r\r"]
    for case, text in enumerate(texts):
        (tmp_path / SHARD).write_bytes(text)
        corpus = lm1b.load("train", str(tmp_path))
        found = list(corpus.lines())
        assert all(line.strip() for line in found)
        if found and case % 30 == 0:
            found = sentences.prepare(
                corpus, text_fakes.small_vocabulary(), progress=False
            )
            assert found.num_tokens == len(found.values)
    (tmp_path / SHARD).unlink()
    (tmp_path / SHARD).mkdir()
    assert hostile.refused(errors.DataError, read_all, tmp_path)


@pytest.mark.parametrize("before", [b"", b"a sentence\n"])
def test_giant_lines(tmp_path, before):
    content = before + b"x" * (3 << 20) + b"\nanother\n"
    (tmp_path / SHARD).write_bytes(content)
    with pytest.raises(errors.DataError, match="a line of more than"):
        read_all(tmp_path)
    with pytest.raises(errors.DataError, match="a line of more than"):
        text_lines.split(content, "here")
    # Read in pieces: a line without end is not taken into memory.
    with open(tmp_path / SHARD, "wb") as file:
        file.truncate(8 << 30)
    with pytest.raises(errors.DataError, match="a line of more than"):
        read_all(tmp_path)


def packed(folder, members, **kwargs):
    """Puts an archive of (name, content) into a folder; returns its sha256."""
    path = folder / lm1b.ARCHIVE
    with tarfile.open(path, "w:gz", compresslevel=1, **kwargs) as archive:
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_damaged_archives(tmp_path):
    rng = random.Random(2)
    path = tmp_path / lm1b.ARCHIVE
    lm1b_test.put_archive(tmp_path)
    good = path.read_bytes()
    count = 0
    for _ in range(CASES):
        path.write_bytes(hostile.damaged(good, rng))
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        count += hostile.refused(errors.DataError, read_all, tmp_path, digest)
    assert count > CASES / 3
    assert hostile.listing(tmp_path) == [lm1b.ARCHIVE, "cwd"]


def test_names_that_leave_the_folder_are_only_names(tmp_path):
    names = [
        f"../{SHARD}",
        f"/{SHARD}",
        str(tmp_path / "x" / SHARD),
        f"a/../../{SHARD}",
    ]
    digest = packed(tmp_path, [(name, b"one\n") for name in names])
    assert read_all(tmp_path, digest) == ["one"] * 4
    assert hostile.listing(tmp_path) == [lm1b.ARCHIVE, "cwd"]


BOMBS = {
    "a shard": [(SHARD, bytes(65 << 20))],
    "a name": [("x" * (8 << 20), b"")],
    "many names": [("x" * 300, b"")] * 3000,
    "many members": [(f"{i}", b"") for i in range(9000)],
}


@pytest.mark.parametrize("name", BOMBS)
@pytest.mark.parametrize("kind", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_bombs(tmp_path, name, kind):
    tracemalloc.stop()
    digest = packed(tmp_path, BOMBS[name], format=kind)
    assert os.path.getsize(tmp_path / lm1b.ARCHIVE) < 1 << 20
    tracemalloc.start()  # The bomb was made here.
    with pytest.raises(errors.DataError, match="larger than|headers of more than"):
        read_all(tmp_path, digest)
    assert tracemalloc.get_traced_memory()[1] < 16 << 20


# Encoded text that an earlier run left.


@pytest.fixture
def cache(tmp_path):
    """() -> `Sentences`, reading what is in a cache folder; and that folder."""
    corpus = text_fakes.corpus(text_fakes.lines(30), sources=(("x", 1),))
    vocab = text_fakes.small_vocabulary()

    def read():
        return sentences.prepare(corpus, vocab, str(tmp_path / "cache"), progress=False)

    read()
    (folder,) = (tmp_path / "cache").iterdir()
    return read, folder


def test_encoded_text(cache):
    read, folder = cache
    rng = random.Random(3)
    good = {path.name: path.read_bytes() for path in folder.iterdir()}
    before = hostile.listing(folder)
    count = 0
    for case in range(2 * CASES):
        name = sorted(good)[case % len(good)]
        (folder / name).write_bytes(hostile.damaged(good[name], rng))
        count += hostile.refused(errors.DataError, read)
        (folder / name).write_bytes(good[name])
        assert hostile.listing(folder) == before
    assert count > CASES / 2
    assert len(read()) == 30


def npy(array):
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def giant_npy(dtype="<i8", shape=(1 << 40,)):
    header = {"descr": dtype, "fortran_order": False, "shape": shape}
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, header)
    return stream.getvalue() + bytes(4096)


def zipped():
    stream = io.BytesIO()
    np.savez_compressed(stream, x=np.zeros(4 << 20))
    tracemalloc.reset_peak()  # The bomb was made here.
    return stream.getvalue()


def gadget():
    """An .npy of Python objects, which only an unpickler reads."""
    body = pickle.dumps([hostile.Gadget()], 0)
    return giant_npy("|O", (1,))[:-4096] + body


ARRAYS = {
    "giant": giant_npy(),
    "objects": giant_npy("|O", (1,)),
    "floats": npy(np.ones(30)),
    "a number": npy(np.int64(3)),
    "negative": npy(np.full(30, -1)),
    "wraps around": npy(np.full(30, 1 << 63, np.uint64)),
    "too few": npy(np.ones(3, np.int64)),
    "a matrix": npy(np.ones((30, 1), np.int64)),
    "empty": npy(np.ones(0, np.int64)),
    "nothing": b"",
}


@pytest.mark.parametrize("name", ["lengths.npy", "words.npy", "values.npy"])
@pytest.mark.parametrize("attack", [*ARRAYS, "zipped", "pickled"])
def test_arrays_of_encoded_text(cache, name, attack):
    read, folder = cache
    content = {"zipped": zipped, "pickled": gadget}.get(attack)
    (folder / name).write_bytes(content() if content else ARRAYS[attack])
    assert hostile.refused(errors.DataError, read)


def test_counts_of_encoded_text(cache):
    read, folder = cache
    texts = ["", "[]", "null", "[" * 100_000, '{"lines": "x"}', '{"lines": null}']
    texts += ['{"lines": [1]}', '{"lines": 1.5}', " " * (1 << 20), '{"lines": true}']
    for text in texts:
        (folder / "counts.json").write_text(text)
        assert hostile.refused(errors.DataError, read), text


# ImageNet's archives and the index beside them.


def test_image_archives(tmp_path):
    rng = random.Random(4)
    imagenet32_test.write_split(str(tmp_path), "valid", 3)
    path = tmp_path / imagenet32.ARCHIVES["valid"]
    good = path.read_bytes()

    def read():
        split = imagenet32.load("valid", str(tmp_path))
        assert split.image[:].shape[1:] == (32, 32, 3)

    count = 0
    for case in range(CASES):
        content = bytearray(good)
        if case % 2:  # In a header, which is an eighth of the file.
            place = 512 * rng.choice([0, 1]) + rng.randrange(512)
            content[place] = rng.randrange(256)
        path.write_bytes(content if case % 2 else hostile.damaged(good, rng))
        count += hostile.refused(errors.DataError, read)
        for index in tmp_path.glob("*.index*"):
            index.unlink()
    assert CASES / 3 < count < CASES


@pytest.mark.parametrize("attack", [*ARRAYS, "zipped", "pickled", "outside", "damaged"])
def test_indices_of_image_archives(tmp_path, attack):
    """Whatever it holds, the archive is scanned again, or the index is right."""
    imagenet32_test.write_split(str(tmp_path), "valid", 3)
    expected = imagenet32.load("valid", str(tmp_path)).image[:]
    (index,) = tmp_path.glob("*.index.npy")
    good = np.load(index)
    outside = good.copy()
    outside[2] = [1 << 62, 1 << 15]
    texts = {"zipped": zipped, "pickled": gadget}.get(attack, lambda: None)()
    if attack == "outside":
        texts = npy(outside)
    rng = random.Random(5)
    for _ in range(CASES if attack == "damaged" else 1):
        content = texts or ARRAYS.get(attack)
        if attack == "damaged":
            content = hostile.damaged(npy(good)[:128], rng) + npy(good)[128:]
        index.write_bytes(content)
        found = imagenet32.load("valid", str(tmp_path)).image[:]
        np.testing.assert_array_equal(found, expected)


# What tensorflow_datasets prepared.


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("prepared")
    lm1b_test.prepare(folder)
    return folder / "data"


HOSTILE_FEATURES = {
    "type": "os.system",
    "pythonClassName": "os.system",
    "content": "touch mark",
}


def test_folders_of_tensorflow_datasets(prepared, tmp_path):
    rng = random.Random(6)
    count = 0
    files = [p.relative_to(prepared) for p in prepared.rglob("*") if p.is_file()]
    attacks = [(name, None) for name in files for _ in range(3)]
    for name in files:
        if name.suffix == ".json":
            attacks.append((name, json.dumps(HOSTILE_FEATURES).encode()))
            attacks.append((name, b"[" * 100_000))
    for case, (name, content) in enumerate(attacks):
        folder = tmp_path / str(case)
        shutil.copytree(prepared, folder)
        good = (prepared / name).read_bytes()
        (folder / name).write_bytes(content or hostile.damaged(good, rng))
        before = hostile.listing(folder)
        count += hostile.refused(errors.DataError, read_all, folder)
        assert hostile.listing(folder) == before
    assert count > len(files)
