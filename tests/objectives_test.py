"""Objectives, against numpy."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import deltavae_tf
from deltavae_tf import objectives, units
from tests import tiny

DISTORTION = np.array([30.0, 10.0, 20.0], np.float32)
CHANNELS = np.array([[2.0, 0.5], [4.0, 0.1], [0.0, 0.6]], np.float32)
TERMS = {
    "distortion": DISTORTION,
    "rate": CHANNELS.sum(1),
    "rate_channels": CHANNELS,
}
ALL = [
    objectives.ELBO(),
    objectives.BetaVAE(0.25),
    objectives.KLAnnealing(10, 4, 0.2),
    objectives.FreeBits(3.0),
    objectives.FreeBits(3.0, per_channel=True),
    objectives.GECO(25.0, speed=0.5, decay=0.9, largest_error=0.7),
]


def mean(x):
    return tf.reduce_mean(x, axis=0)


def loss_of(objective, step=1, terms=TERMS):
    terms = {k: tf.constant(v) for k, v in terms.items()}
    return objective(terms, step, objective.initial_state(), mean)[0].numpy()


def test_elbo_and_beta():
    rate = CHANNELS.sum(1)
    np.testing.assert_allclose(loss_of(objectives.ELBO()), DISTORTION + rate)
    np.testing.assert_allclose(
        loss_of(objectives.BetaVAE(0.25)), DISTORTION + 0.25 * rate
    )


@pytest.mark.parametrize("step, weight", [(1, 0.1), (5, 0.5), (10, 1.0), (11, 1.0)])
def test_annealing_is_linear_and_then_the_elbo(step, weight):
    np.testing.assert_allclose(
        loss_of(objectives.KLAnnealing(10), step),
        DISTORTION + weight * CHANNELS.sum(1),
        rtol=1e-6,
    )


@pytest.mark.parametrize(
    "step, weight", [(1, 0.2), (4, 0.2), (7, 0.6), (9, 0.8 / 6 * 5 + 0.2), (10, 1.0)]
)
def test_annealing_that_starts_late(step, weight):
    objective = objectives.KLAnnealing(10, start_step=4, initial_weight=0.2)
    np.testing.assert_allclose(
        loss_of(objective, step), DISTORTION + weight * CHANNELS.sum(1), rtol=1e-6
    )


@pytest.mark.parametrize("free", [0.0, 2.0, 3.0])
@pytest.mark.parametrize("per_channel", [False, True])
def test_free_bits(free, per_channel):
    """Equation 15 of Kingma et al. for value and gradient, by finite differences."""
    objective = objectives.FreeBits(free, per_channel)

    def batch_loss(channels):
        groups = channels if per_channel else channels.sum(1, keepdims=True)
        free_of_group = free / groups.shape[1]
        return DISTORTION.mean() + np.maximum(groups.mean(0), free_of_group).sum()

    found = loss_of(objective)
    np.testing.assert_allclose(found.mean(), batch_loss(CHANNELS), rtol=1e-6)
    rates = tf.Variable(CHANNELS)
    with tf.GradientTape() as tape:
        terms = {
            "distortion": tf.constant(DISTORTION),
            "rate": tf.reduce_sum(rates, 1),
            "rate_channels": tf.convert_to_tensor(rates),
        }
        loss = tf.reduce_mean(objective(terms, 1, {}, mean)[0])
    gradient = tape.gradient(loss, rates)
    gradient = np.zeros_like(CHANNELS) if gradient is None else gradient.numpy()
    for i, j in np.ndindex(*CHANNELS.shape):
        moved = CHANNELS.astype(np.float64)
        moved[i, j] += 1e-6
        slope = (batch_loss(moved) - batch_loss(CHANNELS.astype(np.float64))) / 1e-6
        np.testing.assert_allclose(gradient[i, j], slope, atol=1e-4)


def geco_after(objective, means):
    """The state after batches of such mean distortions; each loss is checked."""
    state = {k: tf.constant(v) for k, v in objective.initial_state().items()}
    for step, value in enumerate(means, start=1):
        distortion = np.array([value - 5, value, value + 5], np.float32)
        terms = {**TERMS, "distortion": distortion}
        multiplier = np.exp(state["log_multiplier"])
        loss, state = objective(
            {k: tf.constant(v) for k, v in terms.items()}, step, state, mean
        )
        expected = CHANNELS.sum(1) + multiplier * (distortion - objective.distortion)
        np.testing.assert_allclose(loss, expected, rtol=1e-4)
    return state


def test_geco_follows_algorithm_1():
    objective = objectives.GECO(25.0, speed=0.5, decay=0.9, largest_error=9.0)
    means = np.random.default_rng(0).uniform(20, 60, 6)
    multiplier, average = 1.0, (means[0] - 25.0) / 25.0
    for value in means:
        average = 0.9 * average + 0.1 * (value - 25.0) / 25.0
        multiplier *= np.exp(0.5 * average)
    state = geco_after(objective, means)
    assert multiplier > 1.1
    np.testing.assert_allclose(np.exp(state["log_multiplier"]), multiplier, rtol=1e-5)
    np.testing.assert_allclose(state["error"], average, rtol=1e-5)
    assert float(state["updates"]) == 6


@pytest.mark.parametrize("value, sign", [(1e4, 1), (25 * 1.2, 1), (25 * 0.8, -1)])
def test_geco_is_not_wound_up_by_a_model_that_knows_nothing(value, sign):
    """However far the target, 100 steps change the multiplier by e at most."""
    state = geco_after(objectives.GECO(25.0), [value] * 100)
    np.testing.assert_allclose(state["log_multiplier"], sign, rtol=1e-4)
    # At the target it stays as it is.
    state = geco_after(objectives.GECO(25.0, decay=0.0), [value] * 100 + [25.0] * 50)
    np.testing.assert_allclose(state["log_multiplier"], sign, rtol=1e-4)


@pytest.mark.parametrize("objective", ALL)
def test_config_round_trip(objective):
    config = keras.saving.serialize_keras_object(objective)
    again = keras.saving.deserialize_keras_object(config)
    assert type(again) is type(objective) and vars(again) == vars(objective)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: objectives.BetaVAE(-1), "`beta` must be finite and at least 0"),
        (lambda: objectives.FreeBits(float("nan")), "`rate`.*Received: nan"),
        (lambda: objectives.KLAnnealing(0), "`num_steps`.*Received: 0"),
        (lambda: objectives.KLAnnealing(9, 9), "`start_step`.*Received: 9 and 9"),
        (lambda: objectives.KLAnnealing(9, 0, 1.5), "`initial_weight`.*Received: 1.5"),
        (lambda: objectives.GECO(0.0), "`distortion`"),
        (lambda: objectives.GECO(1.0, decay=1.0), "`decay` must be below 1"),
        (lambda: objectives.GECO(1.0, largest_error=0), "`largest_error`"),
    ],
)
def test_bad_arguments(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def batch_of(size):
    rng = np.random.default_rng(0)
    return {
        "image": tf.constant(rng.integers(0, 17, (size, 8, 8, 1)), tf.uint8),
        "index": tf.range(size),
        "mask": tf.ones([size]),
    }


OBJECTIVES = {
    "elbo": objectives.ELBO(),
    "beta": objectives.BetaVAE(0.3),
    "free_bits": objectives.FreeBits(units.nats(9.0)),
    "free_bits_per_channel": objectives.FreeBits(units.nats(9.0), per_channel=True),
    "kl_annealing": objectives.KLAnnealing(7),
    "geco": objectives.GECO(units.nats_from_bits_per_dim(2, 64)),
}


@pytest.fixture(scope="module")
def plain():
    """A plain VAE, whose parts serve every objective."""
    return tiny.image_model(alpha=(0, 0))


@pytest.mark.parametrize("name", [*OBJECTIVES, "independent", "alone"])
def test_the_loss_of_a_step_is_the_objectives(name, plain):
    bits = 0
    if name == "independent":
        bits = 9
        model = tiny.independent_model(units.nats(9.0))
    elif name == "alone":
        model = tiny.image_decoder_alone()
    else:
        parts = (plain.encoder, plain.decoder, plain.prior, plain.auxiliary_prior)
        model = deltavae_tf.DeltaVAE(*parts, objective=OBJECTIVES[name])
        assert model.objective is OBJECTIVES[name]
    np.testing.assert_allclose(model.committed_rate() / np.log(2), bits, rtol=1e-6)
    batch = batch_of(4)
    terms = {k: v.numpy() for k, v in model(batch, training=False).items()}
    model.check_rate(terms["rate"])
    state = model.objective.initial_state()
    expected, _ = model.objective(
        {k: tf.constant(v) for k, v in terms.items()}, 0, state, mean
    )
    expected = expected.numpy() + (terms["rate_aux"] if model.auxiliary_prior else 0)
    found = model.compute_loss(batch, y_pred=terms, training=False)
    np.testing.assert_allclose(found, expected.mean(), rtol=1e-5)
    if "rate_channels" in terms:
        np.testing.assert_allclose(
            terms["rate_channels"].sum(1), terms["rate"], rtol=1e-5
        )


def test_the_state_moves_in_training_only_and_is_a_weight():
    model = tiny.image_model(alpha=(0, 0), objective=OBJECTIVES["geco"])
    named = {v.name: v for v in model.weights}
    batch = batch_of(4)
    model.compute_loss(batch, y_pred=model(batch), training=False)
    assert float(named["objective_updates"]) == 0
    model.train_step(batch)
    model.train_step(batch)
    assert float(named["objective_updates"]) == 2
    assert float(named["objective_log_multiplier"]) > 0  # Far above two bits/dim.


def test_independent_posteriors_keep_their_distance():
    delta = 5.0
    model = tiny.independent_model(delta)
    np.testing.assert_allclose(model.committed_rate(), delta, rtol=1e-6)
    rng = np.random.default_rng(1)
    for scale in (0.1, 1.0, 30.0):
        for variable in model.encoder.weights:
            variable.assign(rng.normal(size=variable.shape) * scale)
        q = model.encode(batch_of(6)["image"]).distribution
        loc, s = np.float64(q.loc), np.float64(q.scale)
        kl = 0.5 * (s**2 + loc**2 - 1 - 2 * np.log(s))
        assert (kl >= delta / 16 * (1 - 1e-4)).all()
