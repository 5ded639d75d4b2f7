"""The oracles: published numbers, a brute-force optimum, and encoders that try."""

import time

import numpy as np
from absl.testing import absltest, parameterized
from scipy import integrate, optimize, special

from deltavae_tf import errors, units
from deltavae_tf.distributions import committed_rate
from deltavae_tf.distributions.information import (
    information_at_rate,
    information_frontier,
    rate_for_information,
    solve_alpha_for_information,
)


def covariance(alpha, n):
    steps = np.arange(n)
    return alpha ** np.abs(steps[:, None] - steps)


def dense_kl(loc, variance, alpha):
    """KL(N(loc, diag(variance)) || AR1) of one channel; [..., n] -> [...]."""
    prior = covariance(alpha, loc.shape[-1])
    precision = np.linalg.inv(prior)
    return 0.5 * (
        variance @ np.diag(precision)
        + np.einsum("...i,ij,...j->...", loc, precision, loc)
        - loc.shape[-1]
        + np.linalg.slogdet(prior)[1]
        - np.log(variance).sum(-1)
    )


def brute_force(alpha, n, price):
    """(rate, information) that minimize rate - price I, over S and Q - S = L L^T."""
    prior = covariance(alpha, n)
    precision, log_det = np.linalg.inv(prior), np.linalg.slogdet(prior)[1]
    lower = np.tril_indices(n)

    def rate_and_information(parameters):
        root = np.zeros((n, n))
        root[lower] = parameters[n:]
        q = np.diag(np.exp(parameters[:n])) + root @ root.T
        log_s = parameters[:n].sum()
        rate = 0.5 * (np.trace(precision @ q) - log_s + log_det - n)
        return rate, 0.5 * (np.linalg.slogdet(q)[1] - log_s)

    def objective(parameters):
        rate, information = rate_and_information(parameters)
        return rate - price * information

    rng = np.random.default_rng(0)
    size = n + n * (n + 1) // 2
    found = min(
        (
            optimize.minimize(objective, rng.normal(0, 0.5, size), tol=1e-12)
            for _ in range(5)
        ),
        key=lambda result: result.fun,
    )
    return rate_and_information(found.x)


def marginal_entropy(loc, variance, num_samples=50_000):
    """h of an equal mixture of normals, loc and variance [N, n]: value and error."""
    rng = np.random.default_rng(1)
    which = rng.integers(len(loc), size=num_samples)
    noise = rng.normal(size=(num_samples, loc.shape[1]))
    z = loc[which] + np.sqrt(variance[which]) * noise
    log_density = -0.5 * sum(
        (z[:, i, None] - loc[:, i]) ** 2 / variance[:, i]
        + np.log(2 * np.pi * variance[:, i])
        for i in range(loc.shape[1])
    )
    samples = -special.logsumexp(log_density, axis=1) + np.log(len(loc))
    return samples.mean(), samples.std() / np.sqrt(num_samples)


class OraclesTest(parameterized.TestCase):
    @parameterized.parameters(
        (0.95, 32, 0.05, 10.8683, 2.6767),
        (0.95, 32, 0.20, 11.2834, 6.2358),
        (0.95, 32, 0.50, 12.8522, 10.7948),
        (0.95, 32, 0.90, 17.6598, 17.5000),
        (0.5, 8, 0.20, 0.8133, 0.0),
        (0.5, 8, 0.50, 1.0394, 0.5983),
        (0.5, 8, 0.90, 2.0766, 2.0402),
        (0.99, 32, 0.05, 12.2691, 4.0202),
        (0.95, 8, 0.20, 3.2381, 1.9240),
    )
    def test_one_channel(self, alpha, n, price, rate, information):
        found = information_frontier(alpha, n, [price])
        self.assertAlmostEqual(found.rates[0], rate, delta=1.01e-4)
        self.assertAlmostEqual(found.informations[0], information, delta=1.01e-4)
        self.assertAlmostEqual(
            information_at_rate(found.rates[0], alpha, n),
            found.informations[0],
            delta=1e-7,
        )

    @parameterized.parameters(
        ((0.5, 0.95, 8), 32, 0.19, 7.2, 0.05),
        ((0.5, 0.95, 8), 32, 3.0, 30, 0.5),
        ((0.5, 0.95, 8), 32, 19, 76, 0.5),
        ((0.8, 0.99, 8), 28, 0.45, 19, 0.5),
        ((0.8, 0.99, 8), 28, 4.5, 53, 0.5),
        ((0.5, 0.95, 8), 8, 0.2, 3.9, 0.1),
        ((0.5, 0.95, 8), 8, 0.8, 7.9, 0.05),
    )
    def test_whole_priors(self, spaced, n, excess_bits, bits, delta):
        alpha = np.linspace(*spaced)
        rate = committed_rate(alpha, n) + units.nats(excess_bits)
        found = units.bits(information_at_rate(rate, alpha, n))
        self.assertAlmostEqual(found, bits, delta=delta)

    @parameterized.parameters(
        (0.2, 0.62), (0.4, 0.31), (0.5, 0.20), (0.8, 0.027), (0.95, 0.003)
    )
    def test_nothing_below_the_lowest_price(self, alpha, lowest):
        digit = 10 ** np.floor(np.log10(lowest) - 0.3)  # Half of the last one printed.
        below, above = information_frontier(
            alpha, 32, [lowest - digit, lowest + digit]
        ).informations
        self.assertEqual(below, 0)
        self.assertGreater(above, 0)


class BruteForceTest(parameterized.TestCase):
    @parameterized.product(alpha=[0.5, 0.9], price=[0.2, 0.6, 0.9])
    def test_three_steps(self, alpha, price):
        rate, information = brute_force(alpha, 3, price)
        found = information_frontier(alpha, 3, [price])
        self.assertAlmostEqual(found.rates[0], rate, delta=2e-5)
        self.assertAlmostEqual(found.informations[0], information, delta=2e-5)
        # Of second order in what the search lacks, so far more exact:
        best = rate - price * information
        self.assertAlmostEqual(
            found.rates[0] - price * found.informations[0], best, delta=1e-8
        )
        self.assertAlmostEqual(
            information_at_rate(rate, alpha, 3), information, delta=1e-6
        )

    @parameterized.parameters(2, 4, 5)
    def test_other_lengths(self, n):
        rate, information = brute_force(0.8, n, 0.7)
        self.assertAlmostEqual(
            information_at_rate(rate, 0.8, n), information, delta=1e-6
        )

    def test_two_channels_share_one_price(self):
        """The best split of a rate, tried out on a fine grid."""
        alpha, n = [0.6, 0.95], 4
        deltas = [committed_rate([a], n) for a in alpha]
        excess = 0.8
        best = max(
            information_at_rate(deltas[0] + share * excess, alpha[0], n)
            + information_at_rate(deltas[1] + (1 - share) * excess, alpha[1], n)
            for share in np.linspace(0, 1, 41)
        )
        found = information_at_rate(sum(deltas) + excess, alpha, n)
        self.assertAlmostEqual(found, best, delta=1e-3)
        self.assertGreaterEqual(found, best - 1e-9)


class EncodersTest(parameterized.TestCase):
    """No encoder lies above the frontier, whatever it does; one lies on it."""

    @parameterized.product(num_examples=[2, 5, 40], spread=[0.1, 0.5, 1.5])
    def test_random_encoders_of_a_few_examples(self, num_examples, spread):
        """I by Monte Carlo from the mixture itself: within 5 standard errors."""
        rng = np.random.default_rng(num_examples)
        alpha, n = 0.9, 3
        best = np.sqrt((1 - alpha**2) / (1 + np.array([0, 1, 0]) * alpha**2))
        slow = rng.normal(size=(num_examples, 1))
        loc = spread * (slow + 0.3 * rng.normal(size=(num_examples, n))) + 0.2
        variance = (best * np.exp(0.3 * rng.normal(size=loc.shape))) ** 2
        rate = dense_kl(loc, variance, alpha).mean()
        entropy, error = marginal_entropy(loc, variance)
        conditional = 0.5 * np.log(2 * np.pi * np.e * variance).sum(1).mean()
        self.assertLessEqual(
            entropy - conditional, information_at_rate(rate, alpha, n) + 5 * error
        )

    def test_two_examples_by_quadrature(self):
        """n = 2, z_2 told by z_1's side alone: I to 1e-8, between 0 and ln 2."""
        alpha, gap = 0.9, 0.5
        loc = np.array([[gap, gap], [-gap, -gap]])
        variance = np.full((2, 2), 1 - alpha**2)

        # Both steps together see the sign as one normal of a known distance does.
        distance = gap * np.sqrt(2 / (1 - alpha**2))

        def integrand(t):
            density = np.exp(-0.5 * t**2) / np.sqrt(2 * np.pi)
            return density * np.logaddexp(0, -2 * distance * (distance + t))

        information = np.log(2) - integrate.quad(integrand, -12, 12)[0]
        rate = dense_kl(loc, variance, alpha).mean()
        bound = information_at_rate(rate, alpha, 2)
        self.assertLess(information, np.log(2))
        self.assertLess(information, bound)
        self.assertGreater(information, 0.75 * bound)  # And the bound is no loose one.

    @parameterized.product(seed=list(range(10)), n=[4, 16])
    def test_linear_encoders_of_normal_data(self, seed, n):
        """Constant scales, m = W x: I is exact; channels may correlate."""
        rng = np.random.default_rng(seed)
        alpha = np.array([0.7, 0.97])
        variance = (1 - alpha[:, None] ** 2) * np.exp(0.5 * rng.normal(size=(2, n)))
        smooth = np.cumsum(rng.normal(size=(2 * n, 3)), 0) / np.sqrt(2 * n)
        weights = rng.uniform(0, 1) * smooth
        mean = weights @ weights.T  # E[m m^T].
        rate = 0.0
        for k, a in enumerate(alpha):
            block = slice(k * n, (k + 1) * n)
            precision = np.linalg.inv(covariance(a, n))
            rate += dense_kl(np.zeros(n), variance[k], a)
            rate += 0.5 * np.trace(precision @ mean[block, block])
        scaled = mean / np.sqrt(np.outer(variance.ravel(), variance.ravel()))
        information = 0.5 * np.linalg.slogdet(np.eye(2 * n) + scaled)[1]
        self.assertLessEqual(information, information_at_rate(rate, alpha, n) + 1e-9)

    @parameterized.parameters(range(5))
    def test_scales_that_depend_on_normal_data(self, seed):
        """An upper bound of I by the normal of the same covariance, still below."""
        rng = np.random.default_rng(seed)
        alpha, n = 0.9, 6
        x = rng.normal(size=(4000, 2))
        loc = 0.6 * np.tanh(x @ rng.normal(size=(2, n))) + 0.1
        variance = 0.15 * np.exp(0.4 * x @ rng.normal(size=(2, n)))
        total = np.cov(loc.T, bias=True) + np.diag(variance.mean(0))
        bound = 0.5 * (np.linalg.slogdet(total)[1] - np.log(variance).sum(1).mean())
        rate = dense_kl(loc, variance, alpha).mean()
        self.assertLess(bound, information_at_rate(rate, alpha, n))

    def test_the_frontier_can_be_met(self):
        """A linear encoder of normal data, of the brute-force Q and S."""
        rate, information = brute_force(0.9, 3, 0.4)
        self.assertGreater(information, 0.5)
        self.assertAlmostEqual(
            information_at_rate(rate, 0.9, 3), information, delta=1e-6
        )


class ShapeTest(parameterized.TestCase):
    @parameterized.parameters(
        (0.0, 4), (0.5, 2), (0.95, 32), (0.99, 7), ([0.2, 0.4], 32), (1 - 1e-9, 8)
    )
    def test_the_ends(self, alpha, n):
        delta = committed_rate(np.atleast_1d(alpha), n)
        self.assertEqual(information_at_rate(delta, alpha, n), 0)
        self.assertEqual(rate_for_information(0, alpha, n), delta)
        # Where the price has reached 1 every nat is information.
        for rate in (delta + 40, delta + 41, delta + 1000):
            self.assertAlmostEqual(
                information_at_rate(rate, alpha, n), rate, delta=1e-6
            )
            self.assertAlmostEqual(
                rate_for_information(rate, alpha, n), rate, delta=1e-6
            )

    def test_without_a_commitment_every_rate_is_information(self):
        self.assertEqual(information_at_rate(3.25, 0.0, 5), 3.25)
        self.assertEqual(rate_for_information(3.25, [0.0, 0.0], 5), 3.25)
        self.assertEqual(information_frontier(0.0, 5, [0.5]).informations[0], 0)

    @parameterized.parameters((0.5, 9), (0.95, 32), ([0.3, 0.9, 0.99], 16))
    def test_increasing_concave_and_below_the_rate(self, alpha, n):
        delta = committed_rate(np.atleast_1d(alpha), n)
        rates = delta + np.linspace(0, 25, 21)
        found = np.array([information_at_rate(rate, alpha, n) for rate in rates])
        gains = np.diff(found)
        self.assertTrue(np.all(gains >= np.diff(rates) - 1e-7))  # Slope 1 / mu >= 1.
        self.assertTrue(np.all(np.diff(gains) <= 1e-7))
        self.assertTrue(np.all(found <= rates + 1e-9))

    def test_the_price_is_the_slope(self):
        alpha, n, price = [0.8, 0.95], 12, 0.3
        at = information_frontier(alpha, n, [price])
        step = 1e-3
        gained = information_at_rate(at.rates[0] + step, alpha, n)
        gained -= information_at_rate(at.rates[0] - step, alpha, n)
        self.assertAlmostEqual(2 * step / gained, price, delta=1e-4)

    @parameterized.product(
        alpha=[0.1, 0.9, 0.999, [0.5, 0.5, 0.95], [0.0, 0.9]], n=[2, 3, 8, 33]
    )
    def test_round_trips(self, alpha, n):
        delta = committed_rate(np.atleast_1d(alpha), n)
        for excess in (1e-6, 1e-3, 0.1, 1.0, 10.0):
            information = information_at_rate(delta + excess, alpha, n)
            self.assertAlmostEqual(
                rate_for_information(information, alpha, n),
                delta + excess,
                delta=1e-8,
            )

    def test_channels_add_up(self):
        one = information_at_rate(4.0, 0.95, 8)
        self.assertAlmostEqual(information_at_rate(12.0, [0.95] * 3, 8), 3 * one)

    def test_the_default_curve(self):
        curve = information_frontier([0.5, 0.95], 32)
        self.assertEqual([x.shape for x in curve], [(100,)] * 3)
        self.assertEqual([x.dtype for x in curve], [np.float64] * 3)
        self.assertAlmostEqual(
            curve.rates[0], committed_rate([0.5, 0.95], 32), delta=1e-12
        )
        self.assertAlmostEqual(curve.informations[0], 0, delta=1e-12)
        for x in curve:
            self.assertTrue(np.all(np.diff(x) >= 0))
        rate, information = curve.rates[-1], curve.informations[-1]
        self.assertAlmostEqual(information / rate, 1, delta=1e-4)

    def test_time(self):
        """n = 256: well under a second of one core; 5 leave room for a busy one."""
        start = time.process_time()
        information_at_rate(committed_rate([0.95], 256) + 1, 0.95, 256)
        self.assertLess(time.process_time() - start, 5)


class SolveAlphaTest(parameterized.TestCase):
    @parameterized.parameters(
        (20.0, 0.05, 32, 8, None), (20.0, 0.3, 32, 8, 0.5), (3.0, 0.5, 7, 2, 0.0)
    )
    def test_carries_what_was_asked_for(self, information, price, n, d, alpha_min):
        alpha = solve_alpha_for_information(information, price, n, d, alpha_min)
        self.assertEqual(alpha.shape, (d,))
        self.assertEqual(alpha.dtype, np.float64)
        if alpha_min is None:
            self.assertEqual(np.ptp(alpha), 0)
        else:
            np.testing.assert_allclose(alpha, np.linspace(alpha_min, alpha[-1], d))
        at = information_frontier(alpha, n, [price])
        self.assertAlmostEqual(at.informations[0], information, delta=1e-6)
        self.assertAlmostEqual(
            rate_for_information(information, alpha, n), at.rates[0], delta=1e-6
        )

    @parameterized.parameters((0.95, 8), (0.6, 3))
    def test_finds_the_alphas_back(self, alpha_max, n):
        alpha = np.linspace(0.5, alpha_max, 4)
        information = information_frontier(alpha, n, [0.7]).informations[0]
        solved = solve_alpha_for_information(information, 0.7, n, 4, alpha_min=0.5)
        np.testing.assert_allclose(solved, alpha, atol=1e-6)

    def test_nothing_needs_no_alpha(self):
        np.testing.assert_array_equal(solve_alpha_for_information(0, 0.1, 8, 2), [0, 0])
        np.testing.assert_array_equal(
            solve_alpha_for_information(0, 0.1, 8, 2, 0.3), [0.3, 0.3]
        )

    @parameterized.parameters(2, 5, 8)
    def test_information_grows_with_alpha(self, n):
        alphas = np.concatenate([np.linspace(0, 0.98, 15), 1 - np.logspace(-2, -12, 6)])
        prices = [0.03, 0.3, 0.7, 0.95]
        found = [information_frontier(a, n, prices).informations for a in alphas]
        self.assertTrue(np.all(np.diff(found, axis=0) >= -1e-9))


class BadInputTest(parameterized.TestCase):
    @parameterized.parameters(
        (10.0, 0.95, 32, "committed rate, 10.8115 nats"),
        (10.81, 0.95, 32, "committed rate, 10.8115 nats"),
        (-1.0, 0.0, 32, "committed rate, 0 nats"),
        (float("nan"), 0.5, 32, "`rate`"),
        (float("inf"), 0.5, 32, "`rate`"),
        ("many", 0.5, 32, "`rate`"),
        (1.0, 1.0, 32, "`alpha`"),
        (1.0, [], 32, "`alpha`"),
        (1.0, [[0.5]], 32, "`alpha`"),
        (1.0, [0.5, -0.1], 32, "`alpha`"),
        (1.0, float("nan"), 32, "`alpha`"),
        (1.0, "slow", 32, "`alpha`"),
        (1.0, 0.5, 1, "`num_timesteps`"),
        (1.0, 0.5, 2.5, "`num_timesteps`"),
    )
    def test_information_at_rate(self, rate, alpha, n, message):
        with self.assertRaisesRegex(errors.UserError, f"{message}.*Received: "):
            information_at_rate(rate, alpha, n)

    def test_float32_just_below_delta_is_delta(self):
        delta = committed_rate([0.95] * 8, 32)
        self.assertEqual(information_at_rate(delta * (1 - 1e-6), [0.95] * 8, 32), 0)

    @parameterized.parameters(-1e-9, float("nan"), None)
    def test_rate_for_information(self, information):
        with self.assertRaisesRegex(errors.UserError, "`information`.*Received: "):
            rate_for_information(information, 0.5, 8)

    @parameterized.parameters(1.0, -0.1, float("nan"))
    def test_prices(self, price):
        with self.assertRaisesRegex(errors.UserError, "`prices`.*Received: "):
            information_frontier(0.5, 8, [0.5, price])

    @parameterized.parameters(
        (-1.0, 0.1, 8, 4, None, "`information`"),
        (1e4, 0.1, 8, 4, None, r"\[0, \d+\.\d+\] nats"),
        (1.0, 0.9, 8, 4, 0.9, r"must be in \["),
        (1.0, 0.0, 8, 4, None, "`price`"),
        (1.0, 1.0, 8, 4, None, "`price`"),
        (1.0, 0.1, 1, 4, None, "`num_timesteps`"),
        (1.0, 0.1, 8, 0, None, "`num_channels`"),
        (1.0, 0.1, 8, 1, 0.5, "at least 2"),
        (1.0, 0.1, 8, 4, 1.0, "`alpha`"),
    )
    def test_solve_alpha(self, information, price, n, d, alpha_min, message):
        with self.assertRaisesRegex(errors.UserError, f"{message}.*Received: "):
            solve_alpha_for_information(information, price, n, d, alpha_min)


if __name__ == "__main__":
    absltest.main()
