"""The record of an evaluation: one form, checked; and what it says in one line."""

import copy
import json
import math

import pytest

from deltavae_tf import units
from deltavae_tf.errors import UserError
from deltavae_tf.evaluation import record, tables, verdict


def example(step=7, held_out=None, training=None, weights=("raw",), **data):
    numbers = {"held_out": held_out or {}, "training": training or {}}
    about = {"name": "x/test", "note": "", "num_examples": 9}
    about = {"problem": "x", "kind": "images", "held_out": about, "training": None}
    return {
        "schema": 1, "experiment": "x", "step": step, "hparams": {"a": 1},
        "random_seed": 0, "data": {**about, **data}, "model": {"parameters": 5},
        "weights": {name: copy.deepcopy(numbers) for name in weights},
    }  # fmt: skip


def test_written_and_read_again(tmp_path):
    kept = example(held_out={"rate_nats": 0.1 + 0.2, "num_examples": 9})
    path = tmp_path / record.FILE
    record.write(path, kept)
    assert record.read(path) == record.read(tmp_path) == kept
    assert type(record.read(path)["weights"]["raw"]["held_out"]["num_examples"]) is int


def _with(path, value):
    def change(content):
        *parents, last = path
        for name in parents:
            content = content[name]
        if value is KeyError:
            del content[last]
        else:
            content[last] = value

    return change


@pytest.mark.parametrize(
    "change, message",
    [
        (_with(["schema"], 2), "its 'schema' must be 1. Received: 2"),
        (_with(["schema"], True), "its 'schema' must be 1. Received: True"),
        (_with(["schema"], KeyError), "must be 1. Received: None"),
        (_with(["step"], -1), "'step' must be at least 0. Received: -1"),
        (_with(["step"], 1.5), "'step' must be an integer. Received: 1.5"),
        (_with(["step"], True), "'step' must be an integer. Received: True"),
        (_with(["experiment"], KeyError), "'experiment' must be a name"),
        (_with(["hparams"], []), "'hparams' must be an object"),
        (_with(["random_seed"], "0"), "'random_seed' must be an integer"),
        (_with(["model"], {}), None),
        (_with(["model"], 5), "'model' must be an object. Received: 5"),
        (_with(["data", "kind"], "sound"), "'kind' must be one of"),
        (_with(["data", "problem"], None), "'problem' must be a name"),
        (_with(["data", "held_out"], None), "'held_out' must be an object"),
        (_with(["data", "held_out", "num_examples"], "9"), "'num_examples' must be"),
        (_with(["data", "training"], 3), "'training' must be an object or null"),
        (_with(["weights"], {}), "'weights' must hold some of"),
        (_with(["weights", "best"], {}), "Received: \\['best', 'raw'\\]"),
        (_with(["weights", "raw", "training"], KeyError), "'training' must be"),
        (_with(["weights", "raw", "held_out"], {"a": "1"}), "'a' of raw, held_out"),
        (_with(["weights", "raw", "held_out"], {"a": True}), "must be a number"),
        (_with(["weights", "raw", "held_out"], {"a": math.nan}), "Received: nan"),
        (_with(["weights", "raw", "held_out"], {"a": math.inf}), "Received: inf"),
        (_with(["weights", "raw", "held_out"], {"a": 10**400}), "Received: 1000"),
    ],
)  # fmt: skip
def test_what_is_no_record(tmp_path, change, message):
    content = example(held_out={"a": 1.0})
    change(content)
    path = tmp_path / "evaluation.json"
    path.write_text(json.dumps(content))
    if message is None:
        assert record.read(path) == content
        return
    with pytest.raises(UserError, match=message) as caught:
        record.read(path)
    assert str(caught.value).startswith(f"{path} is no record of an evaluation: ")
    assert len(str(caught.value)) < 400
    # It is not written either, and what was there stays.
    before = path.read_bytes()
    with pytest.raises(UserError, match=message):
        record.write(path, content)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["evaluation.json"]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"[" * 100_000,
        b"[]",
        b"null",
        b"7",
        b'"x"',
        b"1" * 10_000,
    ],
)
def test_what_is_no_json_or_no_object(tmp_path, content):
    path = tmp_path / "evaluation.json"
    path.write_bytes(content)
    with pytest.raises(UserError, match="evaluation.json is no .*Received: "):
        record.read(path)


def test_files_that_are_not_there_or_too_large(tmp_path):
    with pytest.raises(UserError, match="There must be a file.*not there"):
        record.read(tmp_path)
    path = tmp_path / "evaluation.json"
    with path.open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(UserError, match="too large"):
        record.read(path)


def test_two_evaluations_of_the_same_weights_become_one(tmp_path):
    path = tmp_path / "evaluation.json"
    both = ("raw", "average")
    first = example(held_out={"rate_nats": 1.0, "x": 4.0}, weights=both)
    whole = {"name": "x/train", "note": "", "num_examples": 30}
    second = example(held_out={"rate_nats": 2.0}, training={"active_units": 3})
    second["data"]["training"] = whole
    assert record.update(path, first) == first
    merged = record.update(path, second)
    assert merged == record.read(path)
    assert merged["weights"]["raw"] == {
        "held_out": {"rate_nats": 2.0, "x": 4.0},
        "training": {"active_units": 3},
    }
    assert merged["weights"]["average"]["held_out"] == {"rate_nats": 1.0, "x": 4.0}
    assert merged["data"]["training"] == whole
    # The cheap one after the full one takes nothing away.
    merged = record.update(path, first)
    assert merged["weights"]["raw"]["training"] == {"active_units": 3}
    assert merged["data"]["training"] == whole


@pytest.mark.parametrize(
    "changes",
    [
        {"step": 8},
        {"hparams": {"a": 2}},
        {"random_seed": 1},
        {"experiment": "y"},
    ],
)
def test_other_weights_keep_nothing_of_the_older(changes):
    old = example(held_out={"rate_nats": 1.0, "x": 4.0})
    new = {**example(held_out={"rate_nats": 2.0}), **changes}
    assert record.merge(old, new) == new
    other = example(held_out={"rate_nats": 2.0})
    other["data"]["held_out"]["note"] = "first 3 of 9 images"
    assert record.merge(old, other) == other


def test_numbers_of_more_or_fewer_examples_are_not_mixed():
    old = example(held_out={"num_examples": 9, "rate_nats": 1.0, "x": 4.0})
    new = example(held_out={"num_examples": 5, "rate_nats": 2.0})
    assert record.merge(old, new) == new
    new = example(held_out={"num_examples": 9, "rate_nats": 2.0})
    assert record.merge(old, new)["weights"]["raw"]["held_out"]["x"] == 4.0


def test_a_damaged_file_is_not_overwritten(tmp_path):
    path = tmp_path / "evaluation.json"
    path.write_text("{")
    with pytest.raises(UserError, match="is no JSON"):
        record.update(path, example())
    assert path.read_text() == "{"


def test_flat_numbers():
    kept = example(
        held_out={"rate_nats": 1.0, "probe_accuracy": 0.5, "theirs": 1},
        training={"rate_nats": 3.0, "active_units": 2, "distortion_nats": 9.0},
        weights=("raw", "average"),
    )
    kept["weights"]["raw"]["held_out"]["rate_nats"] = 7.0
    # What is measured of both splits is not taken from the other one.
    assert record.numbers(kept) == {
        "rate_nats": 1.0, "probe_accuracy": 0.5, "theirs": 1, "active_units": 2
    }  # fmt: skip
    assert record.numbers(kept, weights="raw")["rate_nats"] == 7.0
    assert record.numbers(kept, "training")["rate_nats"] == 3.0
    assert record.best_weights(kept) == "average" and record.is_full(kept)
    assert not record.is_full(example(held_out={"rate_nats": 1.0}))


def test_rounded():
    found = record.rounded({"a": [1.23456789012, 3, "x"], "b": None}, 6)
    assert found == {"a": [1.23457, 3, "x"], "b": None}


def line(kind="images", **bits):
    nats = {f"{k}_nats": float(units.nats(v)) for k, v in bits.items()}
    nats.update({k: v for k, v in bits.items() if k in ("gain",)})
    if kind == "text":
        nats["rate_aux_per_token"] = 0.0125
    return verdict.line(example(held_out=nats, kind=kind))


def test_verdicts():
    assert line(rate=80.0, rate_aux=7.13, information_frontier=17.04) == (
        "latents carry 7.1 bits of at most 17.0 at this rate (by the auxiliary rate)"
    )
    assert line(rate=20.0, rate_aux=0.004) == (
        "collapsed: latents carry 0.004 bits (by the auxiliary rate)"
    )
    # A rate that is spent alike on every image is no information.
    information = {"mutual_information": 3.2, "mutual_information_limit": 10.97}
    assert line(rate=453.0, rate_aux=19.2, **information) == (
        "latents carry 3.2 bits (by the I(x; z), which cannot exceed 10.97 bits, log N;"
        " auxiliary rate 19.20 bits)"
    )
    # Near its limit the estimate says only that there is no less.
    information["mutual_information"] = 10.9
    told = line(rate=453.0, rate_aux=19.2, **information)
    assert told.startswith(
        "latents carry 19.2 bits (by the auxiliary rate; I(x; z) 10.9"
    )
    assert "saves 0.93 bits" in line(rate=9.0, rate_aux=5.0, gain=0.93)
    assert line("text", rate=5.0, rate_aux=0.05) == (
        "collapsed: latents carry 0.0125 nats per token (0.05 bits a sentence) "
        "(by the auxiliary rate)"
    )
    assert line(rate=0.0, rate_aux=0.0, distortion=118.9) == (
        "decoder alone, without latents: 118.9 bits of distortion"
    )
    assert line() == "No verdict: no rate was measured."


def test_tables():
    kept = example(
        held_out={"nelbo_bpd": 4.0621, "nelbo_bpd_stderr": 0.00624, "theirs": 2},
        training={"nelbo_bpd": 3.9, "active_units": 12},
        weights=("raw", "average"),
    )
    del kept["weights"]["raw"]["training"]["active_units"]
    rows = {row.pop(""): list(row.values()) for row in tables.of_record(kept)}
    assert list(tables.of_record(kept)[0])[-1] == "averaged weights, training"
    assert rows["negative ELBO (bits/dim)"][0] == "4.062 +- 0.006"
    assert rows["active units"] == ["-", "-", "-", "12"]
    assert rows["theirs"] == ["2", "2", "-", "-"]  # Declared by nobody here.
    short = tables.of_weights(kept)
    assert [list(row) for row in short] == [["", "bits/dim"]] * 2
    assert tables.markdown(["a", "b"], [["1", "2"]]) == (
        "| a | b |\n| --- | --- |\n| 1 | 2 |"
    )
