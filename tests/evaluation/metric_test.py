"""Metrics: each declared once, and taken up everywhere; what one may look at."""

import importlib.util

import numpy as np
import pytest

from data import digits
from deltavae_tf import backend, units
from deltavae_tf.distributions import information, latent_prior
from deltavae_tf.errors import NotFiniteError, UserError
from deltavae_tf.evaluation import (
    context,
    linear_probe,
    metric,
    reconstruction,
    record,
    tables,
    verdict,
)
from tests.evaluation import small

LIMITS = context.Limits(
    training=30, importance_examples=6, importance_samples=4, reconstructions=10
)
USERS_FILE = '''
"""A metric of a user's own."""

from deltavae_tf.evaluation import metric


@metric.register(
    metric.Metric("darkest_pixel", "the least value of any", unit="levels",
                  title="darkest", form="{:.1f}", factor=2.0),
    split="both",
    kinds=("images",),
    cheap=True,
)
def darkest_pixel(context):
    batches = context.examples.batches(context.limit())
    return min(float(batch["image"].numpy().min()) for batch in batches) + 3.5
'''


@pytest.fixture
def registry(monkeypatch):
    """What is registered in a test goes with it."""
    metric.metrics()
    monkeypatch.setattr(metric, "_MEASUREMENTS", dict(metric._MEASUREMENTS))


@pytest.fixture(scope="module")
def model():
    return small.image_model()


@pytest.fixture(scope="module")
def whole(model):
    return context.Context(
        model, small.images(), small.images("train", 50), LIMITS, twin_distortion=400.0
    )


@pytest.fixture(scope="module")
def measured(whole):
    return metric.measure(whole)


def record_of(weights, examples=None, **changes):
    examples = examples or small.images()
    about = {"experiment": "x", "step": 3, "hparams": {}, "random_seed": 0}
    about |= {"problem": "p", "held_out": examples, "training": None}
    return record.build(**{**about, "parameters": 7, "weights": weights, **changes})


def test_a_users_metric_is_taken_up_by_record_and_tables(tmp_path, registry, model):
    path = tmp_path / "mine.py"
    path.write_text(USERS_FILE)
    spec = importlib.util.spec_from_file_location("mine", path)
    spec.loader.exec_module(importlib.util.module_from_spec(spec))
    examples = small.images(), small.images("train", 50)
    found = metric.measure(context.Context(model, *examples))
    assert found["held_out"]["darkest_pixel"] == 3.5
    assert found["training"]["darkest_pixel"] == 3.5
    found = metric.measure(context.Context(model, *examples), cheap=True)
    assert found["training"] == {}
    kept = record_of({"raw": found})
    record.write(tmp_path / "evaluation.json", kept)
    assert record.numbers(record.read(tmp_path))["darkest_pixel"] == 3.5
    assert any("darkest (levels)" in row[""] for row in tables.of_record(kept))
    assert tables.of_weights(kept)[0]["darkest"] == "7.0"  # Its factor of 2.
    (own,) = tables.columns([record.numbers(kept)], "images")[-1:]
    assert own.title == "darkest" and own.name == "darkest_pixel"


def test_what_is_measured_of_images(model, whole, measured):
    held_out, training = measured["held_out"], measured["training"]
    assert held_out["num_examples"] == 20 and training["num_examples"] == 30
    loc = whole.moments("training")["loc"]
    assert training["units"] == loc[0].size == 16
    assert training["active_units"] == np.sum(loc.reshape(30, -1).var(0) >= 0.01)
    assert training["mutual_information_limit_nats"] == pytest.approx(np.log(30))
    assert "active_units" not in held_out and "importance_bpd_k4" not in training
    # One sample is the one-sample bound, up to its own noise; four are tighter.
    assert held_out["importance_bpd_k1"] > held_out["importance_bpd_k4"]
    assert held_out["importance_examples"] == 6
    assert "importance_bpd_k8" not in held_out
    saved = 400.0 - held_out["distortion_nats"]
    assert held_out["gain"] == pytest.approx(saved / held_out["rate_aux_nats"])
    moments = [whole.moments(split) for split in ("training", "held_out")]
    expected = linear_probe.accuracy(
        *(m[k] for m in moments for k in ("loc", "label")), num_classes=10
    )
    assert held_out["probe_accuracy"] == expected["accuracy"]
    assert training["probe_accuracy"] == expected["train_accuracy"]


def test_every_number_is_declared_and_cheap_ones_are_few(whole, measured):
    known = {m.name for m in metric.metrics("images")}
    assert set(measured["held_out"]) | set(measured["training"]) <= known
    for name in known:
        assert metric.find(name).meaning, f"{name} says nothing of itself"
    cheap = metric.measure(whole, cheap=True)
    assert cheap["training"] == {}
    expensive = {"probe_accuracy", "reconstruction_agreement", "importance_bpd_k1"}
    assert expensive <= set(measured["held_out"]) - set(cheap["held_out"])
    for name, value in cheap["held_out"].items():
        assert value == measured["held_out"][name]


def test_a_decoder_alone_has_likelihoods_only():
    examples = small.images(), small.images("train", 30)
    found = metric.measure(context.Context(small.image_model(False), *examples))
    for split in metric.SPLITS:
        of = {n for m in metric.measurements() if m.cheap for n in m.metrics}
        assert set(found[split]) <= {m.name for m in of}
    kept = record_of({"raw": found})
    assert verdict.line(kept).startswith("decoder alone, without latents: ")


def test_other_weights_are_measured_anew(model, whole):
    before = metric.measure(whole, cheap=True)["held_out"]["distortion_nats"]
    kept = [w.numpy() for w in model.trainable_weights]
    try:
        for weight in model.trainable_weights:
            weight.assign(0.5 * weight)
        after = metric.measure(whole, cheap=True)["held_out"]["distortion_nats"]
    finally:
        for weight, value in zip(model.trainable_weights, kept, strict=True):
            weight.assign(value)
    assert abs(before - after) > 0.01


def test_text_is_measured_in_the_same_form():
    examples = small.text()
    found = metric.measure(context.Context(small.text_model(), examples, examples))
    for numbers in found.values():
        assert numbers["num_examples"] == 13 and numbers["nelbo_per_token"] > 1
        assert "nelbo_bpd" not in numbers and "probe_accuracy" not in numbers
    kept = record_of({"raw": found}, examples)
    assert kept["data"]["kind"] == "text"
    assert "nats/token" in tables.of_weights(kept)[0]
    assert "distortion bits" not in tables.of_weights(kept)[0]
    (remark,) = verdict.remarks(kept)
    tokens, words = found["held_out"]["num_tokens"], found["held_out"]["num_words"]
    assert f"{tokens:,} tokens, {words:,} words" in remark
    assert f"{tokens / words:.3f} tokens per word" in remark


def test_the_frontier_is_asked_at_the_measured_rate(model, monkeypatch):
    """Of a stand-in for the function: what it is asked, and what becomes of that."""
    asked = []

    def information_at_rate(rate, alpha, num_timesteps):
        asked.append((rate, list(alpha), num_timesteps))
        return 2.5

    monkeypatch.setattr(information, "information_at_rate", information_at_rate)
    found = metric.measure(context.Context(model, small.images()), cheap=True)
    assert found["held_out"]["information_frontier_nats"] == 2.5
    ((rate, alpha, num_timesteps),) = asked
    assert rate == found["held_out"]["rate_nats"] and num_timesteps == 8
    np.testing.assert_allclose(alpha, small.ALPHA, rtol=1e-6)


def test_what_cannot_be_measured_is_told(model, monkeypatch):
    """Of a prior that has no alpha, which the frontier is known of."""
    normal = backend.tfd.Normal(np.zeros(model.prior.event_shape, "float32"), 1.0)
    prior = latent_prior.as_prior(backend.tfd.Independent(normal, 2))
    monkeypatch.setattr(model, "prior", prior)
    there = context.Context(model, small.images())
    for _ in range(2):
        found = metric.measure(there, cheap=True)
    assert "information_frontier_nats" not in found["held_out"]
    assert len(there.remarks) == 1 and "No information frontier" in there.remarks[0]


def test_reconstructions_are_the_examples_own(model):
    """Whatever the batches; with the model's own posterior and decoder."""
    examples = [small.images(count=7, batch_size=size) for size in (3, 7)]
    one, other = (reconstruction.of(model, e.batches(None), 5) for e in examples)
    for name in ("image", "reconstruction", "label"):
        np.testing.assert_array_equal(one[name], other[name])
    assert one["reconstruction"].shape == (7, 8, 8, 1)
    assert 0 <= one["reconstruction"].min() and one["reconstruction"].max() <= 16


def test_agreement_where_it_is_known():
    train, test = digits.load("train"), digits.load("test")
    train_image, test_image = (
        np.asarray(s.image).astype("int32") for s in (train, test)
    )
    label = np.asarray(test.label)
    swapped = test_image[np.argsort(label, kind="stable")[::-1]]  # 9 for 0, ...

    def of(drawn):
        found = {"image": test_image, "reconstruction": drawn, "label": label}
        return reconstruction.agreement(found, train_image, train.label, 10)

    share, accuracy = of(test_image)
    assert share == accuracy > 0.93
    rng = np.random.default_rng(0)
    shuffled, again = of(test_image[rng.permutation(len(label))])
    assert again == accuracy and abs(shuffled - 0.1) < 0.06
    assert of(swapped)[0] < 0.2


def test_distance_ratio_where_it_is_known():
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (400, 4, 4, 1))
    parts = {"image": image, "reconstruction": image}
    assert reconstruction.distance_ratio(parts) == 0.0
    parts["reconstruction"] = rng.integers(0, 256, image.shape)
    assert reconstruction.distance_ratio(parts) == pytest.approx(1.0, abs=0.05)
    parts["reconstruction"] = np.roll(image, 1, axis=0)
    with np.errstate(divide="ignore"):
        assert reconstruction.distance_ratio(parts) == np.inf
    with pytest.raises(UserError, match="2 images. Received: 1"):
        reconstruction.distance_ratio({k: v[:1] for k, v in parts.items()})


def test_what_is_no_metric(registry, model):
    there = context.Context(model, small.images())
    taken = metric.Metric("rate_nats", "again")
    with pytest.raises(UserError, match="Received: 'rate_nats', which is taken"):
        metric.register(taken)(lambda context: 1.0)
    with pytest.raises(UserError, match="Received: 'a', which is taken"):
        metric.register(metric.Metric("a"), metric.Metric("a"))(lambda context: {})
    for bad in (
        {"split": "test"},
        {"kinds": ("sound",)},
    ):
        with pytest.raises(UserError, match="A measurement needs metrics"):
            metric.register(metric.Metric("a"), **bad)
    with pytest.raises(UserError, match="did you mean 'rate_aux_nats'.*'rate_au_nats'"):
        metric.find("rate_au_nats")
    results = [
        ({"b": 1.0}, UserError, "'b': 1.0"),
        ("much", UserError, "it must return a dict"),
    ]
    results += [({"a": None}, UserError, "'a': None")]
    results += [(float("nan"), NotFiniteError, "The metric a is not finite")]
    for given, error, message in results:
        measurement = metric.Measurement(
            lambda context, given=given: given,
            (metric.Metric("a"),), ("held_out",), ("images",), True,
        )  # fmt: skip
        with pytest.raises(error, match=message):
            metric._numbers(measurement, there)
    with pytest.raises(UserError, match="no examples of this split"):
        there.of("training")
    there.limits = context.Limits(importance_samples=6)
    with pytest.raises(UserError, match="power of two, at most 1024. Received: 6"):
        metric.measure(there)


def test_how_numbers_are_shown():
    rate = metric.find("rate_nats")
    assert rate.text(float(units.nats(103.523))) == "103.52"
    assert rate.axis("image") == "rate under the training prior (bits per image)"
    probe = metric.find("probe_accuracy")
    assert probe.text(0.2954) == "29.5" and probe.axis() == "linear probe accuracy (%)"
    bound = metric.find("nelbo_bpd")
    numbers = {"nelbo_bpd": 4.0621, "nelbo_bpd_stderr": 0.00624}
    assert tables.cell(bound, numbers) == "4.062 +- 0.006"
    assert tables.cell(bound, {}) == ""
