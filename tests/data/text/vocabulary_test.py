"""Any line comes back; ids are what the contract says; bad files are errors."""

import io
import random

import keras
import numpy as np
import pytest
import sentencepiece
import tensorflow as tf

from data.reading import errors
from data.text import vocabulary
from tests.data import text_fakes

ODD = [
    "", " ", "  ", "a", "  two  spaces  ", "\ttab\t", "\u2581", "a\u2581b \u2581",
    " \u2581", "\ue000", "\ue0000\ue0001\u2581\ue0002 ", "\ue0002 x", "<s>", "</s>",
    "<pad>", "<unk>", "<0x41>", "日本語", "🙂👩\u200d👩\u200d👧", "e\u0301", "a\x00b",
    "\r", "\u2028x", "\ufeffbom", "\ufffd", "\u00a0", "\U0010ffff", " \u2047 ",
    "ﬁ ligature", "Å Å",
]  # fmt: skip


@pytest.fixture(scope="module")
def vocab():
    return text_fakes.small_vocabulary()


def test_odd_lines_come_back(vocab):
    assert vocab.decode_to_strings(vocab.encode(ODD)) == ODD


def test_random_unicode_comes_back(vocab):
    rng = random.Random(0)
    ranges = [(32, 127), (1, 0xD800), (0xE000, 0x110000), (0x2581, 0x2582)]
    ranges += [(0xE000, 0xE001), (0x30, 0x33), (32, 33)]

    def character():
        return chr(rng.randrange(*rng.choice(ranges)))

    lines = ["".join(character() for _ in range(rng.randrange(25))) for _ in range(900)]
    assert vocab.decode_to_strings(vocab.encode(lines)) == lines


def test_ids(vocab):
    assert vocab.size == 300
    ids = vocab.encode(["the cat sat", "", "日本"]).to_list()
    assert [row[-1] for row in ids] == [vocabulary.EOS] * 3 and ids[1] == [1]
    for row in ids:
        assert all(vocabulary.FIRST_BYTE <= i < vocab.size for i in row[:-1])
    # What no subword covers is bytes: six of them for two characters.
    first, byte = vocabulary.FIRST_BYTE, "日本".encode()
    assert ids[2][-7:-1] == [first + b for b in byte]
    # A frequent word costs fewer ids than letters.
    assert len(ids[0]) < len("the cat sat")


def test_decoding_stops_at_eos_and_skips_padding(vocab):
    ids = vocab.encode(["the cat"]).to_list()[0]
    padded = np.array([[*ids, 0, 0], [*ids[:-1], 0, 1, ids[0]]], np.int32)
    assert vocab.decode_to_strings(padded) == ["the cat", "the cat"]


def test_bytes_that_form_no_character_are_replaced(vocab):
    found = vocab.decode_to_strings(np.array([[vocabulary.FIRST_BYTE + 0xFF, 1]]))
    assert found == ["\ufffd"]
    assert vocab.decode_to_strings(vocab.encode([b"a\xff"])) == ["a\ufffd"]


def test_in_a_graph_and_a_saved_model(vocab, tmp_path):
    lines = text_fakes.lines(5, seed=9)
    data = tf.data.Dataset.from_tensors(lines).map(vocab.encode).map(vocab.decode)
    assert [x.decode() for x in next(iter(data)).numpy()] == lines

    class Exported(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
        def there_and_back(self, text):
            return vocab.decode(vocab.encode(text))

    exported = Exported()
    exported.tokenizer = vocab.tokenizer
    tf.saved_model.save(exported, str(tmp_path / "saved"))
    again = tf.saved_model.load(str(tmp_path / "saved"))
    found = again.there_and_back(tf.constant(ODD)).numpy()
    assert [x.decode() for x in found] == ODD


def test_it_outlives_the_cache_of_kernels(vocab):
    keras.utils.set_random_seed(0)
    assert vocab.decode_to_strings(vocab.encode(["the cat"])) == ["the cat"]


def test_saved_and_loaded_is_the_same(vocab, tmp_path):
    path = str(tmp_path / "deep" / "v.model")
    vocab.save(path)
    again = vocabulary.load(path)
    assert (again.fingerprint, again.size) == (vocab.fingerprint, vocab.size)
    assert again.fingerprint != text_fakes.small_vocabulary(301).fingerprint


def test_bad_vocabularies_are_errors(tmp_path):
    path = tmp_path / "v.model"
    with pytest.raises(errors.DataNotFoundError, match="cannot be read"):
        vocabulary.load(str(path))
    path.write_bytes(b"no model at all")
    with pytest.raises(errors.DataError, match="damaged or no vocabulary"):
        vocabulary.load(str(path))
    with pytest.raises(errors.DataError, match="at least 260 ids.*Received: 100"):
        vocabulary.build(["a"], 100)
    with pytest.raises(errors.DataError, match="Received: no lines"):
        vocabulary.build(iter([]), 300)
    with pytest.raises(errors.DataError, match="No vocabulary of 5,000 can be built"):
        vocabulary.build(text_fakes.lines(), 5000, progress=False)


OURS = {
    "model_type": "unigram", "byte_fallback": True, "remove_extra_whitespaces": False,
    "normalization_rule_name": "identity", "bos_id": -1, "vocab_size": 300,
}  # fmt: skip


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"vocab_size": 40}, "another kind of vocabulary than"),
        ({**OURS, "pad_id": 2, "eos_id": 1, "unk_id": 0}, r"Received: \(2, 1, 0\)"),
    ],
)
def test_another_kind_of_vocabulary_is_an_error(settings, message):
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(text_fakes.lines()),
        model_writer=model,
        minloglevel=2,
        **settings,
    )
    with pytest.raises(errors.DataError, match=message):
        vocabulary.Vocabulary(model.getvalue(), "theirs")
