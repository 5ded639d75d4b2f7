"""Users' own models: right numbers, or one line of ours and nothing moved."""

import json
import os
import pathlib
import re
import subprocess
import sys

import keras
import pytest

from deltavae_tf import backend, errors
from tests import users_random, users_right, users_wrong

ROOT = pathlib.Path(__file__).parents[1]
on_tensorflow = pytest.mark.skipif(
    backend.name != "tensorflow", reason="tf.data and strategies are TensorFlow's"
)


def cases(table):
    """(name, place) of a table on this backend."""
    found = []
    for name in table:
        if name in users_right.NEEDS_TENSORFLOW and backend.name != "tensorflow":
            continue
        for place in users_right.places(name):
            quick = place.mode == "eager" or name in ("9 examples by 4", "SGD")
            marks = [] if quick else [pytest.mark.slow]  # Graphs take long to make.
            key = f"{name}, {place.mode}"
            found.append(pytest.param(name, place, id=key, marks=marks))
    return found


@pytest.mark.parametrize("name, place", cases(users_right.LOSSES))
def test_a_right_model_reports_the_mean_over_examples(name, place):
    users_right.check(users_right.run(users_right.LOSSES, name, place))


@pytest.mark.parametrize("name, place", cases(users_right.OPTIMIZERS))
def test_an_optimizer_makes_the_steps_that_it_says(name, place):
    users_right.check(users_right.run(users_right.OPTIMIZERS, name, place))


@pytest.fixture(scope="module")
def on_replicas(tmp_path_factory):
    """What came out on two replicas."""
    path = tmp_path_factory.mktemp("replicas") / "results.json"
    command = [sys.executable, "-m", "tests.users_replicas", str(path)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""}
    subprocess.run(command, cwd=ROOT, env=environment, check=True, timeout=900)
    return json.loads(path.read_text())


@on_tensorflow
@pytest.mark.slow
def test_two_replicas_are_one_device(on_replicas):
    wrong, not_there = {}, dict(users_right.NOT_ON_REPLICAS)
    for name, (_, words) in users_wrong.COMPILE_ON_REPLICAS.items():
        not_there[f"compile {name}"] = words
    for key, result in on_replicas.items():
        refused = not_there.get(key.rsplit(",", 1)[0])
        if isinstance(result, str):
            if not (refused and result.startswith("refused") and refused in result):
                wrong[key] = result
            continue
        try:
            users_right.check(result)
        except AssertionError as error:
            wrong[key] = str(error)
    assert not wrong, (
        f"{len(wrong)} of {len(on_replicas)}: {json.dumps(wrong, indent=1)}"
    )


@pytest.mark.parametrize("name", users_wrong.TABLE)
def test_a_wrong_model_is_one_line_and_nothing_moves(name):
    entry = users_wrong.TABLE[name]
    words = re.compile(entry.words, re.S | re.I)
    try:
        model = entry.make()
        model.compile(keras.optimizers.SGD(0.1), run_eagerly=True)
    except errors.UserError as error:  # Refused before anything could happen.
        assert words.search(str(error)), error
        check_line(error)
        return
    assert entry.calls != ("make",), "The constructor took it."
    for call in entry.calls:
        before = users_wrong.state(model)
        with pytest.raises(errors.UserError, match=words) as caught:
            users_wrong.call(call, model, entry.data())
        check_line(caught.value)
        assert users_wrong.same(before, users_wrong.state(model)), call


def check_line(error):
    """Ours: what was received stands at the end."""
    assert "Received: " in str(error), error
    assert len(str(error)) < 600, error


def right(**kwargs):
    """A right model after a step, and its data."""
    model, x = users_wrong.vae(**kwargs), users_wrong.floats()
    model.compile(keras.optimizers.Adam(0.01), clip_norm=3.0, run_eagerly=True)
    model.train_on_batch(x)
    return model, x


@pytest.mark.parametrize("call", users_wrong.WEIGHTED)
@pytest.mark.parametrize("name", users_wrong.WEIGHTS)
def test_bad_sample_weights_are_refused_and_nothing_moves(name, call):
    model, x = right()
    before, weight = users_wrong.state(model), users_wrong.WEIGHTS[name]
    given = {} if call.endswith("batch") else {"verbose": 0}
    with pytest.raises(errors.UserError, match="weight"):
        getattr(model, call)(x, sample_weight=weight, **given)
    assert users_wrong.same(before, users_wrong.state(model))


@pytest.mark.parametrize("name", users_wrong.COMPILE)
def test_what_compile_cannot_do_is_refused_and_nothing_moves(name):
    model, x = right()
    before, optimizer = users_wrong.state(model), model.optimizer
    arguments, words = users_wrong.COMPILE[name]
    arguments = {k: v() if callable(v) else v for k, v in arguments.items()}
    with pytest.raises(errors.UserError, match=words) as caught:
        model.compile(**{"optimizer": "sgd", **arguments})
    check_line(caught.value)
    assert model.optimizer is optimizer
    assert users_wrong.same(before, users_wrong.state(model))
    model.train_on_batch(x)


REFUSED_DATA = [name for name in users_wrong.TABLE if name.startswith("data: ")]


@pytest.mark.parametrize("name", REFUSED_DATA)
def test_refused_data_moves_nothing_of_a_trained_model(name):
    entry, (model, x) = users_wrong.TABLE[name], right()
    words = re.compile(entry.words, re.S | re.I)
    before = users_wrong.state(model)
    for call in entry.calls:
        with pytest.raises(errors.UserError, match=words):
            users_wrong.call(call, model, entry.data())
        assert users_wrong.same(before, users_wrong.state(model)), call
    model.train_on_batch(x)  # And it goes on.


@pytest.mark.parametrize(
    "first",
    [0] + [pytest.param(i, marks=pytest.mark.slow) for i in range(25, 300, 25)],
)
def test_random_users(first):
    results = [users_random.run(seed) for seed in range(first, first + 25)]
    assert results.count("right") >= 12, results


def test_a_run_of_tf_data_is_refused_before_its_first_step():
    """On a model that has weights the stream is looked at as it comes."""
    on = pytest.importorskip("tensorflow")
    model = users_wrong.vae(
        decoder=users_wrong.Decoder(users_wrong.categorical, **users_wrong.CATEGORIES)
    )
    model.compile(keras.optimizers.SGD(0.1))
    good = users_wrong.counts()
    bad = good + 7
    model.fit(good, verbose=0)
    before = users_wrong.state(model)
    with pytest.raises(errors.UserError, match=r"\[0, 6\].*Received"):
        model.fit(on.data.Dataset.from_tensor_slices(bad).batch(3), verbose=0)
    assert users_wrong.same(before, users_wrong.state(model))
    later = on.data.Dataset.from_tensor_slices([*good, *bad]).batch(3)
    with pytest.raises(errors.UserError, match=r"\[0, 6\].*Received"):
        model.evaluate(later, verbose=0)


def test_a_term_that_becomes_nan_ends_fit_and_is_named():
    model, x = right()
    model.compile(keras.optimizers.SGD(1e30))
    words = "`(distortion|rate)_nats` is not finite at batch"
    with pytest.raises(errors.NotFiniteError, match=words):
        model.fit(x, batch_size=1, epochs=3, verbose=0)
