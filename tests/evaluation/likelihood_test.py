"""Exact evaluation: each example once, whatever the batches; breaches are errors."""

import numpy as np
import pytest

from data import digits
from data.images import batches
from deltavae_tf import units
from deltavae_tf.errors import NotFiniteError, UserError
from deltavae_tf.evaluation import likelihood
from tests.evaluation import small

UNIT = likelihood.BitsPerDim(64)


@pytest.fixture(scope="module")
def model():
    return small.image_model()


@pytest.fixture(scope="module")
def split():
    return digits.load("test").first(5)


def test_the_same_means_at_every_batch_size(model, split):
    evaluator = likelihood.Evaluator(model)
    results = [
        evaluator(batches.evaluation_batches(split, size), UNIT)
        for size in (2, 3, 5, 7)
    ]
    for found in results:
        assert found["num_examples"] == 5
        for name, value in found.items():
            np.testing.assert_allclose(value, results[0][name], rtol=1e-5)


def test_numbers_are_those_of_the_model(model, split):
    found = likelihood.Evaluator(model)(batches.evaluation_batches(split, 2), UNIT)
    terms = model({"image": split.image, "index": split.index, "mask": np.ones(5)})
    terms = {name: np.float64(value) for name, value in terms.items()}
    bpd = (terms["distortion"] + terms["rate"]) / (64 * np.log(2))
    np.testing.assert_allclose(found["nelbo_bpd"], bpd.mean(), rtol=1e-5)
    np.testing.assert_allclose(found["nelbo_bpd_stderr"], bpd.std() / 5**0.5, rtol=1e-3)
    np.testing.assert_allclose(found["rate_min_nats"], terms["rate"].min(), rtol=1e-5)
    np.testing.assert_allclose(
        found["rate_bpd"], units.bits_per_dim(terms["rate"].mean(), 64), rtol=1e-5
    )
    committed = model.committed_rate()
    assert found["committed_rate_nats"] == pytest.approx(committed) and committed > 1
    above = terms["rate"].mean() - committed
    np.testing.assert_allclose(found["rate_above_delta_nats"], above, atol=1e-4)
    least = terms["rate"].min() - committed
    np.testing.assert_allclose(found["rate_excess_min_nats"], least, atol=1e-4)
    order = likelihood.Evaluator(model).per_example(
        batches.evaluation_batches(split, 2)
    )
    np.testing.assert_array_equal(order["index"], split.index)


def test_one_example_below_the_committed_rate_is_an_error(model, split, monkeypatch):
    evaluator = likelihood.Evaluator(model)
    real = evaluator.per_example

    def lower(data):
        terms = real(data)
        terms["rate"][3] = model.committed_rate() - 0.1
        return terms

    monkeypatch.setattr(evaluator, "per_example", lower)
    with pytest.raises(FloatingPointError, match="below the committed rate"):
        evaluator(batches.evaluation_batches(split, 2), UNIT)


def test_non_finite_terms_are_an_error(model, split, monkeypatch):
    evaluator = likelihood.Evaluator(model)
    terms = {k: np.array([1.0, np.nan]) for k in ("distortion", "rate", "rate_aux")}
    monkeypatch.setattr(evaluator, "per_example", lambda data: terms)
    with pytest.raises(NotFiniteError, match="distortion of 1 examples"):
        evaluator([], UNIT)


def test_no_data_is_an_error(model):
    with pytest.raises(UserError, match="empty.*Received: none"):
        likelihood.Evaluator(model)([], UNIT)
