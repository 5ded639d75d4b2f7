"""A step's floor and profile against sums by hand; no time is asserted."""

import dataclasses
import json
import types

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.tsl.profiler.protobuf import xplane_pb2

from benchmarks import profile
from experiments import plan, sets
from experiments.runs import costs, machine

RATES = machine.Rates("float32", 2e9, 4e9, 1e9)


def operation(kind, matrix, flops, size, times=1):
    return costs.Operation(kind, False, matrix, flops, size, times)


OPERATIONS = [
    operation("MatMul", True, 8_000_000, 1_000_000),  # 2 ms of products, 1 of memory.
    operation("MatMul", True, 4_000_000, 3_000_000, times=2),  # 1 of products, 3.
    operation("Mul", False, 7, 500_000),
]


def test_a_floor_by_hand():
    counted = costs.Costs(1, OPERATIONS, 0, 2_000_000, 0)
    found = machine.floor(counted, RATES)
    # 16 MFLOP at the faster of the two rates; 7 MB and the update's 2; no Mul.
    assert found == pytest.approx({"products": 4, "bytes, fused": 9, "sum": 13})
    found = machine.floor(counted, RATES, step_seconds=0.026)
    assert found["step"] == pytest.approx(26)
    assert found["step / products"] == pytest.approx(6.5)
    assert found["step / sum"] == pytest.approx(2)


def test_each_operation_has_the_floor_of_what_bounds_it():
    assert profile.floors(OPERATIONS, RATES) == pytest.approx(
        {"MatMul": 2 + 2 * 3, "Mul": 0.5}
    )


def test_a_profile_by_hand():
    space = xplane_pb2.XSpace()
    for plane_name in ("/host:CPU", "/another"):
        plane = space.planes.add(name=plane_name)
        names = ["a/b:_MklMatMul", "c:MatMul", "d:Mul", "Executor::Run", "Step: f"]
        for i, name in enumerate(names):
            plane.event_metadata[i].name = name
            plane.lines.add().events.add(metadata_id=i, duration_ps=(i + 1) * 10**9)
        plane.lines[0].events.add(metadata_id=2, duration_ps=10**9)
    found = profile.by_kind(space.SerializeToString())
    assert found == {"MatMul": (2, pytest.approx(3)), "Mul": (2, pytest.approx(4))}
    rows = profile.rows(found, {"Mul": 0.5})
    assert [row["operation"] for row in rows] == ["Mul", "MatMul"]
    assert [row["share"] for row in rows] == pytest.approx([4 / 7, 3 / 7])
    assert [row["floor_ms"] for row in rows] == [0.5, 0.0]


@pytest.mark.parametrize(
    "kind, expected",
    [
        ("_MklNativeConv2D", "Conv2D"),
        ("_MklEinsum", "Einsum"),
        ("_FusedConv2D", "_FusedConv2D"),
        ("Mul", "Mul"),
    ],
)
def test_an_operation_has_one_name(kind, expected):
    assert profile.plain(kind) == expected


def test_a_step_runs_on_an_arbitrary_batch():
    seen = {}

    def train_step(batch):
        seen.update(batch)
        return {"loss": tf.reduce_sum(batch["mask"])}

    model = types.SimpleNamespace(
        trainable_variables=[],
        optimizer=types.SimpleNamespace(build=lambda variables: None),
        train_step=train_step,
    )
    spec = {
        "image": tf.TensorSpec([2, 4, 4, 1], tf.uint8),
        "index": tf.TensorSpec([2], tf.int32),
        "mask": tf.TensorSpec([2], tf.float32),
    }
    assert float(machine.step(model, spec)()["loss"]) == 2
    assert {k: (v.shape, v.dtype) for k, v in seen.items()} == {
        k: (v.shape, v.dtype) for k, v in spec.items()
    }


def test_what_is_timed_is_called_in_turn():
    calls = []

    def function(name):
        return lambda: calls.append(name) or tf.constant(1.0)

    found = machine.medians({name: function(name) for name in "ab"}, rounds=2)
    assert set(found) == {"a", "b"} and min(found.values()) >= 0
    assert (
        "".join(calls) == 3 * "aabb"
    )  # A round to warm up; a call, and one that counts.


def test_both_tables_are_text():
    floor = {"products": 217.0, "step": 442.0, "step / products": 2.037}
    rows = profile.rows({"Conv2D": (3, 9.0), "Rare": (1, 0.01)}, {"Conv2D": 6.0})
    lines = profile.text({"floor_ms": floor, "operations": rows}).splitlines()
    assert lines[1].split() == ["step", "442", "ms"]
    assert lines[2].split()[-1] == "2.037"  # A ratio has no unit.
    assert lines[-1].split() == ["Conv2D", "3", "9.000", "0.999", "6.000"]
    found = {"hardware": "this", "rates": dataclasses.asdict(RATES), "floor": floor}
    words = plan.text_here("digits_tiny", sets.hparams("digits_tiny"), found)
    assert "memory 1.0 GB/s" in words
    assert words.splitlines()[-2].split() == ["step", "442", "ms"]


@pytest.mark.slow
def test_the_programs_numbers(tmp_path, capsys):
    path = tmp_path / "profile.json"
    profile.main(["--hparams_set=digits_tiny", "--steps=2", f"--output={path}"])
    found = json.loads(path.read_text())
    assert "MatMul" in capsys.readouterr().out
    ms = {row["operation"]: row["ms"] for row in found["operations"]}
    assert min(ms.values()) >= 0 < ms["Conv2D"]
    assert np.isclose(sum(row["share"] for row in found["operations"]), 1)
    floor = {row["operation"]: row["floor_ms"] for row in found["operations"]}
    assert floor["Conv2D"] > 0 < floor["Mul"]
    assert "/" not in found["measured"]["hardware"]
    text = plan.text_here("digits_tiny", sets.hparams("digits_tiny"), {
        "hardware": "this", "rates": found["rates"], "floor": found["floor_ms"],
    })  # fmt: skip
    assert "step / products" in text and "GFLOP/s" in text
