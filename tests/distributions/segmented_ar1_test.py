"""Chains of many lengths on one axis, against one chain at a time and dense ones."""

import re

import numpy as np
import pytest
from scipy import optimize

from deltavae_tf import errors, segments
from deltavae_tf.distributions import ar1, segmented_ar1

ALPHA = np.array([0.2, 0.4, 0.9])
# Chains of 3, 2, 4 steps and padding; of 1, 1, 1 and 7; padding alone.
TOKENS = np.array(
    [
        [5, 6, 1, 7, 1, 8, 9, 9, 1, 0],
        [1, 1, 1, 3, 3, 3, 3, 3, 3, 1],
        [0] * 10,
    ],
    np.int32,
)
CHAINS = {0: [(0, 3), (3, 5), (5, 9)], 1: [(0, 1), (1, 2), (2, 3), (3, 10)]}


@pytest.fixture(scope="module")
def posterior():
    rng = np.random.default_rng(0)
    loc = rng.normal(size=(*TOKENS.shape, len(ALPHA)))
    scale = np.exp(rng.normal(size=loc.shape, scale=0.4))
    return loc.astype("float32"), scale.astype("float32")


def dense_kl(loc, scale, alpha):
    """KL of one channel's independent normals from the AR(1)'s covariance matrix."""
    n = len(loc)
    steps = np.arange(n)
    covariance = alpha ** np.abs(steps[:, None] - steps)
    precision = np.linalg.inv(covariance)
    quadratic = np.diag(precision) @ scale**2 + loc @ precision @ loc
    log_det = np.linalg.slogdet(covariance)[1]
    return 0.5 * (quadratic - n + log_det - 2 * np.log(scale).sum())


def test_kl_is_that_of_each_chain(posterior):
    loc, scale = posterior
    prior = segmented_ar1.SegmentedAR1(ALPHA)
    kl = np.array(prior.kl_from_normal(loc, scale, segments.segment_ids(TOKENS)))
    loc, scale = loc.astype(np.float64), scale.astype(np.float64)
    for row, chains in CHAINS.items():
        for start, end in chains:
            part = np.s_[row, start:end]
            expected = sum(
                dense_kl(loc[part][:, k], scale[part][:, k], alpha)
                for k, alpha in enumerate(ALPHA)
            )
            np.testing.assert_allclose(kl[part].sum(), expected, rtol=2e-5)
    assert not kl[0, 9] and not kl[2].any()


def test_chains_and_padding_do_not_see_each_other(posterior):
    loc, scale = posterior
    prior = segmented_ar1.SegmentedAR1(ALPHA)
    ids = segments.segment_ids(TOKENS)
    before = np.array(prior.kl_from_normal(loc, scale, ids))
    for t in range(TOKENS.shape[1]):
        moved = loc.copy()
        moved[:, t] += 1
        after = np.array(prior.kl_from_normal(moved, scale, ids))
        for row, chains in CHAINS.items():
            for start, end in chains:
                same = np.array_equal(before[row, start:end], after[row, start:end])
                assert same != (start <= t < end)
        assert not after[2].any()


@pytest.mark.parametrize("n", [2, 3, 5])
def test_committed_rate_is_the_minimum(n):
    alpha = 0.6
    prior = segmented_ar1.SegmentedAR1([alpha])
    ids = np.ones((1, n), np.int32)

    def kl(log_scale):
        return dense_kl(np.zeros(n), np.exp(log_scale), alpha)

    found = optimize.minimize(kl, np.zeros(n), tol=1e-12)
    rate = np.array(prior.committed_rate(ids)).sum()
    np.testing.assert_allclose(rate, found.fun, rtol=1e-5)
    np.testing.assert_allclose(rate, ar1.committed_rate([alpha], n), rtol=1e-6)
    scale = np.array(prior.optimal_scale(ids))
    np.testing.assert_allclose(scale[0, :, 0], np.exp(found.x), rtol=1e-4)


def test_table_5_commits_a_tenth_of_a_nat_a_token():
    prior = segmented_ar1.SegmentedAR1([0.2, 0.4])
    rate = np.array(prior.committed_rate(np.ones((1, 32), np.int32))).sum()
    np.testing.assert_allclose(rate, 2.922, atol=5e-4)


def test_a_chain_of_one_step_commits_nothing():
    prior = segmented_ar1.SegmentedAR1([0.2, 0.99])
    ids = segments.segment_ids(np.array([[1, 1, 5, 1]]))
    rate = np.array(prior.committed_rate_of_steps(ids))[0]
    assert not rate[:2].any() and rate[2:].all()
    loc, scale = np.zeros((1, 4, 2), "float32"), np.ones((1, 4, 2), "float32")
    assert not np.array(prior.kl_from_normal(loc, scale, ids))[0, :2].any()


def test_no_rounding_goes_below_the_floor():
    prior = segmented_ar1.SegmentedAR1(np.linspace(0.5, 0.999, 16))
    ids = np.ones((4, 256), np.int32)
    optimum = np.array(prior.optimal_scale(ids))
    rng = np.random.default_rng(0)
    floor = np.array(prior.committed_rate(ids))
    for spread in (0.0, 1e-7, 1e-5, 1e-3):
        scale = optimum * np.exp(spread * rng.normal(size=optimum.shape))
        kl = np.array(prior.kl_from_normal(0 * scale, scale.astype("float32"), ids))
        assert (kl.sum(1) >= floor * (1 - 1e-6)).all()


def test_sampled_chain_has_the_priors_correlation():
    prior = segmented_ar1.SegmentedAR1([0.3, 0.8])
    eps = np.random.default_rng(0).normal(size=(4000, 6, 2)).astype("float32")
    z = np.array(prior.sample_from_noise(eps))
    for k, alpha in enumerate((0.3, 0.8)):
        steps = np.arange(6)
        expected = alpha ** np.abs(steps[:, None] - steps)
        np.testing.assert_allclose(np.cov(z[..., k].T), expected, atol=0.08)


def test_config_round_trip():
    prior = segmented_ar1.SegmentedAR1(ALPHA)
    again = segmented_ar1.SegmentedAR1.from_config(prior.get_config())
    np.testing.assert_array_equal(again.alpha, prior.alpha)
    with pytest.raises(ValueError, match=r"in \[0, 1\)"):
        segmented_ar1.SegmentedAR1([1.0])


@pytest.mark.parametrize(
    "name, shape",
    [("loc", (3, 10, 1)), ("scale", (3, 10, 1)), ("loc", (3, 9, 3)), ("loc", (10, 3))],
)
def test_values_of_another_shape_are_refused(posterior, name, shape):
    given = dict(zip(("loc", "scale"), posterior, strict=True))
    given[name] = np.ones(shape, "float32")
    prior = segmented_ar1.SegmentedAR1(ALPHA)
    message = (
        rf"`{name}` must be \[..., 3, 10, 3\]. Received: {re.escape(str([*shape]))}"
    )
    with pytest.raises(errors.UserError, match=message):
        prior.kl_from_normal(**given, segments=segments.segment_ids(TOKENS))
    with pytest.raises(errors.UserError, match=r"`eps` must be \[..., ..., 3\]"):
        prior.sample_from_noise(np.ones((2, 10, 1), "float32"))
