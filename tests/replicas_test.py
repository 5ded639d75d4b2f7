"""Two logical replicas train as one does, noise and all."""

import json
import subprocess
import sys

import numpy as np

# Collectives of two sizes do not fit into one process.
_PROGRAM = """
import json, sys
import numpy as np
from data import batches, digits
from deltavae_tf.training import checkpoints, loop, run_folder, strategy
from experiments import build, hparams

replicas, path = int(sys.argv[1]), sys.argv[2]
h = hparams.hparams(
    "digits_tiny",
    "dropout=0.2,clip_norm=1,learning_rate_schedule=constant,adam_epsilon=1e-3,"
    "method=geco,geco_distortion_bpd=2")  # Its state is of the whole batch.
folder = run_folder.RunFolder(path)
folder.claim("digits", h.to_dict())
scope = strategy.make(num_gpus=replicas)
with scope.scope():
    model = build.image_model(h, digits.IMAGE_SHAPE, digits.NUM_LEVELS)
    state = loop.State(model, folder, "x", ema_decay=0.9)
settings = loop.Settings(train_steps=6, eval_every=6, log_every=3, progress=False)
loop.run(
    state,
    lambda step: batches.training_batches(digits.load("train"), 8, 0, step),
    folder, settings, strategy=scope)
arrays = checkpoints.variables_to_arrays(state.sections)
np.savez(path + "/final.npz", **{k.replace("/", "_"): v for k, v in arrays.items()})
"""


def test_two_replicas_equal_one(tmp_path):
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", _PROGRAM, str(n), str(tmp_path / str(n))]
        )
        for n in (1, 2)
    ]
    assert [process.wait(timeout=300) for process in processes] == [0, 0]
    one, two = (np.load(tmp_path / str(n) / "final.npz") for n in (1, 2))
    assert sorted(one.files) == sorted(two.files)
    for name in one.files:
        # Float32's own error. (At Adam's usual epsilon the biases of attention keys,
        # whose true gradient is 0, would show nothing but that.)
        np.testing.assert_allclose(one[name], two[name], atol=2e-5, err_msg=name)
    rows = [
        [json.loads(x) for x in open(tmp_path / str(n) / "metrics.jsonl")]
        for n in (1, 2)
    ]
    for row, other in zip(*rows, strict=True):
        for name in set(row) - {"steps_per_second"}:
            np.testing.assert_allclose(row[name], other[name], rtol=1e-4, err_msg=name)
