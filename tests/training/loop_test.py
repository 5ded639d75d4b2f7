"""The loop: resumes exactly, stops on the first non-number, saves on SIGTERM."""

import os
import signal
import types

import numpy as np
import pytest
import tensorflow as tf

import deltavae_tf
from data import digits
from data.images import batches
from deltavae_tf import units
from deltavae_tf.training import checkpoints, loop, run_folder
from tests import tiny

STEPS = 12


def small():
    """The decoder alone, where it is the loop that is tested: its graph is built
    quickly."""
    return tiny.image_decoder_alone(decoder_layers=1)


def whole():
    """All of a model, with dropout, and an objective that remembers."""
    geco = deltavae_tf.GECO(units.nats_from_bits_per_dim(2, 64))
    return tiny.image_model(
        dropout=0.1, encoder_layers=1, decoder_layers=1, objective=geco
    )


def start(path, make=small, **kwargs):
    """A fresh process's view of the run in `path`: its state and folder."""
    identity = {"model": make.__name__}
    folder = run_folder.RunFolder(str(path))
    folder.claim("digits", identity)
    fingerprint = checkpoints.fingerprint(identity)
    return loop.State(make(), folder, fingerprint, ema_decay=0.9, **kwargs), folder


def train(path, train_steps=STEPS, poison=None, make=small, **settings):
    state, folder = start(path, make)

    def batches_from(step):
        data = batches.training_batches(digits.load("train"), 8, 0, step)
        return data.map(poison) if poison else data

    arguments = {"eval_every": 6, "log_every": 3, "steps_per_call": 2, **settings}
    arguments = loop.Settings(train_steps=train_steps, progress=False, **arguments)
    with folder:
        reached = loop.run(
            state, batches_from, folder, arguments, evaluate=lambda step: {"x": step}
        )
    has_rows = os.path.exists(folder.metrics)  # Not if stopped before the first.
    rows = run_folder.read_metrics(str(path)) if has_rows else []
    return reached, checkpoints.variables_to_arrays(state.sections), rows


def assert_same(one, other):
    assert one.keys() == other.keys()
    for name, value in one.items():
        np.testing.assert_array_equal(value, other[name], err_msg=name)


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    return train(tmp_path_factory.mktemp("straight") / "run")


def test_resumed_ends_with_the_same_bits(tmp_path):
    straight = train(tmp_path / "straight", make=whole)
    path = tmp_path / "run"
    train(path, train_steps=6, make=whole)
    reached, arrays, rows = train(path, make=whole)
    assert reached == STEPS
    assert_same(arrays, straight[1])
    assert [row["step"] for row in rows] == [3, 6, 9, 12]
    timeless = [
        [{k: v for k, v in row.items() if k != "steps_per_second"} for row in rows]
        for rows in (rows, straight[2])
    ]
    assert timeless[0] == timeless[1]


def test_damaged_newest_checkpoint_falls_back_and_ends_the_same(straight, tmp_path):
    path = tmp_path / "run"
    train(path, train_steps=6)
    train(path, train_steps=9, eval_every=3)
    newest = path / "checkpoints" / "step-00000009.npz"
    newest.write_bytes(newest.read_bytes()[:-1000])
    _, arrays, rows = train(path)
    assert_same(arrays, straight[1])
    assert [row["step"] for row in rows] == [3, 6, 9, 12]


def test_steps_per_call_do_not_matter(straight, tmp_path):
    _, arrays, _ = train(tmp_path / "run", steps_per_call=100)
    assert_same(arrays, straight[1])


def test_training_moves_weights_and_average_follows(straight, tmp_path):
    state, folder = start(tmp_path / "run")
    folder.close()
    before = checkpoints.variables_to_arrays(state.sections)
    moved = [k for k in before if (before[k] != straight[1][k]).any()]
    trainable = len(state.model.trainable_variables)
    for section in ("model", "average"):
        assert sum(k.startswith(section) for k in moved) >= trainable
    assert straight[1]["model/" + _steps_key(state)] == STEPS


def _steps_key(state):
    paths = [v is state.model.steps for v in state.sections["model"]]
    return f"{paths.index(True):05d}"


def test_a_finished_run_does_nothing(tmp_path):
    train(tmp_path / "run", train_steps=6)
    reached, _, rows = train(tmp_path / "run", train_steps=6)
    assert reached == 6 and [row["step"] for row in rows] == [3, 6]


def test_first_non_finite_step_is_named_and_nothing_is_lost(tmp_path, monkeypatch):
    # A mask that is not a number poisons the loss of exactly one step.
    bad_index = None
    data = batches.training_batches(digits.load("train"), 8, 0)
    for step, batch in enumerate(data.take(8), start=1):
        if step == 8:
            bad_index = int(batch["index"][0])

    def poison(batch):
        is_bad = tf.reduce_any(batch["index"] == bad_index)
        factor = tf.where(is_bad, np.nan, 1.0)
        return {**batch, "mask": batch["mask"] * tf.cast(factor, tf.float32)}

    with pytest.raises(
        FloatingPointError, match="step 8 is not finite.*step 6 is kept"
    ):
        train(tmp_path / "run", poison=poison)
    found = os.listdir(tmp_path / "run" / "checkpoints")
    assert found == ["step-00000006.npz"]
    assert run_folder.read_metrics(str(tmp_path / "run"))[-1]["loss"] == "nan"
    # With the poison gone the same folder goes on.
    reached, arrays, rows = train(tmp_path / "run")
    assert reached == STEPS and np.isfinite(arrays["model/00000"]).all()
    assert [row["step"] for row in rows] == [3, 6, 9, 12]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_save_and_stop(number, straight, tmp_path):
    path = tmp_path / "run"
    calls = []

    def send(batch):
        calls.append(1)
        if len(calls) == 1:
            os.kill(os.getpid(), number)
        return batch

    def poison(batch):
        image = tf.numpy_function(lambda x: send(x), [batch["image"]], tf.uint8)
        return {**batch, "image": tf.ensure_shape(image, batch["image"].shape)}

    handler = signal.getsignal(number)
    reached, _, _ = train(path, poison=poison)
    assert 0 < reached < STEPS
    assert signal.getsignal(number) is handler
    _, arrays, _ = train(path)
    assert_same(arrays, straight[1])


def test_a_signal_while_workers_meet_is_for_their_next_meeting():
    """All have to stop after the same step: what the meeting said is what counts."""

    class Engine:
        def any_asked(self, asked):
            interrupts.received = "SIGTERM"
            return asked

    interrupts = types.SimpleNamespace(received="")
    assert not loop._stopped(interrupts, Engine())
    assert loop._stopped(interrupts, Engine())
    assert interrupts.received == "SIGTERM"


def test_lines_off_a_terminal(tmp_path, capfd):
    """The first comes before the first step; the numbers are the tables'."""
    train(tmp_path / "run", train_steps=3)
    first, second = capfd.readouterr().err.splitlines()
    assert first.startswith("step 0/3: ") and first.endswith("next line at step 3")
    row = run_folder.read_metrics(str(tmp_path / "run"))[0]
    assert f"step 3/3: training {row['nelbo_bpd']:.3f} bits/dim (aux " in second


def test_numbers_are_in_the_units_and_digits_of_the_tables():
    bits = {"rate_nats": 3.937, "rate_aux_nats": 7.74, "committed_rate_nats": 3.907}
    row = {"step": 40, "steps_per_second": 0.5, "nelbo_bpd": 9.0, **bits}
    row |= {"nelbo_aux_bpd": 9.0, "eval_nelbo_bpd": 3.0303, "eval_nelbo_aux_bpd": 3.1}
    row |= {f"eval_{name}": value for name, value in bits.items()}
    images = types.SimpleNamespace(unit="bpd", unit_name="bits/dim")
    assert loop._sentence(row, 100, images) == (
        "step 40/100: held-out 3.030 bits/dim (aux 3.100), "
        "rate 5.68 bits (aux 11.17, committed 5.6); 0.50 steps/s, 2.0 min left"
    )
    row["eval_ema_nelbo_bpd"] = 3.0
    assert ": held-out, raw weights, 3.030 bits" in loop._sentence(row, 100, images)
    row = {"nelbo_per_token": 6.6, "nelbo_aux_per_token": 6.5, "rate_per_token": 0.0976}
    row |= {"rate_aux_per_token": 0.0284, "committed_rate_per_token": 0.0925, **bits}
    text = types.SimpleNamespace(unit="per_token", unit_name="nats/token")
    assert loop._numbers(row, "", text) == (
        "6.600 nats/token (aux 6.500), "
        "rate 0.0976 nats/token (aux 0.0284, committed 0.0925)"
    )


def test_xla_trains_too(straight, tmp_path):
    _, arrays, _ = train(tmp_path / "run", jit_compile=True, train_steps=3)
    assert all(np.isfinite(v).all() for v in arrays.values())


def test_save_seconds(tmp_path, monkeypatch):
    train(tmp_path / "run", train_steps=6, save_seconds=1e-9)
    steps = sorted(os.listdir(tmp_path / "run" / "checkpoints"))
    assert steps == ["step-00000003.npz", "step-00000006.npz"]


def test_keep_max(tmp_path):
    state, folder = start(tmp_path / "run", keep_max=2)
    with folder:
        for step in (1, 2, 3):
            state.save(step)
    assert state.manager.steps() == [2, 3]
