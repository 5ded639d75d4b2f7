"""The importance-weighted bound, on a model whose likelihood is known."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from data import digits
from data.images import batches
from deltavae_tf import backend
from deltavae_tf.distributions import ar1
from deltavae_tf.evaluation import importance
from deltavae_tf.models import delta_vae
from tests.evaluation import small

N, D = 3, 2


class WrongEncoder(keras.layers.Layer):
    """A posterior that is not the true one: half of x, too wide."""

    def call(self, x):
        return 0.5 * x, 0.9 * ops.ones_like(x)


class NormalDecoder(keras.layers.Layer):
    """x ~ N(z, 1): with an AR(1) prior everything is Gaussian."""

    def call(self, z, x):
        del x
        return backend.tfd.Independent(backend.tfd.Normal(z, 1.0), 2)


def gaussian_model():
    prior = ar1.AR1([0.3, 0.8], N)
    model = delta_vae.DeltaVAE(WrongEncoder(), NormalDecoder(), prior)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, N, D)).astype("float32")
    exact = np.zeros(40)
    steps = np.arange(N)
    for k, alpha in enumerate((0.3, 0.8)):
        cov = alpha ** abs(steps[:, None] - steps) + np.eye(N)  # Of x, channel k.
        for i in range(40):
            v = x[i, :, k].astype("float64")
            exact[i] += 0.5 * v @ np.linalg.solve(cov, v)
            exact[i] += 0.5 * np.linalg.slogdet(2 * np.pi * cov)[1]
    return model, x, exact


def test_the_bound_falls_to_the_true_likelihood():
    model, x, exact = gaussian_model()
    batch = {"image": tf.constant(x), "index": tf.range(40), "mask": tf.ones([40])}
    weights = importance.ImportanceWeights(model, "training")([batch], 512)
    assert weights.shape == (40, 512)
    found = importance.bounds(weights)
    means = [found[k].mean() for k in (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)]
    assert (np.diff(means) < 0).all()
    assert means[0] - exact.mean() > 0.3  # The gap of the ELBO,
    np.testing.assert_allclose(found[512], exact, atol=0.5)  # which is closed,
    np.testing.assert_allclose(means[-1], exact.mean(), atol=0.02)  # from above.
    # One sample: the mean over many is the analytic negative ELBO.
    elbo = -weights.mean()
    loc, s = 0.5 * x.astype("float64"), 0.9
    distortion = 0.5 * ((x - loc) ** 2 + s**2 + np.log(2 * np.pi)).sum((1, 2))
    rate = np.asarray(model.prior.kl_from_normal(loc, np.full(loc.shape, s)))
    np.testing.assert_allclose(elbo, (distortion + rate).mean(), rtol=0.01)


def test_padding_is_left_out_and_noise_is_the_examples_own():
    model = small.image_model()
    split = digits.load("test").first(10)
    found = [
        importance.ImportanceWeights(model, "auxiliary")(
            batches.evaluation_batches(split, size), 2
        )
        for size in (4, 5)
    ]
    assert found[0].shape == (10, 2)
    np.testing.assert_allclose(found[0], found[1], rtol=1e-4)
    assert (found[0][:, 0] != found[0][:, 1]).all()


def test_groups():
    rng = np.random.default_rng(1)
    weights = rng.normal(size=(5, 8))
    found = importance.bounds(weights)
    assert list(found) == [1, 2, 4, 8]
    by_hand = -np.log(np.exp(weights).reshape(5, 2, 4).mean(2)).mean(1)
    np.testing.assert_allclose(found[4], by_hand)
    np.testing.assert_allclose(found[1], -weights.mean(1))
    for few, more in ((1, 2), (2, 4), (4, 8)):  # For each example, not on average.
        assert (found[more] <= found[few] + 1e-12).all()


def test_bad_arguments():
    with pytest.raises(ValueError, match="power of two. Received: 6"):
        importance.bounds(np.zeros((2, 6)))
    model, _, _ = gaussian_model()
    with pytest.raises(ValueError, match="Received: 'auxiliary'"):
        importance.ImportanceWeights(model, "auxiliary")
    alone = delta_vae.DeltaVAE(None, NormalDecoder(), None)
    with pytest.raises(ValueError, match="likelihood is exact"):
        importance.ImportanceWeights(alone, "training")
