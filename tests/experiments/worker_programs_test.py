"""Two workers on one machine, found through TF_CONFIG: real processes, real sockets."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from deltavae_tf.evaluation import record
from deltavae_tf.training import checkpoints, run_folder
from tests import testing

ROOT = pathlib.Path(__file__).parents[2]
STEPS, EVERY = 60, 10
PROGRAM = [
    *("-m", "experiments.digits", "--hparams_set=digits_tiny"),
    *(f"--train_steps={STEPS}", f"--local_eval_frequency={EVERY}"),
    "--iterations_per_loop=5",
]
# As in replicas_test: an epsilon that float32's own error does not reach.
WHOLE = "--hparams=dropout=0.1,adam_epsilon=1e-3,learning_rate_schedule=constant"
# Where it is processes that are tested: a graph that is built quickly.
SMALL = f"{WHOLE},method=autoregressive,decoder_layers=1"


RUNNING = []


@pytest.fixture(autouse=True)
def no_child_stays():
    yield
    while RUNNING:
        RUNNING.pop().kill()


def start(folder, log, model, ports=(), index=0, *flags):
    """Starts the program: alone, or as worker `index` of those at `ports`."""
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2"}
    environment.pop("TF_CONFIG", None)
    if ports:
        addresses = [f"localhost:{port}" for port in ports]
        task = {"type": "worker", "index": index}
        config = {"cluster": {"worker": addresses}, "task": task}
        environment["TF_CONFIG"] = json.dumps(config)
    process = subprocess.Popen(
        [sys.executable, *PROGRAM, model, f"--output_dir={folder}", *flags],
        cwd=ROOT,
        env=environment,
        stdout=open(f"{log}.out", "a"),
        stderr=open(f"{log}.err", "a"),
    )
    RUNNING.append(process)
    return process


def all_end_well(processes):
    """Whether they end with status 0; the first that does not is enough to know."""
    limit = time.monotonic() + 600
    while time.monotonic() < limit:
        codes = [p.poll() for p in processes]
        if any(codes) or None not in codes:
            return not any(codes)
        time.sleep(0.1)
    return False


def assert_same_run(folder, alone):
    """Final weights, rows and evaluation equal a single process's."""
    last = f"checkpoints/step-{STEPS:08d}.npz"
    found, expected = (checkpoints.read(str(f / last)).arrays for f in (folder, alone))
    assert list(found) == list(expected)
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, atol=1e-4, err_msg=name)
    rows = [run_folder.read_metrics(str(f)) for f in (folder, alone)]
    records = [record.read(f) for f in (folder, alone)]
    assert records[0]["data"] == records[1]["data"]
    rows += [
        [record.numbers(found, weights=weights) for weights in record.WEIGHTS]
        for found in records
    ]
    assert [row["step"] for row in rows[0]] == list(range(EVERY, STEPS + 1, EVERY))
    for row, other in zip(rows[0] + rows[2], rows[1] + rows[3], strict=True):
        assert row.keys() == other.keys()
        for name in set(row) - {"steps_per_second"}:
            np.testing.assert_allclose(row[name], other[name], rtol=1e-3, err_msg=name)


def start_pair(folder, logs, model, *flags):
    """A function that starts worker i of two."""
    ports = testing.free_ports(2)
    return lambda i: start(folder, logs / f"worker{i}", model, ports, i, *flags)


@pytest.mark.slow
def test_two_workers_equal_one_process(tmp_path):
    alone, folder = tmp_path / "alone", tmp_path / "run"
    worker = start_pair(folder, tmp_path, WHOLE)
    single = start(alone, tmp_path / "single", WHOLE)
    assert all_end_well([single, worker(0), worker(1)])
    assert_same_run(folder, alone)
    # The chief alone writes and speaks.
    assert (tmp_path / "worker1.out").read_text() == ""
    assert "averaged weights" in (tmp_path / "worker0.out").read_text()
    assert len(list(folder.glob("events.out.tfevents*"))) == 1


@pytest.mark.slow
def test_either_worker_may_be_killed(tmp_path):
    """The other one starts anew and waits until the killed one is started again."""
    alone, folder = tmp_path / "alone", tmp_path / "run"
    worker = start_pair(folder, tmp_path, SMALL)
    pair = [worker(0), worker(1)]
    for victim, before in ((1, 1), (0, 3)):
        while len(list(folder.glob("checkpoints/step-*.npz"))) < before:
            assert [p.poll() for p in pair] == [None, None]
            time.sleep(0.02)
        pair[victim].send_signal(signal.SIGKILL)
        pair[victim].wait()
        pair[victim] = worker(victim)
    assert all_end_well([*pair, start(alone, tmp_path / "single", SMALL)])
    assert_same_run(folder, alone)
    said = [(tmp_path / f"worker{i}.err").read_text() for i in (0, 1)]
    assert "Going on from the checkpoint" in said[0]
    assert all("Another worker is lost" in text for text in said)


@pytest.mark.slow
def test_sigterm_to_one_worker_stops_both_at_the_same_step(tmp_path):
    folder = tmp_path / "run"
    worker = start_pair(folder, tmp_path, SMALL, "--train_steps=100000")
    pair = [worker(0), worker(1)]
    while not list(folder.glob("checkpoints/step-*.npz")):
        assert [p.poll() for p in pair] == [None, None]
        time.sleep(0.02)
    pair[1].send_signal(signal.SIGTERM)
    assert all_end_well(pair)
    said = [(tmp_path / f"worker{i}.err").read_text() for i in (0, 1)]
    steps = [int(s.split(" after step ")[1].split(";")[0]) for s in said]
    assert steps[0] == steps[1] and "another worker's signal" in said[0]
    found = checkpoints.read(str(folder / f"checkpoints/step-{steps[0]:08d}.npz"))
    assert found.step == steps[0]
