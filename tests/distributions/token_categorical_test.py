"""Log-probabilities of tokens and their gradient, against float64 NumPy and SciPy."""

import numpy as np
import pytest
import tensorflow as tf
from scipy import special

from deltavae_tf import errors
from deltavae_tf.distributions import token_categorical

LOGITS = np.random.default_rng(0).normal(size=(2, 3, 7), scale=3).astype("float32")
TOKENS = np.array([[0, 6, 3], [2, 2, 5]], np.int32)


def test_log_prob_is_the_log_softmax_at_the_token():
    found = token_categorical.TokenCategorical(logits=LOGITS).log_prob(TOKENS)
    every = special.log_softmax(np.float64(LOGITS), axis=-1)
    expected = np.take_along_axis(every, TOKENS[..., None], axis=-1)[..., 0]
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_gradient_is_one_hot_minus_softmax():
    logits = tf.constant(LOGITS)
    with tf.GradientTape() as tape:
        tape.watch(logits)
        log_prob = token_categorical.TokenCategorical(logits=logits).log_prob(TOKENS)
    expected = np.eye(7)[TOKENS] - special.softmax(np.float64(LOGITS), axis=-1)
    np.testing.assert_allclose(tape.gradient(log_prob, logits), expected, atol=1e-6)


def test_logits_may_be_shared_by_many_values():
    values = np.arange(7)[:, None, None] + np.zeros((2, 3), int)
    found = token_categorical.TokenCategorical(logits=LOGITS).log_prob(values)
    np.testing.assert_allclose(np.exp(found).sum(0), np.ones((2, 3)), rtol=1e-6)


@pytest.mark.parametrize("size", [1e4, 1e30])
def test_huge_logits_stay_finite(size):
    logits = tf.constant([[size, 0.0, -size]])
    with tf.GradientTape() as tape:
        tape.watch(logits)
        log_prob = token_categorical.TokenCategorical(logits=logits).log_prob([2])
    np.testing.assert_allclose(log_prob, [-2 * size], rtol=1e-6)
    np.testing.assert_allclose(tape.gradient(log_prob, logits), [[-1.0, 0.0, 1.0]])


def test_flat_logits_cost_the_logarithm_of_the_vocabulary():
    flat = token_categorical.TokenCategorical(logits=np.zeros((1, 4096), "float32"))
    np.testing.assert_allclose(flat.log_prob([17]), [-np.log(4096)], rtol=1e-6)


@pytest.mark.parametrize("wrong", [7, -1, 2**30])
@pytest.mark.parametrize("compiled", [False, True])
def test_a_token_beyond_the_vocabulary_is_impossible(wrong, compiled):
    tokens = TOKENS.copy()
    tokens[1, 2] = wrong

    def log_prob(tokens, **kwargs):
        return token_categorical.TokenCategorical(logits=LOGITS, **kwargs).log_prob(
            tokens
        )

    function = tf.function(log_prob, jit_compile=True) if compiled else log_prob
    found, good = function(tf.constant(tokens)), log_prob(TOKENS)
    assert found[1, 2] == -np.inf
    np.testing.assert_allclose(np.delete(found, 5), np.delete(good, 5), rtol=1e-6)
    with pytest.raises((tf.errors.InvalidArgumentError, errors.UserError)):
        log_prob(tf.constant(tokens), validate_args=True)
    np.testing.assert_array_equal(log_prob(TOKENS, validate_args=True), good)
