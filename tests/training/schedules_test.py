"""Schedules against the formulas of Appendix E.1 in float64."""

import keras
import numpy as np
import pytest

from deltavae_tf.training import schedules

# name: (scale, width, warm-up, where the printed pieces meet, the peak).
PAPER = {
    "imagenet32": (0.18, 512, 4000, 10_053, 3.16e-4),
    "cifar10": (0.36, 256, 8000, 21_715, 6.83e-4),
}


def oracle(s, scale, width, warmup, exponent=-1.5):
    s = np.float64(s)
    return (
        scale * width**-0.5 * np.minimum(s**-0.35, s * np.float64(warmup) ** exponent)
    )


def rates(schedule, updates):
    """What Keras would use for these 1-based updates."""
    return np.array([float(schedule(int(s) - 1)) for s in updates])


@pytest.mark.parametrize("name", PAPER)
def test_paper_is_as_printed(name):
    scale, width, warmup, crossing, peak = PAPER[name]
    schedule = schedules.make("paper", scale=scale, width=width, warmup_steps=warmup)
    updates = [1, 2, 100, warmup, crossing - 1, crossing, crossing + 1, 250_000, 10**6]
    expected = [oracle(s, scale, width, warmup) for s in updates]
    np.testing.assert_allclose(rates(schedule, updates), expected, rtol=1e-5)
    # The oracle itself has the paper's crossing and peak.
    every = oracle(np.arange(1, 50_000), scale, width, warmup)
    assert abs(np.argmax(every) + 1 - crossing) <= 1
    assert every.max() == pytest.approx(peak, rel=2e-3)


@pytest.mark.parametrize("name", PAPER)
def test_continuous_variant_peaks_at_warmup(name):
    scale, width, warmup, _, _ = PAPER[name]
    schedule = schedules.make(
        "paper_continuous", scale=scale, width=width, warmup_steps=warmup
    )
    updates = [1, warmup - 100, warmup, warmup + 100]
    expected = [oracle(s, scale, width, warmup, -1.35) for s in updates]
    found = rates(schedule, updates)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert np.argmax(found) == 2
    assert found[2] == pytest.approx(scale * width**-0.5 * warmup**-0.35, rel=1e-5)


def test_warmup_cosine():
    schedule = schedules.make(
        "warmup_cosine",
        learning_rate=1e-3,
        warmup_steps=10,
        decay_steps=110,
        floor=1e-5,
    )
    found = rates(schedule, [1, 5, 10, 60, 110, 500])
    expected = [1e-4, 5e-4, 1e-3, (1e-3 + 1e-5) / 2, 1e-5, 1e-5]
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_warmup_cosine_without_warmup():
    schedule = schedules.make(
        "warmup_cosine", learning_rate=1.0, warmup_steps=0, decay_steps=4
    )
    expected = [0.5 * (1 + np.cos(np.pi * s / 4)) for s in (1, 2, 3, 4)]
    np.testing.assert_allclose(rates(schedule, [1, 2, 3, 4]), expected, atol=1e-6)


EXAMPLES = {
    "constant": {"learning_rate": 1e-4},
    "paper": {"scale": 0.36, "width": 256, "warmup_steps": 8},
    "paper_continuous": {"scale": 0.36, "width": 256, "warmup_steps": 8},
    "warmup_cosine": {
        "learning_rate": 1e-3,
        "warmup_steps": 2,
        "decay_steps": 9,
        "floor": 0.0,
    },
}


def test_examples_are_complete():
    assert sorted(EXAMPLES) == schedules.names()


@pytest.mark.parametrize("name", EXAMPLES)
def test_serializes(name):
    schedule = schedules.make(name, **EXAMPLES[name])
    config = keras.saving.serialize_keras_object(schedule)
    again = keras.saving.deserialize_keras_object(config)
    assert type(again) is type(schedule)
    assert again.get_config() == EXAMPLES[name]
    updates = range(1, 15)
    np.testing.assert_array_equal(rates(again, updates), rates(schedule, updates))


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_optimizer_uses_the_one_based_rate(name):
    schedule = schedules.make(name, **EXAMPLES[name])
    optimizer = keras.optimizers.SGD(schedule)
    weight = keras.Variable(0.0)
    optimizer.build([weight])
    for s in range(1, 4):
        before = float(weight)
        optimizer.apply([keras.ops.ones(())], [weight])
        used = before - float(weight)
        assert used == pytest.approx(rates(schedule, [s])[0], rel=1e-3)


def test_make_takes_all_settings_and_uses_its_own():
    settings = dict(scale=1.0, width=4, warmup_steps=2, decay_steps=9, floor=0.0)
    schedule = schedules.make("constant", learning_rate=0.25, **settings)
    assert float(schedule(7)) == 0.25


@pytest.mark.parametrize(
    "name, values, message",
    [
        ("warmup_cosin", {}, "did you mean 'warmup_cosine'"),
        ("zzz", {}, "Known: constant, paper"),
        ("constant", {}, "Missing: ['learning_rate']"),
        ("constant", {"learning_rate": 1.0, "widht": 3}, "Unknown: ['widht']"),
        ("constant", {"learning_rate": 0.0}, "must be finite and > 0"),
        ("constant", {"learning_rate": float("nan")}, "must be finite"),
        ("paper", {"scale": 1, "width": 4, "warmup_steps": 0}, "`warmup_steps`"),
        (
            "warmup_cosine",
            {"learning_rate": 1.0, "warmup_steps": 5, "decay_steps": 5},
            "must exceed `warmup_steps`",
        ),
        (
            "warmup_cosine",
            {"learning_rate": 1.0, "warmup_steps": 1, "decay_steps": 5, "floor": 2.0},
            "must not exceed `learning_rate`",
        ),
    ],
)
def test_errors(name, values, message):
    with pytest.raises(ValueError) as error:
        schedules.make(name, **values)
    assert message in str(error.value)
