"""Active units, mutual information and the linear probe, where the answer is known."""

import numpy as np
import pytest
from scipy import stats
from sklearn import linear_model

from deltavae_tf.evaluation import collapse, linear_probe


def test_active_units_counts_what_moves():
    rng = np.random.default_rng(0)
    loc = np.zeros((500, 3, 2))
    loc[:, 0, 0] = rng.normal(size=500)  # Variance 1.
    loc[:, 2, 1] = 0.2 * rng.normal(size=500)  # .04
    loc[:, 1, 1] = 0.05 * rng.normal(size=500)  # .0025: below the threshold.
    loc[:, 1, 0] = 7.0  # Far from 0, but for all alike.
    assert collapse.active_units(loc) == (2, 6)
    assert collapse.active_units(loc, threshold=0.1) == (1, 6)
    with pytest.raises(ValueError, match="at least 2 examples. Received: 1"):
        collapse.active_units(loc[:1])


def test_mutual_information_of_a_collapsed_posterior_is_zero():
    information, log_n = collapse.mutual_information(
        np.zeros((700, 4, 2)), np.ones((700, 4, 2))
    )
    assert abs(information) < 1e-9 and log_n == pytest.approx(np.log(700))


def test_mutual_information_of_far_apart_posteriors_is_log_n():
    loc = 100.0 * np.arange(600)[:, None, None]
    information, log_n = collapse.mutual_information(loc, np.ones((600, 1, 1)))
    assert information == pytest.approx(log_n, abs=1e-6)


def test_mutual_information_of_two_groups():
    """Half the means at -m, half at m: one bit less what overlaps, by quadrature."""
    m, s = 1.0, 0.8
    loc = np.where(np.arange(4000) % 2, m, -m)[:, None]
    information, _ = collapse.mutual_information(loc, np.full((4000, 1), s))
    z = np.linspace(-9, 9, 20001)
    one, other = stats.norm(m, s).pdf(z), stats.norm(-m, s).pdf(z)
    expected = np.trapezoid(one * np.log(one / (0.5 * one + 0.5 * other)), z)
    assert information == pytest.approx(expected, abs=0.02)


def test_the_probe_reads_what_is_linear_and_nothing_else():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 2, 2)).astype("float32")
    label = (x[:, 0, 1] > x[:, 1, 0]).astype("int32")
    noise = rng.integers(0, 2, 400).astype("int32")
    parts = [
        linear_probe.accuracy(x[:300], y[:300], x[300:], y[300:], 2, batch_size=50)
        for y in (label, label, noise)
    ]
    assert 0.95 < parts[0]["accuracy"] <= 1
    assert parts[0] == parts[1]
    assert parts[2]["accuracy"] < 0.65


def test_the_probe_is_adam_on_logistic_regression():
    """The same 100 epochs in Keras, on one batch, where the order plays no part."""
    import keras

    rng = np.random.default_rng(1)
    x = rng.normal(size=(60, 3)).astype("float32")
    label = rng.integers(0, 3, 60)
    probe = keras.Sequential([keras.layers.Dense(3, kernel_initializer="zeros")])
    probe.build((None, 3))
    optimizer = keras.optimizers.Adam(1.0)
    for epoch in range(100):
        optimizer.learning_rate = 3e-3 * 0.3 ** (epoch // 30)
        kernel, bias = (v.numpy() for v in probe.trainable_variables)
        p = np.exp(x @ kernel + bias)
        error = p / p.sum(1, keepdims=True) - np.eye(3)[label]
        optimizer.apply(
            [x.T @ error / 60, error.mean(0)], probe.trainable_variables
        )  # fmt: skip
    predicted = probe(x).numpy().argmax(1)
    found = linear_probe.accuracy(x, label, x[:30], predicted[:30], 3, batch_size=60)
    assert found["accuracy"] == 1.0  # It says what Keras's says,
    assert found["train_accuracy"] == np.mean(predicted == label)  # right or wrong.


def test_the_probe_is_scikit_learns_logistic_regression():
    """On classes that overlap, where the optimum is one point, and is not far."""
    rng = np.random.default_rng(0)
    label = rng.integers(0, 4, 3000)
    means = rng.normal(size=(4, 3, 2))
    x = (means[label] + rng.normal(size=(3000, 3, 2))).astype("float32")
    train_x, test_x = x[:2000], x[2000:]
    oracle = linear_model.LogisticRegression(C=np.inf, max_iter=1000)
    oracle.fit(train_x.reshape(2000, -1), label[:2000])
    theirs = oracle.predict(test_x.reshape(1000, -1))
    ours = linear_probe.fit(train_x, label[:2000], num_classes=4)(test_x)
    assert 0.6 < np.mean(theirs == label[2000:]) < 0.95
    assert np.mean(ours == theirs) > 0.96
