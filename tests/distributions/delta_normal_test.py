import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp
from absl.testing import absltest, parameterized
from scipy import optimize, special

from deltavae_tf.distributions import DeltaNormal, scale_interval

tfd = tfp.distributions

RATES = [1e-6, 1e-3, 0.1664, 1.0, 10.0, 60.0, 1e4]


def kl_from_standard(loc, scale):
    """KL(N(loc, scale^2) || N(0, 1)), float64."""
    loc, scale = np.asarray(loc, np.float64), np.asarray(scale, np.float64)
    return 0.5 * (loc**2 + scale**2 - 1) - np.log(scale)


def sweep(extreme):
    """loc_parameter and scale_parameter, float32 [N] each."""
    loc = np.concatenate([-np.logspace(-6, 3, 10), [0.0], np.logspace(-6, 3, 10)])
    if extreme:
        scale = np.array([-1e30, -200.0, -90.0, -20.0, 0.0, 20.0, 90.0, 200.0, 1e30])
    else:
        scale = np.linspace(-25, 25, 2001)
    return [x.ravel().astype(np.float32) for x in np.meshgrid(loc, scale)]


class ScaleIntervalTest(parameterized.TestCase):
    def test_the_papers_example(self):
        # delta is given to four digits: the ends are known to 2e-4.
        squares = np.square(scale_interval(0.1664))
        np.testing.assert_allclose(squares, [0.3893, 2.0511], atol=2e-4)

    @parameterized.parameters(1e-3, 0.1, 1.0, 10.0, 100.0)
    def test_against_lamberts_function(self, rate):
        argument = -np.exp(-(2 * rate + 1))
        squares = [-special.lambertw(argument, branch).real for branch in (0, -1)]
        np.testing.assert_allclose(
            scale_interval(rate), np.sqrt(squares), rtol=1e-10, atol=0
        )

    @parameterized.parameters(1e-12, 1e-6, 0.1664, 300.0)
    def test_the_ends_have_the_rate(self, rate):
        low, high = scale_interval(rate)
        self.assertLess(low, 1)
        self.assertGreater(high, 1)
        ends = kl_from_standard(0, [low, high])
        np.testing.assert_allclose(ends, rate, rtol=1e-12, atol=3e-16)

    def test_more_than_a_float64_can_hold(self):
        low, high = scale_interval(1e4)
        self.assertEqual(low, 0)
        self.assertAlmostEqual(kl_from_standard(0, high) / 1e4, 1, delta=1e-12)

    @parameterized.parameters(0, -1.0, float("nan"), float("inf"), "1")
    def test_errors(self, rate):
        with self.assertRaisesRegex(ValueError, "rate.*Received: "):
            scale_interval(rate)
        with self.assertRaisesRegex(ValueError, "rate.*Received: "):
            DeltaNormal(0.0, 0.0, rate)


class DeltaNormalTest(parameterized.TestCase):
    @parameterized.product(rate=RATES, extreme=[False, True])
    def test_kl_is_never_below_the_rate(self, rate, extreme):
        q = DeltaNormal(*sweep(extreme), rate)
        tolerance = 1e-6 * (1 + rate)
        for kl in (
            kl_from_standard(q.loc, q.scale),
            tfd.kl_divergence(q, tfd.Normal(0.0, 1.0)).numpy(),
        ):
            self.assertTrue(np.isfinite(kl).all())
            self.assertGreaterEqual(kl.min(), rate - tolerance)

    @parameterized.parameters(*RATES)
    def test_kl_is_the_rate_without_a_shift(self, rate):
        scale_parameter = np.linspace(-25, 25, 2001, dtype=np.float32)
        q = DeltaNormal(np.float32(-1), scale_parameter, rate)
        kl = kl_from_standard(q.loc, q.scale)
        np.testing.assert_allclose(kl, rate, rtol=0, atol=1e-6 * (1 + rate))

    @parameterized.parameters(0.05, 0.1664, 1.0, 4.0)
    def test_brute_force_minimum(self, rate):
        def kl(parameters):
            q = DeltaNormal(*np.float32(parameters), rate)
            return float(kl_from_standard(q.loc, q.scale))

        found = optimize.differential_evolution(
            kl, [(-3, 3), (-8, 8)], maxiter=15, popsize=6, rng=0, polish=False
        )
        self.assertAlmostEqual(found.fun, rate, delta=1e-6 * (1 + rate))

    @parameterized.product(rate=RATES, extreme=[False, True])
    def test_gradients_are_finite(self, rate, extreme):
        parameters = [tf.constant(x) for x in sweep(extreme)]
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(parameters)
            q = DeltaNormal(*parameters, rate)
            kl = tfd.kl_divergence(q, tfd.Normal(0.0, 1.0))
            sample = q.loc + 0.3 * q.scale
        for target in (q.loc, q.scale, kl, sample):
            for gradient in tape.gradient(
                target, parameters, unconnected_gradients="zero"
            ):
                self.assertTrue(np.isfinite(gradient).all())

    def test_gradient_against_differences(self):
        def loc(scale_parameter):
            low, high = scale_interval(0.7)
            scale = low + (high - low) * special.expit(scale_parameter)
            return np.sqrt(2 * 0.7 + 1 + 2 * np.log(scale) - scale**2)

        at = np.linspace(-4, 4, 17)
        parameter = tf.constant(at, tf.float32)
        with tf.GradientTape() as tape:
            tape.watch(parameter)
            q = DeltaNormal(-1.0, parameter, 0.7)
        np.testing.assert_allclose(q.loc, loc(at), rtol=1e-5)
        expected = (loc(at + 1e-6) - loc(at - 1e-6)) / 2e-6
        np.testing.assert_allclose(
            tape.gradient(q.loc, parameter), expected, rtol=1e-3, atol=1e-5
        )

    def test_the_shift_adds_to_loc(self):
        shift = np.array([-2.0, 0.0, 0.5, 3.0], np.float32)
        loc = DeltaNormal(shift, 0.3, 0.5).loc.numpy()
        np.testing.assert_allclose(loc - loc[0], [0, 0, 0.5, 3], rtol=1e-6)

    def test_kl_against_samples(self):
        q = DeltaNormal(0.4, [-1.0, 2.0], 0.5)
        p = tfd.Normal(0.0, 1.0)
        with self.assertNoLogs("absl", "WARNING"):
            z = q.sample(20_000, seed=[1, 2])
        terms = (q.log_prob(z) - p.log_prob(z)).numpy()
        error = terms.std(0) / np.sqrt(len(terms))
        kl = tfd.kl_divergence(q, p).numpy()
        self.assertTrue(np.all(error < 0.02 * kl))
        self.assertTrue(np.all(np.abs(terms.mean(0) - kl) < 4 * error))

    def test_eq_6_as_printed_does_not_keep_the_rate(self):
        """Without the root the floor is 2 rate^2, or rate - 1/8 above rate = 1/4."""
        for rate, floor in [(0.1664, 2 * 0.1664**2), (0.25, 0.125), (1.0, 0.875)]:
            scale = np.linspace(*scale_interval(rate), 100_001)
            loc = np.maximum(0, 2 * rate + 1 + 2 * np.log(scale) - scale**2)
            literal = kl_from_standard(loc, scale).min()
            self.assertAlmostEqual(literal, floor, delta=1e-6)
            self.assertLess(literal, 0.9 * rate)

    def test_is_a_normal(self):
        q = DeltaNormal(np.zeros([3, 1]), np.zeros([4]), 0.5)
        self.assertIsInstance(q, tfd.Normal)
        self.assertEqual(q.batch_shape, [3, 4])
        np.testing.assert_array_equal(q.batch_shape_tensor(), [3, 4])
        self.assertEqual(q.event_shape, [])
        self.assertEqual(q.dtype, tf.float32)
        self.assertEqual(q.rate, 0.5)
        self.assertEqual(q.scale_interval(), scale_interval(0.5))
        self.assertEqual(q.copy(rate=0.7).rate, 0.7)
        self.assertEqual(q[1:].batch_shape, [2, 4])
        self.assertIsInstance(q[1:], DeltaNormal)
        low, high = scale_interval(0.5)
        np.testing.assert_allclose(q.scale, (low + high) / 2, rtol=1e-6)
        self.assertEqual(DeltaNormal(tf.cast(0, tf.bfloat16), 0, 1.0).dtype, tf.float32)

    def test_leaves_a_compiled_function(self):
        run = tf.function(lambda x: DeltaNormal(x, -x, 0.5))
        x = tf.constant([0.3, 0.4])
        q = run(x)
        self.assertIsInstance(q, DeltaNormal)
        np.testing.assert_allclose(q.loc, DeltaNormal(x, -x, 0.5).loc, rtol=1e-6)

    @parameterized.parameters(False, True)
    def test_graph_and_xla(self, jit_compile):
        @tf.function(jit_compile=jit_compile)
        def run(loc_parameter, scale_parameter):
            q = DeltaNormal(loc_parameter, scale_parameter, 0.5)
            independent = tfd.Independent(q, 1)
            standard = tfd.Independent(tfd.Normal(tf.zeros(4), 1.0), 1)
            return tfd.kl_divergence(independent, standard), q.loc, q.scale

        rng = np.random.default_rng(0)
        parameters = rng.normal(size=[2, 3, 4]).astype(np.float32)
        kl, loc, scale = run(*parameters)
        eager = DeltaNormal(*parameters, 0.5)
        np.testing.assert_allclose(loc, eager.loc, rtol=1e-5)
        np.testing.assert_allclose(scale, eager.scale, rtol=1e-5)
        expected = kl_from_standard(eager.loc, eager.scale).sum(-1)
        np.testing.assert_allclose(kl, expected, rtol=1e-5)


if __name__ == "__main__":
    absltest.main()
