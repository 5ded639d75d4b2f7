"""Whole runs on JAX, without TensorFlow; and that they are TensorFlow's runs.

`make test-jax` runs this. What compares with TensorFlow starts a process of the
product's environment, and is skipped where there is none.
"""

import argparse
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from data import digits
from deltavae_tf import backend
from deltavae_tf.evaluation import likelihood, record
from deltavae_tf.training import checkpoints, engines, run_folder
from experiments import sets
from experiments.runs.inputs import batches
from experiments.runs.options import Options
from experiments.runs.run import Run

ROOT = pathlib.Path(__file__).parents[2]
TENSORFLOW = ROOT / ".venv" / "bin" / "python"
# Adam divides by the root of tiny squares: without the epsilon the last bits of a
# gradient near 0 would be the first of a step.
SAME = "dropout=0.2,clip_norm=1,learning_rate_schedule=constant,adam_epsilon=1e-3"

pytestmark = pytest.mark.skipif(
    backend.name != "jax", reason="JAX is absent: `make test-jax` runs this"
)


_KEPT = """
import jax
from experiments import quiet
quiet.libraries()
jax.jit(lambda x: x * 3)(2.0)
print(jax.config.jax_compilation_cache_dir)
"""


@pytest.mark.parametrize("chosen", [None, "mine"])
def test_programs_keep_what_jax_compiles(tmp_path, chosen):
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path)}
    environment.pop("JAX_COMPILATION_CACHE_DIR", None)
    if chosen:
        environment["JAX_COMPILATION_CACHE_DIR"] = str(tmp_path / chosen)
    found = subprocess.run(
        [sys.executable, "-c", _KEPT], cwd=ROOT, env=environment,
        capture_output=True, text=True, check=True, timeout=300,
    )  # fmt: skip
    expected = tmp_path / (chosen or "deltavae_tf/jax")
    assert found.stdout.strip() == str(expected)


def run_in(path, steps=12, overrides=SAME, train=True, **options):
    """Trains in `path`; gives the run, its arrays and its timeless rows."""
    overrides = f"{overrides},train_steps={steps},eval_every=6,eval_steps=2"
    chosen = sets.hparams("digits_tiny", overrides)
    options = {"log_every": 3, "progress": False, "write_samples": False, **options}
    with Run(chosen, Options(output_dir=str(path), **options)) as run:
        if not train:
            run.evaluate()
        run.train()
        if train:
            run.evaluate()
    return run, checkpoints.variables_to_arrays(run.state.sections), rows_in(path)


def rows_in(path):
    rows = run_folder.read_metrics(str(path))
    return [{k: v for k, v in r.items() if k != "steps_per_second"} for r in rows]


def evaluation_in(path):
    """The numbers of raw and of averaged weights."""
    found = record.read(path)
    return {
        f"{weights} {name}": value
        for weights in record.WEIGHTS
        for name, value in record.numbers(found, weights=weights).items()
    }


def assert_same(one, other, **tolerance):
    assert one.keys() == other.keys()
    for name, value in one.items():
        np.testing.assert_allclose(value, other[name], err_msg=name, **tolerance)


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    path = tmp_path_factory.mktemp("jax") / "straight"
    return path, *run_in(path)


def test_resumed_ends_with_the_same_bits_however_many_steps_a_call(straight, tmp_path):
    _, _, arrays, rows = straight
    assert "tensorflow" not in sys.modules
    run_in(tmp_path / "run", 6, iterations_per_loop=2)
    _, again, rows_again = run_in(tmp_path / "run", iterations_per_loop=2)
    assert_same(again, arrays, rtol=0)
    assert [row["step"] for row in rows] == [3, 6, 9, 12]
    assert rows_again == rows


def test_training_moves_weights_average_and_counters(straight):
    _, run, arrays, rows = straight
    assert run.model.steps == run.model.optimizer.iterations == 12
    assert rows[-1]["nelbo_bpd"] < rows[0]["nelbo_bpd"]
    assert rows[-1]["eval_ema_nelbo_bpd"] != rows[-1]["eval_nelbo_bpd"]
    assert arrays["average/00000"].any()
    assert (arrays["average/00000"] != arrays["model/00000"]).any()


def test_run_folder(straight):
    path, _, _, rows = straight
    assert record.read(path)["data"]["held_out"]["num_examples"] == 200
    assert {"grad_norm", "lr", "committed_rate_nats", "rate_aux_bpd"} <= rows[0].keys()
    versions = json.loads((path / "versions.json").read_text())
    assert versions["keras_backend"] == "jax" and "tensorflow" not in versions


def test_compiled_functions_see_the_weights_of_now(straight):
    """JAX takes weights that it was not told of for constants."""
    _, run, _, _ = straight
    data = batches.evaluation_batches(digits.load("test"), 8, 8)
    evaluator = likelihood.Evaluator(run.model)
    unit = likelihood.BitsPerDim(64)
    before = evaluator(data, unit)["nelbo_bpd"], np.asarray(run.model.sample(16))
    kept = [np.array(v.value) for v in run.model.trainable_variables]
    for variable in run.model.trainable_variables:
        variable.assign(variable + 0.1)
    moved = evaluator(data, unit)["nelbo_bpd"], np.asarray(run.model.sample(16))
    for variable, value in zip(run.model.trainable_variables, kept, strict=True):
        variable.assign(value)
    assert abs(moved[0] - before[0]) > 1e-3
    assert (moved[1] != before[1]).any()


@pytest.mark.slow
def test_first_non_finite_step_is_named_and_nothing_is_lost(
    straight, tmp_path, monkeypatch
):
    good = batches.TrainingBatches.columns
    order = batches.training_batches(straight[1].data.training, 8, 0).take(8)

    def columns(self):
        found = good(self)
        found["mask"][order[7, 0]] = np.nan
        return found

    monkeypatch.setattr(batches.TrainingBatches, "columns", columns)
    with pytest.raises(
        FloatingPointError, match="step 8 is not finite.*step 6 is kept"
    ):
        run_in(tmp_path / "run")
    assert os.listdir(tmp_path / "run" / "checkpoints") == ["step-00000006.npz"]
    monkeypatch.undo()
    _, arrays, _ = run_in(tmp_path / "run")
    assert_same(arrays, straight[2], rtol=0)


@pytest.mark.slow
def test_sigterm_saves_and_stops(straight, tmp_path, monkeypatch):
    take = batches.TrainingBatches.take

    def signaled(self, count):
        os.kill(os.getpid(), signal.SIGTERM)
        return take(self, count)

    monkeypatch.setattr(batches.TrainingBatches, "take", signaled)
    stopped, _, _ = run_in(tmp_path / "run", log_every=2)
    assert stopped.state.manager.steps() == [2]
    monkeypatch.undo()
    _, arrays, _ = run_in(tmp_path / "run")
    assert_same(arrays, straight[2], rtol=0)


@pytest.mark.slow
def test_killed_program_ends_as_if_it_was_not(tmp_path):
    """What a user types, twice: once killed by SIGKILL and started again."""
    flags = ["--hparams_set=digits_tiny", "--train_steps=60", "--eval_steps=1"]
    flags += ["--local_eval_frequency=3", "--iterations_per_loop=1"]
    command = [sys.executable, "-m", "experiments.digits", *flags]
    for name in ("straight", "killed"):
        process = subprocess.Popen(
            [*command, f"--output_dir={tmp_path / name}"],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        saved = tmp_path / name / "checkpoints"
        while name == "killed" and process.poll() is None:
            if saved.is_dir() and sum(p.suffix == ".npz" for p in saved.iterdir()) > 2:
                process.kill()
            time.sleep(0.002)
        output, _ = process.communicate()
        assert process.returncode == (-9 if name == "killed" else 0), output.decode()
    steps = [row["step"] for row in rows_in(tmp_path / "killed")]
    assert steps[-1] < 60
    subprocess.run(
        [*command, f"--output_dir={tmp_path / 'killed'}"], cwd=ROOT, check=True
    )
    assert rows_in(tmp_path / "killed") == rows_in(tmp_path / "straight")
    one, other = (
        checkpoints.read(str(tmp_path / name / "checkpoints" / "step-00000060.npz"))
        for name in ("straight", "killed")
    )
    assert_same(one.arrays, other.arrays, rtol=0)
    names = os.listdir(tmp_path / "killed" / "samples")
    assert sum(name.startswith("step-") for name in names) == 20
    assert (tmp_path / "killed" / "report.html").exists()


def other_half(folder):
    """TensorFlow's part of the next test, in a process of its own environment."""
    folder = pathlib.Path(folder)
    run_in(folder / "tf", 6, warm_start_from=str(folder / "start"))
    run_in(folder / "jax_on_tf", 8, train=False)


@pytest.mark.skipif(not TENSORFLOW.exists(), reason="`make test` makes .venv")
def test_both_backends_are_one_run(tmp_path):
    """From one checkpoint both train to the same weights; each evaluates and goes on
    from what the other wrote."""
    run_in(tmp_path / "start", 3)
    _, arrays, rows = run_in(
        tmp_path / "jax", 6, warm_start_from=str(tmp_path / "start")
    )
    shutil.copytree(tmp_path / "jax", tmp_path / "jax_on_tf")
    code = "import sys; from tests.experiments import jax_run_test as here; "
    code += "here.other_half(sys.argv[1])"
    environment = {**os.environ, "KERAS_BACKEND": "tensorflow"}
    subprocess.run(
        [TENSORFLOW, "-c", code, tmp_path], cwd=ROOT, env=environment, check=True
    )
    theirs = checkpoints.read(str(tmp_path / "tf" / "checkpoints/step-00000006.npz"))
    assert_same(arrays, theirs.arrays, rtol=1e-4, atol=2e-6)
    for one, other in zip(rows, rows_in(tmp_path / "tf"), strict=True):
        assert_same(one, other, rtol=1e-4)
    shutil.copytree(tmp_path / "tf", tmp_path / "tf_on_jax")
    run_in(tmp_path / "tf_on_jax", 8, train=False)
    for name in ("jax", "tf"):
        other = evaluation_in(
            tmp_path / f"{name}_on_{'tf' if name == 'jax' else 'jax'}"
        )
        assert_same(other, evaluation_in(tmp_path / name), rtol=1e-5)
    one, other = (
        checkpoints.read(str(tmp_path / name / "checkpoints/step-00000008.npz"))
        for name in ("jax_on_tf", "tf_on_jax")
    )
    assert_same(one.arrays, other.arrays, rtol=1e-4, atol=2e-6)


@pytest.mark.parametrize("change", [{"use_tpu": True}, {"num_gpus": 2}])
def test_what_only_tensorflow_can_do_is_an_error(change):
    with pytest.raises(ValueError, match="one device"):
        engines.make(**change)


@pytest.mark.parametrize("platform", ["cuda", "tpu"])
def test_training_call_lowers_for_accelerators_that_are_not_here(platform):
    from benchmarks import gpu

    kept = []
    for rematerialize in ("false", "true"):
        options = argparse.Namespace(
            hparams_set="digits_tiny",
            hparams=f"dtype=mixed_bfloat16,rematerialize={rematerialize}",
            steps=2,
            lower=platform,
        )
        found = gpu.lower(options)
        assert found["platforms"] == (platform,)
        assert found["module_bytes"] > 10_000
        kept.append(found["kept_bytes"])
    assert kept[1] < kept[0] / 2
