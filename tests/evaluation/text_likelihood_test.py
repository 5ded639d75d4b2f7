"""Exact evaluation of text, against sums by hand."""

import numpy as np
import pytest

from data.text import batches as text_batches
from deltavae_tf.errors import NotFiniteError, UserError
from deltavae_tf.evaluation import likelihood
from tests.data import text_fakes
from tests.evaluation import small


@pytest.fixture(scope="module")
def model():
    return small.text_model()


@pytest.fixture(scope="module")
def split():
    return small.text_split()


def unit_of(split):
    return likelihood.PerToken(small.sizes_of(split))


@pytest.fixture(scope="module")
def evaluator(model):
    return likelihood.Evaluator(model)


def test_the_same_numbers_however_batched_and_as_by_hand(model, evaluator, split):
    results = [
        evaluator(text_batches.evaluation_batches(split, size), unit_of(split))
        for size in (16, 200, 4000)
    ]
    for found in results:
        for name, value in found.items():
            np.testing.assert_allclose(value, results[0][name], rtol=2e-5, atol=1e-6)
    found = results[0]
    length = int(split.lengths.max())
    rows = np.zeros((len(split), length), np.int32)
    for i, n in enumerate(split.lengths):
        rows[i, :n] = split.sentence(i)
    terms = {k: np.float64(v) for k, v in model(rows).items()}  # Index = position.
    nelbo = terms["distortion"] + terms["rate_aux"]
    lines = text_fakes.lines(13, seed=5)
    words = sum(len(x.split()) + 1 for x in lines)
    characters = sum(len(x) + 1 for x in lines)
    tokens = np.count_nonzero(rows)
    expected = {
        "nelbo_aux_per_token": nelbo.sum() / tokens,
        "nelbo_aux_per_word": nelbo.sum() / words,
        "nelbo_aux_bits_per_character": nelbo.sum() / characters / np.log(2),
        "committed_rate_per_token": terms["committed_rate"].sum() / tokens,
        "rate_nats": terms["rate"].mean(),
        "rate_above_delta_nats": (terms["rate"] - terms["committed_rate"]).mean(),
        "rate_excess_min_nats": (terms["rate"] - terms["committed_rate"]).min(),
        "tokens_per_word": tokens / words,
        "num_examples": 13,
        "num_tokens": tokens,
        "num_words": words,
        "num_characters": characters,
    }
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=2e-5, err_msg=name)


def test_standard_error_is_that_of_a_ratio(model, evaluator):
    """Against resampling the sentences."""
    split = small.text_split(150, seed=6)
    data = list(text_batches.evaluation_batches(split, 4000))
    found = evaluator(data, unit_of(split))
    terms = evaluator.per_example(data)
    nats = terms["distortion"] + terms["rate"]
    tokens = split.lengths[terms["index"]]
    rng = np.random.default_rng(0)
    chosen = rng.integers(0, 150, (2000, 150))
    ratios = nats[chosen].sum(1) / tokens[chosen].sum(1)
    np.testing.assert_allclose(found["nelbo_per_token_stderr"], ratios.std(), rtol=0.1)


def test_one_sentence_below_its_own_rate_is_an_error(evaluator, split, monkeypatch):
    """Above the mean committed rate, and below what its length commits to."""
    real = evaluator.per_example

    def lower(data):
        terms = real(data)
        longest = np.argmax(terms["committed_rate"])
        terms["rate"][longest] = terms["committed_rate"][longest] - 0.01
        assert terms["rate"][longest] > terms["committed_rate"].mean()
        return terms

    monkeypatch.setattr(evaluator, "per_example", lower)
    with pytest.raises(FloatingPointError, match="below the committed rate"):
        evaluator(text_batches.evaluation_batches(split, 200), unit_of(split))


def test_what_cannot_be_evaluated(evaluator, split, monkeypatch):
    with pytest.raises(UserError, match="empty"):
        evaluator([], unit_of(split))
    data = list(text_batches.evaluation_batches(split, 200))
    with pytest.raises(UserError, match="must hold every sentence"):
        evaluator(data, unit_of(split.first(5)))
    real = evaluator.per_example

    def broken(data):
        terms = real(data)
        terms["rate"][2] = np.nan
        return terms

    monkeypatch.setattr(evaluator, "per_example", broken)
    with pytest.raises(NotFiniteError, match="rate of 1 examples is not finite"):
        evaluator(data, unit_of(split))
