"""Samples, weights and files of users' own models."""

import re

import keras
import numpy as np
import pytest
from keras import ops

from deltavae_tf import backend, errors
from deltavae_tf.distributions import ar1
from deltavae_tf.models import auxiliary_prior, delta_vae
from tests import users_oracle, users_wrong
from tests.users_wrong import Decoder, N, vae

tfd = backend.tfd
PAIR = {"outputs": 2 * 5, "shape": (5, 2)}


def mixture(p):
    parts = tfd.Normal(ops.stack([p - 3, p + 3], axis=-1), 0.1)
    both = tfd.Categorical(ops.stack([p, -p], axis=-1))
    return tfd.Independent(tfd.MixtureSameFamily(both, parts), 1)


# name: (distribution of the parameters, kwargs of `Decoder`)
DRAWN = {
    "Normal": (users_wrong.normal, {}),
    "Laplace": (lambda p: tfd.Independent(tfd.Laplace(p, 1.0), 1), {}),
    "Bernoulli": (lambda p: tfd.Independent(tfd.Bernoulli(p), 1), {}),
    "Categorical": (users_wrong.categorical, users_wrong.CATEGORIES),
    "Poisson": (lambda p: tfd.Independent(tfd.Poisson(log_rate=p), 1), {}),
    "Gamma": (lambda p: tfd.Independent(tfd.Gamma(ops.exp(p), 1.0), 1), {}),
    "Beta": (lambda p: tfd.Independent(tfd.Beta(ops.exp(p), 2.0), 1), {}),
    "StudentT": (lambda p: tfd.Independent(tfd.StudentT(3.0, p, 1.0), 1), {}),
    "a mixture": (mixture, {}),
    "a diagonal normal": (lambda p: tfd.MultivariateNormalDiag(p, ops.exp(p)), {}),
    "a transformed one": (lambda p: tfd.Independent(tfd.LogNormal(p, 1.0), 1), {}),
    "Dirichlet": (lambda p: tfd.Dirichlet(ops.exp(p)), {}),
}


def sample(model, *args, **kwargs):
    return np.asarray(ops.convert_to_numpy(model.sample(*args, **kwargs)))


@pytest.mark.parametrize("name", DRAWN)
def test_sample_i_of_a_seed_is_the_same_whatever_is_drawn_with_it(name):
    distribution, kwargs = DRAWN[name]
    model = vae(decoder=Decoder(distribution, **kwargs))
    model.build((None, 5), "int32" if name in ("Bernoulli", "Categorical") else None)
    five = sample(model, 5, seed=3)
    assert five.shape[0] == 5
    np.testing.assert_array_equal(five, sample(model, 5, seed=3))
    np.testing.assert_array_equal(five[2:4], sample(model, 2, seed=3, first=2))
    numbers = ops.convert_to_tensor([4, 0])
    np.testing.assert_array_equal(five[[4, 0]], sample(model, 2, seed=3, first=numbers))
    assert (sample(model, 5, seed=4) != five).any()
    assert len(np.unique(five.reshape(5, -1), axis=0)) > 1


def test_samples_have_the_moments_of_the_distribution():
    model = vae(decoder=Decoder(lambda p: users_wrong.normal(0 * p + 2.0)))
    model.build((None, 5))
    drawn = sample(model, 400, seed=1)
    assert abs(drawn.mean() - 2) < 0.1 and abs(drawn.std() - 1) < 0.1


def test_a_plain_distribution_as_a_prior_is_drawn_from_by_key():
    scale = np.full((N, 2), 3.0, "f")
    prior = tfd.Independent(tfd.Normal(np.zeros((N, 2), "f"), scale), 2)
    model = vae(prior=prior)
    z = np.asarray(model.sample_latents(200, seed=5))
    assert z.shape == (200, N, 2) and abs(z.std() - 3) < 0.2
    two = np.asarray(model.sample_latents(2, seed=5, first=7))
    np.testing.assert_array_equal(z[7:9], two)
    with pytest.raises(errors.UserError, match="temperature"):
        model.sample_latents(2, temperature=0.5)


@pytest.mark.parametrize("seed", [None, 1.5, "1"])
def test_a_seed_of_samples_is_an_integer(seed):
    model = vae()
    model.build((None, 5))
    with pytest.raises(errors.UserError, match="`seed`.*integer.*Received"):
        model.sample(2, seed=seed)


def test_without_an_auxiliary_prior_samples_come_from_the_one_there_is():
    model = vae()
    model.build((None, 5))
    np.testing.assert_array_equal(sample(model, 2), sample(model, 2, prior="training"))
    both = vae(auxiliary_prior=auxiliary_prior.LSTMPrior(4, 2))
    both.build((None, 5))
    np.testing.assert_array_equal(sample(both, 2), sample(both, 2, prior="auxiliary"))
    assert (sample(both, 2) != sample(both, 2, prior="training")).any()


# Weights.


def test_build_makes_all_weights_and_load_weights_fills_all(tmp_path):
    trained, fresh = (
        vae(auxiliary_prior=auxiliary_prior.LSTMPrior(4, 2)) for _ in range(2)
    )
    trained.compile("adam", run_eagerly=True)
    trained.train_on_batch(users_wrong.floats())
    path = str(tmp_path / "m.weights.h5")
    trained.save_weights(path)
    for refused in (
        lambda: fresh.load_weights(path),
        lambda: fresh.save_weights(path),
        lambda: fresh.sample(2),
        lambda: fresh.sample(2, prior="training"),
    ):
        with pytest.raises(errors.UserError, match="weights.*build.*Received"):
            refused()
    fresh.build((None, 5))
    assert len(fresh.weights) == len(trained.weights) > 8
    fresh.load_weights(path)
    for a, b in zip(trained.weights, fresh.weights, strict=True):
        np.testing.assert_array_equal(a, b)


def _place(variable):
    """Where a weight is, without the model's name and what Keras counts into names."""
    return [re.sub(r"_\d+$", "", part) for part in variable.path.split("/")[1:]]


@pytest.mark.parametrize("shape", [(None, 5), (7, 5), {"x": (None, 5)}, [None, 5]])
def test_build_takes_a_batchs_shape(shape):
    model, called = vae(), vae()
    model.build(shape)
    called(users_wrong.floats())
    paths = [[_place(v) for v in m.weights] for m in (model, called)]
    assert paths[0] == paths[1]
    assert model.get_build_config() == called.get_build_config()


def test_build_refuses_what_a_call_would():
    with pytest.raises(errors.UserError, match=r"^The encoder .*\[4, 2\].*Received"):
        vae(users_wrong.Encoder(steps=3)).build((None, 5))


def test_weights_of_another_model_change_nothing(tmp_path):
    small, other = (
        vae(),
        delta_vae.DeltaVAE(
            users_wrong.Encoder(),
            Decoder(outputs=9, shape=(9,)),
            ar1.AR1([0.8, 0.4], N),
        ),
    )
    small.build((None, 5))
    other.build((None, 9))
    path = str(tmp_path / "m.weights.h5")
    other.save_weights(path)
    before = [ops.convert_to_numpy(v) for v in small.weights]
    with pytest.raises(ValueError):
        small.load_weights(path)
    for a, b in zip(before, small.weights, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("call", ["train_on_batch", "test_on_batch", "evaluate", "fit"])
def test_a_new_model_makes_its_weights_at_its_first_call(call):
    model = vae(auxiliary_prior=auxiliary_prior.LSTMPrior(4, 2))
    model.compile("adam", run_eagerly=True)
    getattr(model, call)(users_wrong.floats())
    # Keras on JAX makes the optimizer's state when it evaluates, too.
    measures = call in ("test_on_batch", "evaluate")
    assert model.built and (model.optimizer.built or measures)


def test_what_keras_would_do_wrong_is_one_line(tmp_path):
    model = vae()
    model.build((None, 5))
    for refused, words in (
        (lambda: model.export(str(tmp_path / "x")), "deltavae_tf.export"),
        (lambda: model.save(str(tmp_path / "m.h5")), r"\.keras"),
        (lambda: model.save(tmp_path / "m.hdf5"), r"\.keras"),
    ):
        with pytest.raises(errors.UserError, match=words):
            refused()
    assert not list(tmp_path.iterdir())


def test_one_line_where_keras_would_add_its_own():
    """No list of arguments, no call that it came from."""
    with pytest.raises(errors.UserError) as caught:
        vae(users_wrong.Encoder(steps=3))(users_wrong.floats())
    assert "\n" not in str(caught.value)


def test_the_oracles_noise_is_not_the_librarys_by_chance():
    eps = users_oracle.noise(0, 1, np.arange(4), (3, 2))
    assert abs(eps - users_oracle.noise(0, 2, np.arange(4), (3, 2))).min() > 0
    assert keras.backend.backend() == backend.name
