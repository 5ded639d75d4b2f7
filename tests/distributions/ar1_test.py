"""The oracle is a dense Gaussian with covariance alpha^|s-t|, in float64."""

import json

import keras
import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp
from absl.testing import absltest, parameterized
from scipy import optimize, stats

from deltavae_tf import units
from deltavae_tf.distributions import AR1, committed_rate, solve_alpha

tfd = tfp.distributions


def covariance(alpha, n):
    steps = np.arange(n)
    return alpha ** np.abs(steps[:, None] - steps)


def dense_kl(loc, scale, alpha):
    """KL(N(loc, diag(scale^2)) || N(0, covariance)) of one channel, [n] -> []."""
    matrix = covariance(alpha, len(loc))
    precision = np.linalg.inv(matrix)
    return 0.5 * (
        np.diag(precision) @ scale**2
        + loc @ precision @ loc
        - len(loc)
        + np.linalg.slogdet(matrix)[1]
        - 2 * np.log(scale).sum()
    )


def dense_kl_of_channels(loc, scale, alpha):
    return sum(dense_kl(loc[:, k], scale[:, k], a) for k, a in enumerate(alpha))


def random_normal(shape, seed=0):
    """loc and scale, float64."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=shape), np.exp(rng.normal(-1, 1, size=shape))


def mean_field(loc, scale):
    return tfd.Independent(tfd.Normal(np.float32(loc), np.float32(scale)), 2)


class CommittedRateTest(parameterized.TestCase):
    @parameterized.parameters(
        (0.5, 0.95, 8, 79.447),
        (0.5, 0.99, 64, 666.629),
        (0.5, 0.95, 16, 158.303),
        (0.3, 0.99, 8, 68.785),
        (0.5, 0.68, 32, 217.651),
        (0.5, 0.99, 32, 333.845),
    )
    def test_the_papers_image_models(self, alpha_min, alpha_max, d, bits):
        alpha = np.linspace(alpha_min, alpha_max, d)
        for rate in (committed_rate(alpha, 32), AR1(alpha, 32).committed_rate()):
            self.assertAlmostEqual(units.bits(rate), bits, delta=5e-4)

    def test_the_papers_text_model(self):
        self.assertAlmostEqual(committed_rate([0.2, 0.4], 32), 2.922, delta=5e-4)
        self.assertAlmostEqual(committed_rate([0.2, 0.4], 32) / 32, 0.0913, delta=5e-5)
        many = 10**6
        limit = committed_rate([0.2, 0.4], many) / many
        self.assertAlmostEqual(limit, 0.0938, delta=5e-5)

    @parameterized.product(alpha=[0.0, 0.3, 0.9], n=[2, 3, 5])
    def test_is_the_minimum_over_all_posteriors(self, alpha, n):
        def kl(parameters):
            return dense_kl(parameters[:n], np.exp(parameters[n:]), alpha)

        start = np.random.default_rng(0).normal(size=2 * n)
        found = optimize.minimize(kl, start, tol=1e-10)
        self.assertAlmostEqual(committed_rate([alpha], n), found.fun, delta=1e-7)
        np.testing.assert_allclose(found.x[:n], np.zeros(n), atol=1e-3)
        np.testing.assert_allclose(
            AR1([alpha], n).optimal_scale()[:, 0], np.exp(found.x[n:]), rtol=1e-3
        )

    @parameterized.parameters(0.5, 0.95)
    def test_is_the_minimum_for_32_steps(self, alpha):
        """Over the scales alone: the loc term is quadratic with its minimum at 0."""
        diagonal = np.diag(np.linalg.inv(covariance(alpha, 32)))

        def kl_and_gradient(log_scale):
            gradient = diagonal * np.exp(2 * log_scale) - 1
            return dense_kl(np.zeros(32), np.exp(log_scale), alpha), gradient

        found = optimize.minimize(kl_and_gradient, np.zeros(32), jac=True, tol=1e-10)
        self.assertAlmostEqual(committed_rate([alpha], 32), found.fun, delta=1e-7)

    def test_adds_over_channels(self):
        self.assertAlmostEqual(
            committed_rate([0.2, 0.7], 5),
            committed_rate([0.2], 5) + committed_rate([0.7], 5),
        )
        self.assertEqual(committed_rate([0.0, 0.0], 5), 0.0)

    @parameterized.parameters(1e-9, 1e-12)
    def test_next_to_one(self, gap):
        """1 - alpha^2 = gap (2 - gap), which no difference of floats shows."""
        alpha = 1 - gap
        gap = 1 - alpha  # What the float holds, exactly.
        expected = 0.5 * (30 * np.log(2 - gap * (2 - gap)) - np.log(gap * (2 - gap)))
        self.assertAlmostEqual(committed_rate([alpha], 32), expected, delta=1e-12)


class SolveAlphaTest(parameterized.TestCase):
    @parameterized.product(rate=[0.0, 1e-6, 0.3, 20.0, 150.0], n=[2, 32])
    def test_one_alpha_for_all_channels(self, rate, n):
        alpha = solve_alpha(rate, n, 16)
        self.assertEqual(alpha.shape, (16,))
        self.assertEqual(alpha.dtype, np.float64)
        self.assertEqual(np.ptp(alpha), 0)
        np.testing.assert_allclose(committed_rate(alpha, n), rate, rtol=1e-9)

    @parameterized.parameters(
        (0.5, 0.95, 8), (0.5, 0.99, 64), (0.3, 0.99, 8), (0.2, 0.4, 2), (0.0, 0.1, 4)
    )
    def test_a_range_of_alphas(self, alpha_min, alpha_max, d):
        alpha = np.linspace(alpha_min, alpha_max, d)
        solved = solve_alpha(committed_rate(alpha, 32), 32, d, alpha_min=alpha_min)
        np.testing.assert_allclose(solved, alpha, rtol=0, atol=1e-12)

    def test_the_ends_of_what_can_be_reached(self):
        floor = committed_rate([0.5] * 4, 32)
        np.testing.assert_allclose(solve_alpha(floor, 32, 4, 0.5), [0.5] * 4)
        top = np.nextafter(1.0, 0)
        np.testing.assert_array_equal(
            solve_alpha(committed_rate([top], 2), 2, 1), [top]
        )

    @parameterized.parameters(
        (-1.0, 4, None, r"\[0, "),
        (float("nan"), 4, None, r"\[0, "),
        (1e4, 4, None, r"\[0, 11\d\.\d+\] nats"),
        (10.0, 4, 0.5, r"\[13\.9"),
        (1e4, 4, 0.5, r"\[13\.9"),
        (10.0, 1, 0.5, "at least 2"),
        (10.0, 0, None, "num_channels"),
        (10.0, 4, 1.0, "alpha"),
    )
    def test_errors(self, rate, num_channels, alpha_min, message):
        with self.assertRaisesRegex(ValueError, f"{message}.*Received: "):
            solve_alpha(rate, 32, num_channels, alpha_min)


class AR1Test(parameterized.TestCase):
    @parameterized.product(alpha=[[0.0], [0.3, 0.95], [0.999]], n=[2, 5, 32])
    def test_log_prob_against_a_dense_gaussian(self, alpha, n):
        z = np.random.default_rng(0).normal(size=[3, n, len(alpha)])
        expected = sum(
            stats.multivariate_normal(np.zeros(n), covariance(a, n)).logpdf(z[..., k])
            for k, a in enumerate(alpha)
        )
        log_prob = AR1(alpha, n).log_prob(z.astype(np.float32))
        self.assertEqual(log_prob.dtype, tf.float32)
        np.testing.assert_allclose(log_prob, expected, rtol=2e-5, atol=1e-4)

    @parameterized.parameters(([0.0, 0.0],), ([0.5, 0.8, 0.95],))
    def test_log_prob_against_a_state_space_model(self, alpha):
        """Both one built here, and the subject as what it inherits from."""
        alpha, d = np.float32(alpha), len(alpha)
        model = tfd.LinearGaussianStateSpaceModel(
            num_timesteps=6,
            transition_matrix=tf.linalg.LinearOperatorFullMatrix(np.diag(alpha)),
            transition_noise=tfd.MultivariateNormalDiag(
                scale_diag=np.sqrt(1 - alpha**2)
            ),
            observation_matrix=tf.linalg.LinearOperatorFullMatrix(
                np.eye(d, dtype=np.float32)
            ),
            observation_noise=tfd.MultivariateNormalDiag(scale_diag=tf.zeros(d)),
            initial_state_prior=tfd.MultivariateNormalDiag(scale_diag=tf.ones(d)),
        )
        prior = AR1(alpha, 6)
        z = np.random.default_rng(0).normal(size=[4, 6, d]).astype(np.float32)
        self.assertIsInstance(prior, tfd.LinearGaussianStateSpaceModel)
        log_prob = prior.log_prob(z)
        np.testing.assert_allclose(log_prob, model.log_prob(z), rtol=1e-5, atol=1e-4)
        inherited = prior.log_prob(z, mask=np.zeros(6, bool))
        np.testing.assert_allclose(log_prob, inherited, rtol=1e-5, atol=1e-4)

    def test_a_missing_step(self):
        """log_prob with a mask is the state space model's: a marginal."""
        z = np.random.default_rng(0).normal(size=[3, 1]).astype(np.float32)
        log_prob = AR1([0.6], 3).log_prob(z, mask=np.array([False, True, False]))
        marginal = stats.multivariate_normal(np.zeros(2), [[1, 0.36], [0.36, 1]])
        self.assertAlmostEqual(
            float(log_prob), marginal.logpdf(z[[0, 2], 0]), delta=1e-4
        )

    @parameterized.product(alpha=[[0.0], [0.3, 0.95], [0.999]], n=[2, 5, 32])
    def test_kl_against_a_dense_gaussian(self, alpha, n):
        loc, scale = random_normal([3, n, len(alpha)])
        prior = AR1(alpha, n)
        q = mean_field(loc, scale)
        expected = [dense_kl_of_channels(loc[i], scale[i], alpha) for i in range(3)]
        for kl in (tfd.kl_divergence(q, prior), prior.kl_from_normal(loc, scale)):
            self.assertEqual(kl.dtype, tf.float32)
            np.testing.assert_allclose(kl, expected, rtol=2e-5, atol=1e-5)

    def test_kl_against_samples(self):
        loc, scale = random_normal([5, 2])
        prior = AR1([0.3, 0.9], 5)
        q = mean_field(loc, scale)
        z = q.sample(20_000, seed=[1, 2])
        terms = (q.log_prob(z) - prior.log_prob(z)).numpy()
        error = terms.std() / np.sqrt(len(terms))
        kl = float(tfd.kl_divergence(q, prior))
        self.assertLess(error, 0.02 * kl)
        self.assertLess(abs(terms.mean() - kl), 4 * error)

    @parameterized.product(alpha=[0.0, 0.5, 0.95, 1 - 1e-9], n=[2, 3, 32])
    def test_kl_is_never_below_the_committed_rate(self, alpha, n):
        prior = AR1([alpha, alpha], n)
        rng = np.random.default_rng(0)
        loc = rng.normal(size=[500, n, 2]) * np.exp(rng.normal(-3, 3, [500, 1, 1]))
        jitter = rng.normal(size=[500, n, 2]) * np.exp(rng.normal(-5, 3, [500, 1, 1]))
        jitter = np.clip(jitter, -30, 30)
        kl = prior.kl_from_normal(loc, prior.optimal_scale() * np.exp(jitter))
        rate = prior.committed_rate()
        self.assertGreaterEqual(kl.numpy().min(), rate - 1e-6 * (1 + rate))
        at_optimum = prior.kl_from_normal(np.zeros([n, 2]), prior.optimal_scale())
        np.testing.assert_allclose(at_optimum, rate, rtol=1e-6, atol=1e-6)

    def test_kl_of_channels_is_that_of_each_channel_alone(self):
        rng = np.random.default_rng(0)
        loc = rng.normal(size=(5, 4, 3))
        scale = rng.uniform(0.2, 2, (5, 4, 3))
        alpha = [0.0, 0.5, 0.95]
        found = np.asarray(AR1(alpha, 4).kl_of_channels(loc, scale))
        self.assertEqual(found.shape, (5, 3))
        steps = np.arange(4)
        for i, k in np.ndindex(5, 3):  # Against a dense Gaussian.
            prior = alpha[k] ** np.abs(steps[:, None] - steps[None, :])
            inverse = np.linalg.inv(prior)
            m, s2 = loc[i, :, k], scale[i, :, k] ** 2
            kl = np.trace(inverse * s2) + m @ inverse @ m - 4
            kl += np.linalg.slogdet(prior)[1] - np.log(s2).sum()
            np.testing.assert_allclose(found[i, k], 0.5 * kl, rtol=1e-4)

    def test_alpha_zero_is_the_standard_normal(self):
        prior = AR1(np.zeros(3), 4)
        standard = tfd.Independent(tfd.Normal(tf.zeros([4, 3]), 1.0), 2)
        loc, scale = random_normal([5, 4, 3])
        q = mean_field(loc, scale)
        z = q.sample(seed=[0, 1])
        np.testing.assert_allclose(
            tfd.kl_divergence(q, prior), tfd.kl_divergence(q, standard), rtol=1e-5
        )
        np.testing.assert_allclose(prior.log_prob(z), standard.log_prob(z), rtol=1e-5)
        self.assertEqual(prior.committed_rate(), 0.0)
        noise = np.random.default_rng(0).normal(size=[4, 3]).astype(np.float32)
        np.testing.assert_array_equal(prior.sample_from_noise(noise), noise)

    @parameterized.parameters(1e-6, 1e-9, 1e-12)
    def test_next_to_one(self, gap):
        """alpha is 1 in float32; steps of the right size still cost little."""
        prior = AR1([1 - gap], 3)
        sd = np.sqrt(gap * (2 - gap))
        # A power of 2 below sd, so that the steps are exact in float32.
        step = 2.0 ** np.floor(np.log2(sd))
        z = np.array([[0.0], [step], [2 * step]])
        expected = -1.5 * np.log(2 * np.pi) - 2 * np.log(sd) - (step / sd) ** 2
        np.testing.assert_allclose(prior.log_prob(np.float32(z)), expected, rtol=1e-5)
        ones = prior.log_prob(tf.ones([3, 1]))
        np.testing.assert_allclose(
            ones, -1.5 * np.log(2 * np.pi) - 2 * np.log(sd) - 0.5 - (gap / sd) ** 2,
            rtol=1e-5,
        )  # fmt: skip

    @parameterized.parameters(False, True)
    def test_graph_and_xla(self, jit_compile):
        prior = AR1([0.3, 0.9], 8)
        loc, scale = (tf.constant(x, tf.float32) for x in random_normal([3, 8, 2]))

        @tf.function(jit_compile=jit_compile)
        def run(loc, scale):
            with tf.GradientTape() as tape:
                tape.watch([loc, scale])
                q = tfd.Independent(tfd.Normal(loc, scale), 2)
                kl = tfd.kl_divergence(q, prior)
            inside = AR1([0.3, 0.9], 8).kl_from_normal(loc, scale)
            gradients = tape.gradient(kl, [loc, scale])
            return kl, inside, prior.log_prob(loc), gradients, prior.sample(seed=[0, 1])

        kl, inside, log_prob, gradients, sample = run(loc, scale)
        np.testing.assert_allclose(kl, prior.kl_from_normal(loc, scale), rtol=1e-5)
        np.testing.assert_allclose(inside, kl, rtol=1e-6)
        np.testing.assert_allclose(log_prob, prior.log_prob(loc), rtol=1e-5)
        self.assertEqual(sample.shape, [8, 2])
        for which, gradient in enumerate(gradients):
            ends = []
            for step in (1e-5, -1e-5):
                moved = [loc.numpy().astype(np.float64), scale.numpy().astype(float)]
                moved[which][1, 3, 1] += step
                ends.append(dense_kl_of_channels(moved[0][1], moved[1][1], [0.3, 0.9]))
            self.assertAlmostEqual(
                gradient.numpy()[1, 3, 1] / ((ends[0] - ends[1]) / 2e-5), 1, delta=1e-3
            )

    def test_kl_of_a_batch_of_unknown_size(self):
        prior = AR1([0.3, 0.9], 8)

        @tf.function(input_signature=[tf.TensorSpec([None, 8, 2])])
        def kl(loc):
            q = tfd.Independent(tfd.Normal(loc, 0.5), 2)  # A scale of shape [].
            return tfd.kl_divergence(q, prior)

        loc = random_normal([3, 8, 2])[0]
        expected = [dense_kl_of_channels(x, 0.5 + 0 * x, [0.3, 0.9]) for x in loc]
        np.testing.assert_allclose(kl(tf.cast(loc, tf.float32)), expected, rtol=1e-5)

    def test_keras_config(self):
        prior = AR1(np.linspace(0.5, 0.95, 8), 32, name="prior")
        config = json.loads(json.dumps(keras.saving.serialize_keras_object(prior)))
        again = keras.saving.deserialize_keras_object(config)
        self.assertIsInstance(again, AR1)
        np.testing.assert_array_equal(again.alpha, prior.alpha)
        self.assertEqual(again.get_config(), prior.get_config())
        self.assertEqual(again.event_shape, [32, 8])
        self.assertEqual(again.batch_shape, [])
        self.assertEqual(prior.copy(num_timesteps=4).event_shape, [4, 8])


class AR1SamplingTest(parameterized.TestCase):
    @parameterized.parameters(2, 3, 8, 13)
    def test_noise_is_mapped_as_the_recursion_says(self, n):
        alpha = np.array([0.0, 0.5, 0.99])
        eps = np.random.default_rng(0).normal(size=[4, n, 3])
        expected = eps.copy()
        for t in range(1, n):
            innovation = np.sqrt(1 - alpha**2) * eps[:, t]
            expected[:, t] = alpha * expected[:, t - 1] + innovation
        prior = AR1(alpha, n)
        z = prior.sample_from_noise(eps.astype(np.float32))
        np.testing.assert_allclose(z, expected, rtol=1e-5, atol=1e-6)
        colder = prior.sample_from_noise(eps, temperature=0.5)
        np.testing.assert_allclose(colder, 0.5 * z, rtol=1e-6)

    def test_moments(self):
        n, alpha = 6, [0.0, 0.4, 0.95]
        z = AR1(alpha, n).sample(20_000, seed=[3, 4]).numpy()
        self.assertEqual(z.shape, (20_000, n, 3))
        np.testing.assert_allclose(z.mean(0), np.zeros([n, 3]), atol=0.03)
        found = np.cov(z.reshape(-1, 3 * n).T).reshape(n, 3, n, 3)
        for k, a in enumerate(alpha):
            np.testing.assert_allclose(found[:, k, :, k], covariance(a, n), atol=0.05)
            others = [j for j in range(3) if j != k]
            np.testing.assert_allclose(found[:, k][..., others], 0, atol=0.05)

    def test_seeds(self):
        prior = AR1([0.5], 4)
        first = prior.sample(3, seed=[0, 1]).numpy()
        np.testing.assert_array_equal(prior.sample(3, seed=[0, 1]), first)
        self.assertFalse(np.any(prior.sample(3, seed=[0, 2]).numpy() == first))


class AR1ErrorsTest(parameterized.TestCase):
    @parameterized.parameters(
        ([1.0], 4),
        ([0.5, -0.1], 4),
        ([float("nan")], 4),
        (0.5, 4),
        ([[0.5]], 4),
        ([], 4),
        ([0.5], 1),
        ([0.5], 2.5),
    )
    def test_arguments(self, alpha, num_timesteps):
        for function in (AR1, committed_rate):
            with self.assertRaisesRegex(
                ValueError, "(alpha|num_timesteps).*Received: "
            ):
                function(alpha, num_timesteps)

    def test_shapes(self):
        prior = AR1([0.5, 0.6], 4)
        wrong = np.ones([3, 2, 4], np.float32)
        for call in (
            prior.sample_from_noise,
            lambda x: prior.kl_from_normal(x, x),
            lambda x: prior.kl_from_normal(np.ones([4, 2]), x),
        ):
            with self.assertRaisesRegex(ValueError, r"\[..., 4, 2\].*Received: "):
                call(wrong)
        with self.assertRaisesRegex(ValueError, r"required shape \(4, 2\)"):  # TFP's.
            prior.log_prob(wrong)

    def test_kl_from_something_else(self):
        prior = AR1([0.5, 0.6], 4)
        for base, ndims in [(tfd.Normal, 1), (tfd.Normal, 3), (tfd.Laplace, 2)]:
            q = tfd.Independent(base(tf.zeros([3, 4, 2]), 1.0), ndims)
            with self.assertRaisesRegex(NotImplementedError, "Received: "):
                tfd.kl_divergence(q, prior)


if __name__ == "__main__":
    absltest.main()
