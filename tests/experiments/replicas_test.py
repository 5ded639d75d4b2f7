"""Replicas of one process train and evaluate as one device does, noise and all."""

import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from deltavae_tf.evaluation import record
from deltavae_tf.training import run_folder

ROOT = pathlib.Path(__file__).parents[2]

# Collectives of two sizes do not fit into one process.
PROGRAM = """
import sys
import numpy as np
import tensorflow as tf
from data import digits
from deltavae_tf.training import checkpoints, strategy as strategies, tensorflow_engine
from experiments import sets
from experiments.runs import options as run_options, run as runs

replicas, path = int(sys.argv[1]), sys.argv[2]
strategy = strategies.make(num_gpus=replicas)
chosen = sets.hparams(
    "digits_tiny",
    "encoder_layers=1,decoder_layers=1,"  # A graph for each replica is to be built.
    "dropout=0.2,clip_norm=1,learning_rate_schedule=constant,adam_epsilon=1e-3,"
    "method=geco,geco_distortion_bpd=2,"  # Its state is of the whole batch.
    "train_steps=6,eval_every=6,eval_steps=3")
options = run_options.Options(
    output_dir=path, engine=tensorflow_engine.Engine(strategy), log_every=3,
    progress=False, write_samples=False)
with runs.Run(chosen, options) as run:
    run.train()
    run.evaluate()
    arrays = checkpoints.variables_to_arrays(run.state.sections)
    np.savez(path + "/final.npz", **{k.replace("/", "_"): v for k, v in arrays.items()})
    # Without their numbers, equal images on all replicas: is the noise another?
    same = {"image": np.repeat(digits.load("train").image[:1], 8, 0)}
    data = strategies.distribute(tf.data.Dataset.from_tensors(same), strategy)
    terms = tf.function(lambda batch: run.model(batch, training=True))
    one = strategy.run(terms, args=(next(iter(data)),))
    one = strategy.experimental_local_results(one["distortion"])
    np.save(path + "/noise.npy", np.concatenate(one))
    if replicas == 2:  # As on a TPU: drawn by the replicas, not beside them.
        strategies.is_tpu = lambda strategy: True
        drawn = strategies.on_one_replica(lambda: run.model.sample(4), strategy)()
    elif replicas == 1:
        drawn = run.model.sample(4)
    if replicas < 4:  # More would only be longer to compile.
        np.save(path + "/samples.npy", drawn)
"""


def train(folder, replicas):
    """Starts the program; its output goes beside the run's folder."""
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(replicas), str(folder / str(replicas))],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""},
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The folders of runs on 1, 2 and 4 replicas, called so."""
    path = tmp_path_factory.mktemp("runs")
    processes = [train(path, n) for n in (1, 2, 4)]
    assert [process.wait(timeout=900) for process in processes] == [0, 0, 0]
    return path


@pytest.mark.slow
@pytest.mark.parametrize("replicas", [2, 4])
def test_replicas_equal_one(folder, replicas):
    one, many = (folder / str(n) for n in (1, replicas))
    weights, theirs = (np.load(path / "final.npz") for path in (one, many))
    assert sorted(weights.files) == sorted(theirs.files)
    for name in weights.files:
        # Float32's own error. (At Adam's usual epsilon the biases of attention keys,
        # whose true gradient is 0, would show nothing but that.)
        np.testing.assert_allclose(weights[name], theirs[name], atol=2e-5, err_msg=name)
    rows, other_rows = (run_folder.read_metrics(str(path)) for path in (one, many))
    assert [row["step"] for row in rows] == [3, 6]
    assert {"loss", "grad_norm", "eval_ema_nelbo_bpd"} <= set(rows[1])
    evaluations = [record.read(path) for path in (one, many)]
    assert evaluations[0]["data"] == evaluations[1]["data"]
    assert evaluations[0]["data"]["held_out"]["num_examples"] == 200
    for weights in record.WEIGHTS:
        rows.append(record.numbers(evaluations[0], weights=weights))
        other_rows.append(record.numbers(evaluations[1], weights=weights))
    for row, other in zip(rows, other_rows, strict=True):
        assert row.keys() == other.keys()
        for name in set(row) - {"steps_per_second"}:
            np.testing.assert_allclose(row[name], other[name], rtol=1e-4, err_msg=name)
    noise, theirs = (np.load(path / "noise.npy") for path in (one, many))
    assert len(np.unique(noise)) == 8
    np.testing.assert_allclose(noise, theirs, rtol=1e-4)


@pytest.mark.slow
def test_replicas_draw_the_samples_of_one(folder):
    one, two = (np.load(folder / str(n) / "samples.npy") for n in (1, 2))
    np.testing.assert_array_equal(one, two)
