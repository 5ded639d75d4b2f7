"""The auxiliary prior, of either covariance, against scipy and by hand."""

import keras
import numpy as np
import pytest
import scipy.stats
from keras import ops

from deltavae_tf import errors, segments
from deltavae_tf.models import auxiliary_prior
from tests import testing

B, N, D = 3, 6, 4


def make(covariance):
    keras.utils.set_random_seed(0)
    prior = auxiliary_prior.LSTMPrior(8, D, covariance)
    prior(values())  # Makes its weights.
    testing.randomize(prior, scale=0.5)
    return prior


@pytest.fixture(scope="module", params=auxiliary_prior.COVARIANCES)
def prior(request):
    return make(request.param)


def values(seed=0, shape=(B, N, D)):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def conditionals(prior, z, **kwargs):
    """Means `[B, n, d]` and covariances `[B, n, d, d]` of each time step, float64."""
    outputs = prior(z, **kwargs)
    loc, scale, *mixing = (np.float64(ops.convert_to_numpy(t)) for t in outputs)
    factor = np.eye(D) + (mixing[0] if mixing else 0)
    factor = factor / scale[..., None, :]  # factor (z - loc) is standard normal.
    return loc, np.linalg.inv(np.swapaxes(factor, -1, -2) @ factor)


def test_log_prob_is_scipys(prior):
    z = values()
    loc, covariance = conditionals(prior, z)
    expected = [
        sum(
            scipy.stats.multivariate_normal(loc[b, t], covariance[b, t]).logpdf(z[b, t])
            for t in range(N)
        )
        for b in range(B)
    ]
    np.testing.assert_allclose(prior.log_prob(z), expected, rtol=1e-4)


def kl(loc, scale, mean, covariance):
    """KL(N(loc, diag scale^2) || N(mean, covariance)) from the textbook formula."""
    inverse, away = np.linalg.inv(covariance), mean - loc
    spread = np.trace(inverse * scale**2) + away @ inverse @ away - len(loc)
    return (spread + np.linalg.slogdet(covariance)[1] - 2 * np.log(scale).sum()) / 2


def test_rate_is_the_textbooks_kl(prior):
    z, loc, scale = values(), values(1), np.exp(values(2))
    mean, covariance = conditionals(prior, z)
    expected = [
        sum(kl(loc[b, t], scale[b, t], mean[b, t], covariance[b, t]) for t in range(N))
        for b in range(B)
    ]
    np.testing.assert_allclose(prior.rate(loc, scale, z), expected, rtol=1e-4)


def test_sentences_are_as_if_alone(prior):
    z, loc, scale = values(), values(1), np.exp(values(2))
    ids = np.int32([[1, 1, 2, 2, 2, 0]] * B)
    steps = ops.convert_to_numpy(prior.rate_of_steps(loc, scale, z, ids))
    assert steps.shape == (B, N) and not steps[:, 5].any()
    for part in slice(0, 2), slice(2, 5):
        alone = prior.rate(loc[:, part], scale[:, part], z[:, part])
        np.testing.assert_allclose(steps[:, part].sum(1), alone, rtol=1e-4)
    total = prior.rate(loc, scale, z, ids)
    np.testing.assert_allclose(total, steps.sum(1), rtol=1e-5)


def test_samples_follow_its_densities(prior):
    """Its paths, put back through `call`, have the noise that they were drawn from."""
    eps = values(3)
    z = ops.convert_to_numpy(prior.sample_from_noise(eps))
    loc, covariance = conditionals(prior, z)
    lower = np.linalg.cholesky(covariance)
    found = np.linalg.solve(lower, (z - loc)[..., None])[..., 0]
    np.testing.assert_allclose(found, eps, atol=1e-4)
    still = prior.sample_from_noise(eps, 0.0)
    np.testing.assert_allclose(still, conditionals(prior, still)[0], atol=1e-5)


def test_it_sees_only_the_past(prior):
    z = values(shape=(1, N, D))
    before = conditionals(prior, z)[0]
    for t in range(N):
        moved = z.copy()
        moved[:, t] += 1
        seen = (conditionals(prior, moved)[0] != before).any(axis=(0, 2))
        np.testing.assert_array_equal(seen, np.arange(N) > t)


@pytest.mark.parametrize("covariance", auxiliary_prior.COVARIANCES)
def test_it_starts_at_the_standard_normal(covariance):
    prior = auxiliary_prior.LSTMPrior(8, D, covariance)
    mean, variance = conditionals(prior, values())
    np.testing.assert_array_equal(mean, np.zeros((B, N, D)))
    np.testing.assert_allclose(variance, np.tile(np.eye(D), (B, N, 1, 1)), atol=1e-6)


def test_full_has_correlations():
    covariance = conditionals(make("full"), values())[1]
    assert np.abs(covariance[..., 1, 0]).max() > 0.01
    ids = segments.is_first(np.int32([[1, 1, 1, 2, 2, 2]] * B))
    assert conditionals(make("full"), values(), first=ids)[1].shape == (B, N, D, D)


def test_another_covariance_is_refused():
    with pytest.raises(errors.UserError, match="diagonal, full. Received: 'tied'"):
        auxiliary_prior.LSTMPrior(8, D, "tied")
