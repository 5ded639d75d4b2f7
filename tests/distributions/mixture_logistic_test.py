"""The oracles below are float64 numpy, written from the definition."""

import itertools
import re

import numpy as np
import tensorflow as tf
from absl.testing import absltest, parameterized
from scipy import special, stats

from deltavae_tf import errors
from deltavae_tf.distributions import DiscretizedLogisticMixture


def random_parameters(shape, num_components, num_channels, seed=0):
    """logits, loc, log_scale, coefficients as float32 numpy."""
    rng = np.random.default_rng(seed)
    inner = (*shape, num_channels, num_components)
    parameters = [
        rng.normal(size=(*shape, num_components)),
        rng.uniform(-1.2, 1.2, size=inner),
        rng.uniform(-5, 0.5, size=inner),
    ]
    if num_channels == 3:
        parameters.append(rng.normal(size=inner))
    return [p.astype(np.float32) for p in parameters]


def oracle_bin(x, mean, log_scale, num_levels):
    """log p(x) of one discretized logistic; all scalars."""
    v = 2 * x / (num_levels - 1) - 1
    half = 1 / (num_levels - 1)
    scale = np.exp(max(log_scale, -7.0))
    upper = np.inf if x == num_levels - 1 else (v - mean + half) / scale
    lower = -np.inf if x == 0 else (v - mean - half) / scale
    if lower > 0:  # The mirror image, so that the smaller tails are subtracted.
        upper, lower = -lower, -upper
    log_upper, log_lower = special.log_expit(upper), special.log_expit(lower)
    return log_upper + np.log1p(-np.exp(log_lower - log_upper))


def oracle_pixel(x, logits, loc, log_scale, coefficients, num_levels, channels=None):
    """log p of a pixel x [C], by the definition; `channels`: only the first ones."""
    v = 2 * np.asarray(x, np.float64) / (num_levels - 1) - 1
    joint = np.log(special.softmax(logits.astype(np.float64)))
    for k in range(len(logits)):
        means = loc[:, k].astype(np.float64)
        if coefficients is not None:
            c = np.tanh(coefficients[:, k].astype(np.float64))
            means[1] += c[0] * v[0]
            means[2] += c[1] * v[0] + c[2] * v[1]
        for i in range(channels or len(x)):
            joint[k] += oracle_bin(x[i], means[i], log_scale[i, k], num_levels)
    return special.logsumexp(joint)


def oracle_log_prob(image, parameters, num_levels):
    total = 0.0
    for i, j in np.ndindex(image.shape[:2]):
        here = [p[i, j].astype(np.float64) for p in parameters] + [None] * (
            4 - len(parameters)
        )
        total += oracle_pixel(image[i, j], *here, num_levels)
    return total


def all_values(num_levels, shape):
    """Every array of `shape` with `num_levels` levels, [num_levels**size, *shape]."""
    every = itertools.product(range(num_levels), repeat=int(np.prod(shape)))
    return np.array(list(every)).reshape(-1, *shape)


class MixtureLogisticTest(parameterized.TestCase):
    @parameterized.product(num_levels=[256, 17, 4, 2], num_channels=[1, 3])
    def test_bins_sum_to_one(self, num_levels, num_channels):
        """Over each channel in turn, those before it fixed."""
        parameters = random_parameters([6, 1, 1], 3, num_channels)
        parameters[1][0] = 9.0  # Far outside.
        parameters[2][1] = -20.0  # Below the floor.
        parameters[2][2] = 30.0  # Above the ceiling.
        distribution = DiscretizedLogisticMixture(*parameters, num_levels=num_levels)
        last = np.zeros([num_levels, 6, 1, 1, num_channels], int)
        last[..., : num_channels - 1] = [num_levels // 2, num_levels - 1][
            : num_channels - 1
        ]
        last[..., -1] = np.arange(num_levels)[:, None, None, None]
        total = special.logsumexp(
            distribution.log_prob(last).numpy().astype(np.float64), axis=0
        )
        if num_channels == 1:
            np.testing.assert_allclose(np.exp(total), np.ones(6), atol=1e-6)
        else:
            parameters[2] = np.clip(parameters[2], -7, 20)
            expected = [
                oracle_pixel(
                    last[0, i, 0, 0],
                    *(p[i, 0, 0] for p in parameters),
                    num_levels,
                    channels=2,
                )
                for i in range(6)
            ]
            np.testing.assert_allclose(np.exp(total), np.exp(expected), atol=1e-6)
            # Where the first two channels are likely, the third is a distribution.
            np.testing.assert_allclose(total[3:], expected[3:], rtol=2e-5, atol=1e-6)

    def test_all_tiny_images_sum_to_one(self):
        parameters = random_parameters([2, 2], 3, 1)
        distribution = DiscretizedLogisticMixture(*parameters, num_levels=4)
        log_prob = distribution.log_prob(all_values(4, [2, 2, 1])).numpy()
        self.assertEqual(log_prob.shape, (256,))
        self.assertAlmostEqual(np.exp(log_prob).sum(), 1.0, delta=1e-6)

    @parameterized.parameters(4, 17)
    def test_all_values_of_an_rgb_pixel_sum_to_one(self, num_levels):
        parameters = random_parameters([1, 1], 3, 3)
        distribution = DiscretizedLogisticMixture(*parameters, num_levels=num_levels)
        log_prob = distribution.log_prob(all_values(num_levels, [1, 1, 3])).numpy()
        total = np.exp(log_prob.astype(np.float64)).sum()
        self.assertAlmostEqual(total, 1.0, delta=1e-6)

    @parameterized.product(num_levels=[256, 5, 2], num_channels=[1, 3])
    def test_log_prob_against_the_definition(self, num_levels, num_channels):
        parameters = random_parameters([4, 2, 3], 5, num_channels)
        image = np.random.default_rng(1).integers(
            0, num_levels, [4, 2, 3, num_channels]
        )
        image[0], image[1] = 0, num_levels - 1
        distribution = DiscretizedLogisticMixture(*parameters, num_levels=num_levels)
        log_prob = distribution.log_prob(image)
        expected = [
            oracle_log_prob(image[i], [p[i] for p in parameters], num_levels)
            for i in range(4)
        ]
        self.assertEqual(log_prob.dtype, tf.float32)
        np.testing.assert_allclose(log_prob, expected, rtol=1e-5, atol=1e-4)

    def test_tails_against_the_definition(self):
        loc = np.array([-1e5, -300.0, -5.0, 0.3, 5.0, 300.0, 1e5], np.float32)
        for log_scale, x in itertools.product(
            [-7, -2.0, 0, 8.0], [0, 1, 128, 254, 255]
        ):
            shape = [7, 1, 1, 1, 1]
            distribution = DiscretizedLogisticMixture(
                np.zeros([7, 1, 1, 1]), loc.reshape(shape), np.full(shape, log_scale)
            )
            expected = [oracle_bin(x, float(m), log_scale, 256) for m in loc]
            np.testing.assert_allclose(
                distribution.log_prob(np.full([7, 1, 1, 1], x)),
                expected,
                rtol=2e-5,
                atol=1e-5,
            )

    def test_gradients_are_finite(self):
        sweep = itertools.product(
            [-1e5, -10.0, 0.0, 1.0, 1e5],
            [-200.0, -20.0, -7.0, 0.0, 10.0, 20.0, 50.0, 200.0],
            [-1e4, 0.0, 1e4],
            [0, 1, 128, 254, 255],
        )
        loc, log_scale, logit, x = np.array(list(sweep)).T
        inner = [len(x), 1, 1, 3, 2]
        parameters = [
            tf.constant(np.stack([logit, 0 * logit], -1), tf.float32)[:, None, None],
            *(
                tf.constant(
                    np.broadcast_to(p[:, None, None, None, None], inner), tf.float32
                )
                for p in (loc, log_scale, loc / 1e3)
            ),
        ]
        value = np.broadcast_to(x[:, None, None, None], inner[:-1])
        with tf.GradientTape() as tape:
            tape.watch(parameters)
            log_prob = DiscretizedLogisticMixture(*parameters).log_prob(value)
        self.assertTrue(np.isfinite(log_prob).all())
        for gradient in tape.gradient(log_prob, parameters):
            self.assertTrue(np.isfinite(gradient).all())

    @parameterized.parameters((-20.0, -7.0), (50.0, 20.0))
    def test_log_scale_is_clipped(self, outside, end):
        value = np.arange(256).reshape(256, 1, 1, 1)
        distributions = [
            DiscretizedLogisticMixture(
                np.zeros([1, 1, 1]), np.zeros([1, 1, 1, 1]), np.full([1, 1, 1, 1], s)
            )
            for s in (outside, end)
        ]
        log_prob = [d.log_prob(value) for d in distributions]
        np.testing.assert_array_equal(*log_prob)
        uniforms = np.full([1, 1], 0.5), np.full([1, 1, 1], 0.999)
        samples = [d.sample_from_uniforms(*uniforms) for d in distributions]
        np.testing.assert_array_equal(*samples)

    def test_gradient_against_differences_of_the_definition(self):
        parameters = random_parameters([1, 2], 2, 3)
        image = np.array([[[0, 130, 255], [128, 120, 90]]])
        tensors = [tf.constant(p) for p in parameters]
        with tf.GradientTape() as tape:
            tape.watch(tensors)
            log_prob = DiscretizedLogisticMixture(*tensors).log_prob(image)
        for which, gradient in enumerate(tape.gradient(log_prob, tensors)):
            for index in np.ndindex(*gradient.shape):
                ends = []
                for step in (1e-5, -1e-5):
                    moved = [p.astype(np.float64) for p in parameters]
                    moved[which][index] += step
                    ends.append(oracle_log_prob(image, moved, 256))
                np.testing.assert_allclose(
                    gradient[index], (ends[0] - ends[1]) / 2e-5, rtol=1e-3, atol=1e-3
                )

    def test_flat_limit(self):
        """One narrow logistic at each bin: 8 bits a dimension. Two levels: 1 bit."""
        loc = np.linspace(-1, 1, 256).reshape(1, 1, 1, 256)
        flat = DiscretizedLogisticMixture(
            np.zeros([1, 1, 256]), loc, np.full(loc.shape, -9.0)
        )
        log_prob = flat.log_prob(np.arange(256).reshape(256, 1, 1, 1))
        np.testing.assert_allclose(log_prob, np.full(256, -8 * np.log(2)), atol=1e-5)
        coin = DiscretizedLogisticMixture(
            np.zeros([3, 3, 1]), np.zeros([3, 3, 1, 1]), np.ones([3, 3, 1, 1]), None, 2
        )
        np.testing.assert_allclose(
            coin.log_prob(np.eye(3)[..., None]), -9 * np.log(2), rtol=1e-6
        )

    def test_an_infinite_scale_has_all_mass_at_the_edges(self):
        shape = [1, 1, 1, 1]
        distribution = DiscretizedLogisticMixture(
            np.zeros(shape[1:]), np.zeros(shape), np.full(shape, 50.0)
        )
        log_prob = distribution.log_prob(np.array([0, 128, 255]).reshape(3, 1, 1, 1))
        np.testing.assert_allclose(log_prob[::2], np.log([0.5, 0.5]), atol=1e-6)
        self.assertLess(log_prob[1], -20)

    @parameterized.parameters(1, 3)
    def test_eager_graph_and_xla_agree(self, num_channels):
        parameters = random_parameters([2, 4, 4], 3, num_channels)
        value = np.random.default_rng(1).integers(0, 256, [2, 4, 4, num_channels])

        def log_prob(value):
            return DiscretizedLogisticMixture(*parameters).log_prob(value)

        eager = log_prob(value)
        for jit_compile in (False, True):
            compiled = tf.function(log_prob, jit_compile=jit_compile)(value)
            np.testing.assert_allclose(compiled, eager, rtol=1e-5)

    @parameterized.parameters("uint8", "int64", "float32", "float64")
    def test_any_dtype_of_value(self, dtype):
        parameters = random_parameters([2, 4, 4], 3, 1)
        value = np.random.default_rng(1).integers(0, 256, [2, 4, 4, 1])
        distribution = DiscretizedLogisticMixture(*parameters)
        log_prob = distribution.log_prob(value.astype(dtype))
        self.assertEqual(log_prob.dtype, tf.float32)
        np.testing.assert_array_equal(log_prob, distribution.log_prob(value))

    def test_parameters_of_lower_precision(self):
        parameters = [tf.cast(p, tf.bfloat16) for p in random_parameters([2, 2], 3, 3)]
        value = np.arange(12).reshape(2, 2, 3)
        log_prob = DiscretizedLogisticMixture(*parameters).log_prob(value)
        rounded = [tf.cast(p, tf.float32).numpy() for p in parameters]
        self.assertEqual(log_prob.dtype, tf.float32)
        np.testing.assert_allclose(
            log_prob, oracle_log_prob(value, rounded, 256), rtol=1e-5
        )

    def test_per_pixel(self):
        distribution = DiscretizedLogisticMixture(*random_parameters([2, 3, 4], 3, 3))
        value = np.random.default_rng(1).integers(0, 256, [2, 3, 4, 3])
        per_pixel = distribution.log_prob_per_pixel(value)
        self.assertEqual(per_pixel.shape, (2, 3, 4))
        total = np.sum(per_pixel, axis=(1, 2))
        np.testing.assert_allclose(total, distribution.log_prob(value), rtol=1e-5)

    def test_shapes(self):
        distribution = DiscretizedLogisticMixture(*random_parameters([7, 3, 4], 2, 3))
        self.assertEqual(distribution.batch_shape, [7])
        self.assertEqual(distribution.event_shape, [3, 4, 3])
        np.testing.assert_array_equal(distribution.batch_shape_tensor(), [7])
        np.testing.assert_array_equal(distribution.event_shape_tensor(), [3, 4, 3])
        self.assertEqual(distribution.sample([2, 5], seed=0).shape, [2, 5, 7, 3, 4, 3])
        self.assertEqual(distribution.sample(seed=0).dtype, tf.int32)
        value = np.ones([7, 3, 4, 3])
        np.testing.assert_allclose(
            distribution[2:4].log_prob(value[2:4]), distribution.log_prob(value)[2:4]
        )
        coarse = distribution.copy(num_levels=8)
        self.assertLess(coarse.sample(seed=0).numpy().max(), 8)

    @parameterized.parameters(1, 3)
    def test_unknown_batch_size(self, num_channels):
        size = DiscretizedLogisticMixture.num_parameters(2, num_channels)
        signature = [
            tf.TensorSpec([None, 2, 2, size]),
            tf.TensorSpec([None, 2, 2, num_channels], tf.uint8),
        ]

        @tf.function(input_signature=signature)
        def run(parameters, value):
            distribution = DiscretizedLogisticMixture.from_parameters(
                parameters, num_channels
            )
            return distribution.log_prob(value), distribution.sample(seed=0)

        log_prob, sample = run(
            tf.zeros([5, 2, 2, size]), tf.zeros([5, 2, 2, num_channels], tf.uint8)
        )
        self.assertEqual(log_prob.shape, [5])
        self.assertEqual(sample.shape, [5, 2, 2, num_channels])

    @parameterized.parameters((1, 9), (3, 30))
    def test_from_parameters(self, num_channels, size):
        self.assertEqual(
            DiscretizedLogisticMixture.num_parameters(3, num_channels), size
        )
        flat = np.random.default_rng(0).normal(size=[2, 2, 2, size]).astype(np.float32)
        distribution = DiscretizedLogisticMixture.from_parameters(
            flat, num_channels, 16
        )
        self.assertEqual(distribution.num_levels, 16)
        # The order on the last axis, spelled out: a checkpoint depends on it.
        pieces = [flat[..., :3]] + [
            flat[..., i : i + 3 * num_channels].reshape(2, 2, 2, num_channels, 3)
            for i in range(3, size, 3 * num_channels)
        ]
        value = np.random.default_rng(1).integers(0, 16, [2, 2, 2, num_channels])
        expected = [
            oracle_log_prob(value[i], [p[i] for p in pieces], 16) for i in range(2)
        ]
        np.testing.assert_allclose(distribution.log_prob(value), expected, rtol=1e-5)


class MixtureLogisticSamplingTest(parameterized.TestCase):
    @parameterized.parameters(256, 17, 2)
    def test_equally_spaced_uniforms_give_each_bin_its_probability(self, num_levels):
        parameters = random_parameters([1, 1], 1, 1, seed=3)
        distribution = DiscretizedLogisticMixture(*parameters, num_levels=num_levels)
        uniforms = (np.arange(20_000) + 0.5) / 20_000
        sample = distribution.sample_from_uniforms(
            uniforms.reshape(-1, 1, 1), uniforms.reshape(-1, 1, 1, 1)
        )
        self.assertEqual(sample.dtype, tf.int32)
        counts = np.bincount(np.ravel(sample), minlength=num_levels)
        probs = distribution.prob(np.arange(num_levels).reshape(-1, 1, 1, 1))
        np.testing.assert_allclose(counts, 20_000 * probs.numpy(), atol=1.1)

    def test_components_have_their_weights(self):
        logits = np.log([0.5, 0.0 + 1e-30, 0.3, 0.2]).reshape(1, 1, 4)
        loc = np.linspace(-1, 1, 4).reshape(1, 1, 1, 4)  # Levels 0, 1, 2, 3 of 4.
        distribution = DiscretizedLogisticMixture(
            logits, loc, np.full(loc.shape, -7.0), num_levels=4
        )
        uniforms = (np.arange(1000) + 0.5) / 1000
        sample = distribution.sample_from_uniforms(
            uniforms.reshape(-1, 1, 1), np.full([1000, 1, 1, 1], 0.5)
        )
        np.testing.assert_array_equal(np.bincount(np.ravel(sample)), [500, 0, 300, 200])

    @parameterized.parameters((3, 3), (1, 17))
    def test_frequencies(self, num_channels, num_levels):
        parameters = random_parameters([1, 1], 2, num_channels, seed=5)
        if num_channels == 3:
            parameters[3] *= 2
        distribution = DiscretizedLogisticMixture(*parameters, num_levels=num_levels)
        sample = distribution.sample(100_000, seed=[0, 7]).numpy()
        places = num_levels ** np.arange(num_channels)[::-1]
        index = sample.reshape(-1, num_channels) @ places
        observed = np.bincount(index, minlength=num_levels**num_channels)
        every = all_values(num_levels, [1, 1, num_channels])
        expected = 100_000 * distribution.prob(every).numpy().astype(np.float64)
        likely = expected > 5
        self.assertGreaterEqual(likely.sum(), 10)
        p_value = stats.chisquare(
            np.append(observed[likely], observed[~likely].sum() + 1),
            np.append(expected[likely], 100_001 - expected[likely].sum()),
        ).pvalue
        self.assertGreater(p_value, 1e-3)

    def test_pixels_of_a_sample_are_independent_draws(self):
        distribution = DiscretizedLogisticMixture(
            np.zeros([8, 8, 1]), np.zeros([8, 8, 3, 1]), np.zeros([8, 8, 3, 1]),
            np.zeros([8, 8, 3, 1]),
        )  # fmt: skip
        sample = distribution.sample(200, seed=[0, 1]).numpy().reshape(200, -1)
        correlation = np.corrcoef(sample.T) - np.eye(192)
        self.assertLess(np.abs(correlation).max(), 0.4)
        np.testing.assert_array_equal(
            distribution.sample(200, seed=[0, 1]).numpy().reshape(200, -1), sample
        )

    @parameterized.parameters(1, 3)
    def test_temperature(self, num_channels):
        parameters = random_parameters([2, 3, 3], 4, num_channels)
        rng = np.random.default_rng(1)
        uniforms = (
            rng.uniform(size=[2, 3, 3]),
            rng.uniform(size=[2, 3, 3, num_channels]),
        )
        tempered = DiscretizedLogisticMixture(*parameters).sample_from_uniforms(
            *uniforms, temperature=0.5
        )
        parameters[0] *= 2
        parameters[2] -= np.log(2)
        plain = DiscretizedLogisticMixture(*parameters).sample_from_uniforms(*uniforms)
        np.testing.assert_array_equal(tempered, plain)
        cold = DiscretizedLogisticMixture(*parameters).sample_from_uniforms(
            *uniforms, temperature=1e-6
        )
        best = np.argmax(parameters[0], -1)
        red = np.take_along_axis(parameters[1][..., 0, :], best[..., None], -1)[..., 0]
        expected = np.clip(np.floor((red + 1) * 127.5 + 0.5), 0, 255)
        np.testing.assert_array_equal(cold[..., 0], expected)

    def test_ends_of_the_unit_interval(self):
        shape = [1, 1, 1, 1]
        distribution = DiscretizedLogisticMixture(
            np.zeros(shape[1:]), np.zeros(shape), np.full(shape, -7.0)
        )
        for u, expected in [(0.0, 126), (1.0, 129)]:
            sample = distribution.sample_from_uniforms(
                np.zeros([1, 1]), np.full([1, 1, 1], u, np.float32)
            )
            self.assertAlmostEqual(sample.numpy().item(), expected, delta=1)

    def test_eager_graph_and_xla_agree(self):
        parameters = random_parameters([2, 4, 4], 3, 3)
        rng = np.random.default_rng(1)
        uniforms = rng.uniform(size=[2, 4, 4]), rng.uniform(size=[2, 4, 4, 3])

        def sample(*uniforms):
            distribution = DiscretizedLogisticMixture(*parameters)
            return distribution.sample_from_uniforms(*uniforms)

        eager = sample(*uniforms)
        self.assertGreater(len(np.unique(eager)), 30)
        for jit_compile in (False, True):
            compiled = tf.function(sample, jit_compile=jit_compile)(*uniforms)
            np.testing.assert_array_equal(compiled, eager)


class MixtureLogisticErrorsTest(parameterized.TestCase):
    @parameterized.parameters(
        ("num_levels", {"num_levels": 1}),
        ("num_levels", {"num_levels": 2.5}),
        ("coefficients", {"coefficients": np.zeros([2, 2, 3, 4])}),
        ("K", {"logits": np.zeros([2, 2, 3])}),
        ("C, K", {"log_scale": np.zeros([2, 2, 4])}),
        (
            "1 or 3 channels",
            {"loc": np.zeros([2, 2, 2, 4]), "log_scale": np.zeros([2, 2, 2, 4])},
        ),
        (
            "coefficients",
            {"loc": np.zeros([2, 2, 3, 4]), "log_scale": np.zeros([2, 2, 3, 4])},
        ),
    )
    def test_arguments(self, message, changed):
        arguments = {
            "logits": np.zeros([2, 2, 4]),
            "loc": np.zeros([2, 2, 1, 4]),
            "log_scale": np.zeros([2, 2, 1, 4]),
        }
        DiscretizedLogisticMixture(**arguments)
        with self.assertRaisesRegex(ValueError, f"(?s){message}.*Received: "):
            DiscretizedLogisticMixture(**{**arguments, **changed})

    @parameterized.parameters((31, 3), (0, 3), (10, 1), (9, 2))
    def test_from_parameters(self, size, num_channels):
        with self.assertRaisesRegex(ValueError, "Received: "):
            DiscretizedLogisticMixture.from_parameters(
                np.zeros([2, 2, size]), num_channels
            )

    @parameterized.parameters(0, -1.0, float("nan"))
    def test_temperature(self, temperature):
        distribution = DiscretizedLogisticMixture(*random_parameters([1, 1], 2, 1))
        with self.assertRaisesRegex(ValueError, "temperature.*Received: "):
            distribution.sample_from_uniforms(
                np.zeros([1, 1]), np.zeros([1, 1, 1]), temperature
            )

    @parameterized.parameters(0.5, -1, 256)
    def test_validate_args_looks_at_values(self, wrong):
        distribution = DiscretizedLogisticMixture(
            *random_parameters([1, 1], 2, 1), validate_args=True
        )
        distribution.log_prob(np.full([1, 1, 1], 3))
        with self.assertRaisesRegex(ValueError, r"\[0, 255\].*Received: "):
            distribution.log_prob(np.full([1, 1, 1], wrong))
        compiled = tf.function(distribution.log_prob)(np.full([1, 1, 1], 3))
        self.assertTrue(np.isfinite(compiled))

    @parameterized.product(wrong=[0.5, -1, 17, np.nan], compiled=[False, True])
    def test_a_value_that_is_no_level_has_probability_zero(self, wrong, compiled):
        distribution = DiscretizedLogisticMixture(
            *random_parameters([2, 2, 3], 2, 3), num_levels=17
        )
        value = np.full([2, 2, 3, 3], 16.0, np.float32)
        expected = distribution.log_prob(value.astype("uint8"))
        value[1, 0, 2, 1] = wrong
        function = distribution.log_prob
        found = tf.function(function, jit_compile=True) if compiled else function
        found = found(tf.constant(value)).numpy()
        self.assertTrue(np.isfinite(expected).all())
        np.testing.assert_allclose(found[0], expected[0], rtol=1e-5)
        self.assertEqual(found[1], -np.inf)

    def test_bounds_that_do_not_fit_the_dtype_of_the_value(self):
        distribution = DiscretizedLogisticMixture(
            *random_parameters([1, 1], 2, 1), num_levels=1000, validate_args=True
        )
        self.assertTrue(
            np.isfinite(distribution.log_prob(np.full([1, 1, 1], 255, "u1")))
        )
        wraps = np.full([1, 1, 1], 2**32 + 5, np.int64)
        with self.assertRaisesRegex(errors.UserError, r"\[0, 999\]. Received: "):
            distribution.log_prob(wraps)

    @parameterized.parameters(
        ([4, 6], 1),  # No channel axis.
        ([3, 4, 6], 1),
        ([4, 6, 3], 1),  # Three channels for one.
        ([4, 6, 1], 3),
        ([4, 5, 1], 1),  # Cropped.
        ([1, 6, 1], 1),
        ([6, 4, 1], 1),
        ([2, 4, 6, 2], 1),
        ([1], 1),
        ([], 1),
    )
    def test_a_value_of_another_shape_is_refused(self, shape, channels):
        distribution = DiscretizedLogisticMixture(
            *random_parameters([2, 4, 6], 2, channels)
        )
        message = rf"`value` must be \[..., 4, 6, {channels}\]. Received: "
        for function in (distribution.log_prob, tf.function(distribution.log_prob)):
            with self.assertRaisesRegex(
                errors.UserError, message + re.escape(str(shape))
            ):
                function(tf.zeros(shape, tf.int32))
        self.assertEqual(
            distribution.log_prob(np.zeros([5, 2, 4, 6, channels])).shape, (5, 2)
        )


if __name__ == "__main__":
    absltest.main()
