"""What a call leaves alone, what encoders start with, and priors of other kinds."""

import keras
import numpy as np
import pytest
from keras import ops

from deltavae_tf import backend, errors, noise
from deltavae_tf import segments as places
from deltavae_tf.distributions import ar1, latent_prior, segmented_ar1
from deltavae_tf.layers import weight_norm
from deltavae_tf.models import (
    auxiliary_prior,
    delta_vae,
    image_encoder,
    independent_encoder,
    text_encoder,
)
from tests import testing

N, D = 4, 2


class Encoder(keras.layers.Layer):
    """Loc and scale of 4 latents of 2 channels, by a linear map of x `[B, 5]`."""

    def build(self, x_shape):
        self.dense = weight_norm.Linear(2 * N * D, "weight", name="dense")
        self.dense.build(x_shape)

    def call(self, x):
        loc, scale = ops.split(ops.reshape(self.dense(x), (-1, N, 2 * D)), 2, axis=-1)
        return loc, ops.softplus(scale) + 0.1


class Decoder(keras.layers.Layer):
    """A normal around a linear map of z, without a `sample` of its own."""

    def build(self, z_shape, x_shape=None):
        self.dense = weight_norm.Linear(5, "weight", name="dense")
        self.dense.build((None, N * D))

    def call(self, z, x):
        del x
        loc = self.dense(ops.reshape(z, (-1, N * D)))
        return backend.tfd.Independent(backend.tfd.Normal(loc, 1.0), 1)


def make(prior=None, **arguments):
    keras.utils.set_random_seed(0)
    prior = ar1.AR1([0.5, 0.9], N) if prior is None else prior
    model = delta_vae.DeltaVAE(Encoder(), Decoder(), prior, **arguments)
    model(data(3))
    return model


def data(size, seed=0):
    return np.random.default_rng(seed).normal(size=(size, 5)).astype("float32")


def standard_normal():
    normal = backend.tfd.Normal(np.zeros((N, D), "float32"), 1.0)
    return backend.tfd.Independent(normal, 2)


def test_a_call_changes_nothing_of_the_model():
    model = make()
    before = [ops.convert_to_numpy(v) for v in model.variables]
    example = dict(model.get_build_config())
    for training in (True, False):
        model(data(7), training=training)
    for variable, value in zip(model.variables, before, strict=True):
        np.testing.assert_array_equal(variable, value)
    assert model.get_build_config() == example == {"shape": [5], "dtype": "float32"}


def test_the_data_dependent_start_is_of_one_model_alone():
    first, second = make(), make()
    before = [ops.convert_to_numpy(v) for v in second.weights]
    parts = [
        part
        for part in second._flatten_layers()
        if isinstance(part, weight_norm.KernelAndBias)
    ]
    assert parts
    with weight_norm.starting_from_data(first):
        first(data(50))
        second(data(50))  # In between, as another thread would.
    for variable, value in zip(second.weights, before, strict=True):
        np.testing.assert_array_equal(variable, value)
    outputs = ops.convert_to_numpy(first.encoder.dense(data(50)))
    np.testing.assert_allclose(outputs.mean(0), 0, atol=1e-4)
    np.testing.assert_allclose(outputs.std(0), 1, atol=1e-3)


@pytest.mark.parametrize("kind", ["image", "text"])
def test_initial_loc_scale_multiplies_the_first_locs(kind):
    def loc_and_scale(factor):
        keras.utils.set_random_seed(0)
        if kind == "image":
            sizes = {"num_layers": 1, "width": 8, "filter_size": 8}
            encoder = image_encoder.ImageEncoder(D, **sizes, **factor)
            inputs = np.arange(3 * 4 * 4, dtype="uint8").reshape(3, 4, 4, 1)
        else:
            encoder = text_encoder.TextEncoder(9, D, 1, 8, 8, num_heads=2, **factor)
            inputs = np.int32([[5, 6, 1, 7], [3, 2, 4, 1]])
        found = encoder(inputs)
        return [ops.convert_to_numpy(x) for x in found], encoder

    (loc, scale), _ = loc_and_scale({})
    (same, _), _ = loc_and_scale({"initial_loc_scale": 1.0})
    np.testing.assert_array_equal(same, loc)
    (larger, same_scale), encoder = loc_and_scale({"initial_loc_scale": 8.0})
    np.testing.assert_allclose(larger, 8 * loc, rtol=1e-4)
    np.testing.assert_array_equal(same_scale, scale)
    assert encoder.get_config()["initial_loc_scale"] == 8.0
    with pytest.raises(errors.UserError, match="`initial_loc_scale` .* Received: -1"):
        loc_and_scale({"initial_loc_scale": -1})


def test_a_plain_distribution_is_a_prior_as_far_as_it_goes(tmp_path):
    with pytest.warns(UserWarning, match="plain distribution"):
        model = make(standard_normal())
    assert model.committed_rate() == 0.0
    x = data(6)
    q = model.encode(x).distribution
    loc, scale = np.float64(q.loc), np.float64(q.scale)
    kl = 0.5 * (scale**2 + loc**2 - 1 - 2 * np.log(scale)).sum((1, 2))
    np.testing.assert_allclose(model(x)["rate"], kl, rtol=1e-5)
    model.compile(keras.optimizers.Adam(0.01))
    model.fit(x, batch_size=3, verbose=0)
    assert model.sample(2, prior="training").shape == (2, 5)
    with pytest.raises(errors.UserError, match="lacks a temperature"):
        model.sample_latents(2, prior="training", temperature=0.5)
    with pytest.raises(errors.UserError, match="lacks a config"):
        model.save(tmp_path / "model.keras")


def test_a_kl_that_nobody_registered_is_estimated():
    """A Laplace prior: on average over z the estimate is the KL, by quadrature."""
    laplace = backend.tfd.Laplace(np.zeros((N, D), "float32"), 1.0)
    prior = latent_prior.as_prior(backend.tfd.Independent(laplace, 2))
    rng = np.random.default_rng(0)
    loc, scale = np.full((20000, N, D), 0.3), np.full((20000, N, D), 0.7)
    z = loc + scale * rng.normal(size=loc.shape)
    rates = prior.rate(*(np.float32(v) for v in (loc, scale, z)))
    grid = np.linspace(-9, 9, 20001)
    q = np.exp(-0.5 * ((grid - 0.3) / 0.7) ** 2) / (0.7 * np.sqrt(2 * np.pi))
    log_ratio = np.log(q + 1e-300) + abs(grid) + np.log(2)
    kl = N * D * np.sum(q * log_ratio) * (grid[1] - grid[0])
    np.testing.assert_allclose(np.mean(rates), kl, rtol=0.02)


@pytest.mark.parametrize(
    "prior, message",
    [
        (lambda: backend.tfd.Normal(0.0, 1.0), r"event shape \[\]"),
        (lambda: backend.tfd.Normal(np.zeros((N, D)), 1.0), r"batch shape \[4, 2\]"),
        (lambda: "ar1", "must be a LatentPrior, such as AR1"),
    ],
)
def test_what_is_no_prior_is_refused(prior, message):
    with pytest.raises(errors.UserError, match=message):
        make(prior())


def test_a_prior_with_weights_trains_with_the_model():
    prior = auxiliary_prior.LSTMPrior(4, D)
    model = make(prior)
    testing.randomize(prior)
    model.compile(keras.optimizers.SGD(0.01))
    before = [ops.convert_to_numpy(v) for v in prior.trainable_variables]
    model.fit(data(6), batch_size=3, verbose=0)
    for variable, value in zip(prior.trainable_variables, before, strict=True):
        assert (ops.convert_to_numpy(variable) != value).any()


def test_one_contract_of_committed_rates():
    segments = np.int32([[1, 1, 1, 1], [1, 1, 2, 0]])
    chain = segmented_ar1.SegmentedAR1([0.5, 0.9])
    found = ops.convert_to_numpy(chain.committed_rate(segments))
    by_hand = [ar1.committed_rate([0.5, 0.9], 4), ar1.committed_rate([0.5, 0.9], 2)]
    np.testing.assert_allclose(found, by_hand, rtol=1e-6)
    whole = ar1.AR1([0.5, 0.9], 4)
    assert whole.committed_rate() == whole.committed_rate(segments) == by_hand[0]
    encoder = independent_encoder.IndependentDeltaEncoder(Encoder(), 0.2)
    with pytest.raises(errors.UserError, match="known after its first call"):
        encoder.committed_rate()
    encoder(data(2))
    np.testing.assert_allclose(encoder.committed_rate(), 0.2 * N * D)
    np.testing.assert_allclose(
        encoder.committed_rate(segments), [0.2 * 4 * D, 0.2 * 3 * D], rtol=1e-6
    )
    with pytest.raises(errors.UserError, match="give `segments`"):
        chain.committed_rate()
    assert np.all(np.array(places.num_tokens(np.int32([[5, 1, 0]]))) == 2)


def test_a_decoder_without_sample_takes_a_key_as_seed():
    model = make()
    by_number = ops.convert_to_numpy(model.sample(3, "training", seed=5))
    by_key = model.sample(3, "training", seed=noise.make_key(5))
    np.testing.assert_array_equal(by_key, by_number)
    numbered = model.sample(3, "training", seed=5, first=np.arange(3, dtype="int32"))
    np.testing.assert_array_equal(numbered, by_number)
    later = model.sample(2, "training", seed=5, first=1)
    np.testing.assert_allclose(later, by_number[1:], rtol=1e-6)
    other = ops.convert_to_numpy(model.sample(3, "training", seed=6))
    assert (other != by_number).all()
