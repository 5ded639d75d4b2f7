"""A text file is the same lines on whatever system it was written."""

import collections
import logging
import random

import pytest

from data import lm1b
from data.reading import errors
from data.text import corpora, lines, sentences
from tests.data import text_fakes

TEXT = ["the cat sat", "a dog", "", "  then it slept", "日本 .", "who \ufeff knows"]
SENTENCES = [x for x in TEXT if x]
# What has been done to the same lines, by name.
ENDS = {"LF": "\n", "CR LF": "\r\n", "CR": "\r"}
FILES = {
    **{name: end.join([*TEXT, ""]) for name, end in ENDS.items()},
    **{f"{name}, no last end": end.join(TEXT) for name, end in ENDS.items()},
    "byte order mark": "\ufeff" + "\n".join(TEXT),
    "files on end": "".join(f"\ufeff{x}\r\n" for x in TEXT),
    "blanks": "".join(f"{x} \t \n" for x in TEXT),
    "other blanks": "".join(f"{x}\u00a0\u3000\n" for x in TEXT),
    "mixed": "\ufeff" + "".join(x + e for x, e in zip(TEXT, ["\n", "\r\n", "\r"] * 2)),  # noqa: B905
    "everything": "\ufeff" + "".join(f"{x}  \r\n" for x in TEXT),
}
SHARD = "news.en-00001-of-00100"


@pytest.fixture(scope="module")
def vocab():
    return text_fakes.small_vocabulary()


@pytest.mark.parametrize("name", FILES)
def test_a_whole_file(tmp_path, name):
    path = tmp_path / "x.txt"
    path.write_bytes(FILES[name].encode())
    assert lines.read_whole(str(path)) == TEXT


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("size", [1, 2, 7, 1 << 20])
def test_a_shard_in_pieces_of_any_size(tmp_path, monkeypatch, name, size):
    (tmp_path / SHARD).write_bytes(FILES[name].encode())
    monkeypatch.setattr(lines, "_CHUNK_BYTES", size)
    assert list(lm1b.load("train", str(tmp_path)).lines()) == SENTENCES


@pytest.mark.parametrize("name", FILES)
def test_bytes_of_an_archive_s_member(name):
    raw = lines.split(FILES[name].encode(), "here")
    assert list(text_fakes.corpus(raw).lines()) == SENTENCES


@pytest.mark.parametrize("name", FILES)
def test_chunks_of_another_library(name):
    """Such as tensorflow_datasets', which splits lines at LF and keeps the rest."""
    corpus = text_fakes.corpus(FILES[name].split("\n"))
    assert list(corpus.lines()) == SENTENCES


@pytest.mark.parametrize("name", FILES)
def test_ids_words_and_characters_are_those_of_the_plain_file(vocab, name):
    raw = lines.split(FILES[name].encode(), "here")
    found = sentences.prepare(text_fakes.corpus(raw), vocab, progress=False)
    plain = sentences.prepare(text_fakes.corpus(SENTENCES), vocab, progress=False)
    assert found.values.tolist() == plain.values.tolist()
    assert found.words.tolist() == plain.words.tolist() == [4, 3, 4, 3, 4]
    assert found.characters.tolist() == [len(x) + 1 for x in SENTENCES]


def test_it_is_noted_once(vocab, tmp_path, caplog):
    raw = lines.split(b"\xef\xbb\xbfthe cat\r\nit\r\na dog \r\n\r\nlast", "here")
    corpus = text_fakes.corpus(raw, sources=(("x", 1),))
    note = "1 empty lines left out; 3 lines with CR, a byte order mark or trailing"
    with caplog.at_level(logging.INFO, logger="absl"):
        for _ in range(2):
            found = sentences.prepare(corpus, vocab, str(tmp_path), progress=False)
            assert found.note.startswith(note) and found.note.endswith("trimmed")
    assert sum("3 lines with CR" in x for x in caplog.messages) == 1
    assert "fake/train" in caplog.messages[-1]
    clean = sentences.prepare(text_fakes.corpus(TEXT), vocab, progress=False)
    assert "trimmed" not in clean.note

    path = tmp_path / "x.txt"
    for content, times in ((b"a\r\nb\r\n", 1), (b"a\nb\n", 0)):
        caplog.clear()
        path.write_bytes(content)
        with caplog.at_level(logging.INFO, logger="absl"):
            assert lines.read_whole(str(path)) == ["a", "b"]
        assert sum(f"{path}: 2 lines" in x for x in caplog.messages) == times


def test_random_files_are_read_as_python_reads_text(tmp_path, monkeypatch):
    rng = random.Random(0)
    path = tmp_path / "x.txt"
    parts = ["\r", "\n", "\r\n", " ", "a", "bc", "é", "\x0b", "\u2028", "."]
    for case in range(300):
        content = "".join(rng.choices(parts, k=rng.randrange(30))) + "x"
        path.write_bytes(content.encode())
        with open(path, encoding="utf-8") as file:  # Universal newlines.
            expected = [x.rstrip() for x in file.read().split("\n")]
        assert lines.read_whole(str(path)) == expected
        monkeypatch.setattr(lines, "_CHUNK_BYTES", 1 + case % 9)
        pieces = list(lines.read_in_pieces(str(path)))
        corpus = corpora.Corpus(name="x", chunks=lambda pieces=pieces: iter(pieces))
        counts = collections.Counter()
        found = [x for some in corpus.cleaned(counts) for x in some]
        assert found == [x for x in expected if x]
        assert counts["lines"] == len(expected)
        assert counts["empty lines"] == expected.count("")


@pytest.mark.parametrize(
    "content, message",
    [
        (b"", "has no line of text"),
        (b"\r\n \r\n", "has no line of text"),
        (b"\xef\xbb\xbf", "has no line of text"),
        (b"good\nb\xffad\n", "Line 2 of .*x.txt is no UTF-8"),
        ("a sentence\r\n".encode("utf-16"), "x.txt is UTF-16 or UTF-32.*ff fe 61 00"),
        (b"\xfe\xff" + "a".encode("utf-16-be"), "UTF-16 or UTF-32.*fe ff 00 61"),
        (b"x" * (2 << 20), "a line of more than 1,048,576 bytes"),
        (b"x\n" * (33 << 20), "at most 67,108,864 bytes"),
    ],
    ids=range(8),
)
def test_files_that_are_no_text(tmp_path, content, message):
    path = tmp_path / "x.txt"
    path.write_bytes(content)
    with pytest.raises(errors.DataError, match=message) as caught:
        lines.read_whole(str(path))
    assert "\n" not in str(caught.value)


def test_a_utf16_shard(tmp_path):
    (tmp_path / SHARD).write_bytes("one\ntwo\n".encode("utf-16"))
    with pytest.raises(errors.DataError, match=f"{SHARD} is UTF-16"):
        list(lm1b.load("train", str(tmp_path)).lines())


def test_paths(tmp_path, monkeypatch):
    (tmp_path / "x.txt").write_text("one\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert lines.read_whole("~/x.txt") == ["one"]
    for path in ("~/y.txt", "~"):
        with pytest.raises(errors.DataNotFoundError, match=f"{tmp_path}.* cannot be"):
            lines.read_whole(path)
