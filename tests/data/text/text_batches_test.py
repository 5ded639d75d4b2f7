"""Encoded sentences and their batches: nothing lost, nothing twice, seeded order."""

import collections

import numpy as np
import pytest

from data.reading import errors
from data.text import batches as text_batches
from data.text import sentences
from tests.data import text_fakes

LENGTH = 24


@pytest.fixture(scope="module")
def vocab():
    return text_fakes.small_vocabulary()


@pytest.fixture(scope="module")
def split(vocab):
    corpus = text_fakes.corpus(text_fakes.lines(60, seed=4))
    return sentences.prepare(corpus, vocab, progress=False)


def rows_of(split):
    return [tuple(split.sentence(i)) for i in range(len(split))]


def cut_by_hand(split, length):
    rows = rows_of(split)
    return [row[i : i + length] for row in rows for i in range(0, len(row), length)]


def of_row(row):
    """The sentences of a row of tokens."""
    found, now = [], []
    for token in row:
        if token:
            now.append(token)
        if token == 1 or (now and len(now) == len(row)):
            found.append(tuple(now))
            now = []
    assert not now
    return found


def test_sizes(split):
    lines = text_fakes.lines(60, seed=4)
    np.testing.assert_array_equal(split.words, [len(x.split()) + 1 for x in lines])
    np.testing.assert_array_equal(split.characters, [len(x) + 1 for x in lines])
    assert split.num_tokens == sum(len(row) for row in rows_of(split))
    assert split.num_words == sum(split.words)


def test_prepared_is_what_the_vocabulary_says(split, vocab):
    expected = vocab.encode(text_fakes.lines(60, seed=4)).to_list()
    assert rows_of(split) == [tuple(row) for row in expected]


@pytest.mark.parametrize("packed", [False, True])
def test_an_epoch_has_every_piece_once(split, packed):
    pieces = cut_by_hand(split, LENGTH)
    data = text_batches.training_batches(split, 1, LENGTH, packed, seed=3)
    found, left = [], collections.Counter(pieces)
    for batch in data.as_numpy_iterator():
        assert batch["tokens"].shape == (1, LENGTH)
        found += of_row(batch["tokens"][0])
        if len(found) >= len(pieces):
            break
    assert collections.Counter(found) == left
    assert found != pieces  # Shuffled.


def test_packed_rows_are_well_filled_and_keep_sentences_whole(split):
    lengths = np.random.default_rng(0).integers(1, 60, 5000)
    bounds = text_batches.pack(lengths, 256)
    totals = [lengths[a:b].sum() for a, b in zip(bounds, bounds[1:], strict=False)]
    assert bounds[0] == 0 and bounds[-1] == 5000 and max(totals) <= 256
    assert np.mean(totals) > 0.9 * 256
    for row, (a, b) in enumerate(zip(bounds[1:], bounds[2:], strict=False)):
        assert totals[row] + lengths[a] > 256, "the next sentence would have fitted"
        assert b > a


@pytest.mark.parametrize("packed", [False, True])
def test_a_step_does_not_depend_on_where_one_starts(split, packed):
    def tokens(start, count):
        data = text_batches.training_batches(split, 4, LENGTH, packed, 5, start)
        return [b["tokens"] for b in data.take(count).as_numpy_iterator()]

    straight = tokens(0, 60)  # Some epochs.
    for start in (1, 17, 43):
        for one, other in zip(tokens(start, 10), straight[start:], strict=False):
            np.testing.assert_array_equal(one, other)


def test_seeds_and_epochs_differ(split):
    def first(seed, start=0):
        data = text_batches.training_batches(split, 4, LENGTH, False, seed, start)
        return next(data.as_numpy_iterator())["tokens"]

    steps = len(cut_by_hand(split, LENGTH)) // 4
    assert (first(0) != first(1)).any() and (first(0) != first(0, steps)).any()


@pytest.mark.parametrize("size", [20, 100, 1000])
def test_evaluation_has_every_sentence_once_and_whole(split, size):
    found = {}
    for batch in text_batches.evaluation_batches(split, size):
        for row, index, mask in zip(
            batch["tokens"], batch["index"], batch["mask"], strict=True
        ):
            if mask:
                (sentence,) = of_row(row)
                assert index not in found
                found[int(index)] = sentence
            else:
                assert not row.any()
    assert [found[i] for i in range(len(split))] == rows_of(split)


def test_evaluation_has_few_shapes(split):
    shapes = {b["tokens"].shape for b in text_batches.evaluation_batches(split, 100)}
    longest = split.lengths.max()
    assert {shape[1] for shape in shapes} <= {16, 32, 64, 128, 256}
    assert max(shape[1] for shape in shapes) < 2 * longest


def test_first_and_hold_out(split):
    kept, held_out = split.hold_out(7)
    assert (len(kept), len(held_out)) == (53, 7)
    assert not set(kept.index) & set(held_out.index)
    assert [tuple(held_out.sentence(i)) for i in range(7)] == rows_of(split)[-7:]
    assert "last 7 training sentences" in held_out.note
    assert rows_of(split.first(5)) == rows_of(split)[:5]
    with pytest.raises(errors.DataError, match=r"in \(0, 60\)"):
        split.hold_out(60)


def test_empty_lines_and_invalid_utf8_are_counted(vocab):
    raw = ["the cat", "", "  ", b"a \xff dog", "it slept"]
    found = sentences.prepare(text_fakes.corpus(raw), vocab, progress=False)
    assert len(found) == 3
    assert found.note == (
        "2 empty lines left out; 1 lines with invalid UTF-8 repaired by U+FFFD"
    )
    tokens = np.concatenate([found.sentence(1), np.zeros(3, np.int32)])[None]
    assert vocab.decode_to_strings(tokens) == ["a \ufffd dog"]
    with pytest.raises(errors.DataError, match="no lines that are not empty"):
        sentences.prepare(text_fakes.corpus(["", " "]), vocab, progress=False)


def test_cache(vocab, tmp_path, monkeypatch):
    raw = ["the cat", b"a \xff dog"]
    corpus = text_fakes.corpus(raw, sources=(("a", 1),))
    once = sentences.prepare(corpus, vocab, str(tmp_path), progress=False)
    monkeypatch.setattr(sentences, "_encode", None)  # It must not be called again.
    again = sentences.prepare(corpus, vocab, str(tmp_path), progress=False)
    assert isinstance(again.values, np.memmap)
    assert (rows_of(again), again.note) == (rows_of(once), once.note)
    for other in (
        (text_fakes.corpus(raw, sources=(("a", 2),)), vocab),
        (corpus, text_fakes.small_vocabulary(301)),
    ):
        with pytest.raises(TypeError):
            sentences.prepare(*other, str(tmp_path), progress=False)


def test_a_damaged_cache_is_an_error(vocab, tmp_path):
    corpus = text_fakes.corpus(["the cat", "dog"], sources=(("a", 1),))
    sentences.prepare(corpus, vocab, str(tmp_path), progress=False)
    (folder,) = tmp_path.iterdir()
    values = np.load(folder / "values.npy")
    np.save(folder / "values.npy", values + 60_000)
    with pytest.raises(errors.DataError, match="do not fit the vocabulary"):
        sentences.prepare(corpus, vocab, str(tmp_path), progress=False)
    (folder / "values.npy").write_bytes(b"broken")
    with pytest.raises(errors.DataError, match="is damaged; remove it"):
        sentences.prepare(corpus, vocab, str(tmp_path), progress=False)


def test_a_known_count_of_words_is_checked(vocab):
    corpus = text_fakes.corpus(["the cat", "dog"], known_words=5)
    assert sentences.prepare(corpus, vocab, progress=False).num_words == 5
    corpus = text_fakes.corpus(["the cat", "dog sat " * 6], known_words=5)
    with pytest.raises(errors.DataError, match="must have 5 words.*Received: 16"):
        sentences.prepare(corpus, vocab, progress=False)


def test_lines_to_encode_must_fit(vocab):
    found = sentences.encode_lines(["the cat", ""], vocab, 16)
    assert found.shape == (2, 16) and found[1].tolist() == [1] + [0] * 15
    with pytest.raises(errors.DataError, match="Line 2 is too long: at most 16"):
        sentences.encode_lines(["a", "日本語 " * 9], vocab, 16)


@pytest.mark.parametrize(
    "arguments, message",
    [((0, LENGTH), "`batch_size`"), ((999, LENGTH), "`batch_size`")]
    + [((4, 1), "`max_length` must be at least 2")],
)
def test_bad_arguments(split, arguments, message):
    with pytest.raises(errors.DataError, match=message):
        text_batches.training_batches(split, *arguments, False, 0)
