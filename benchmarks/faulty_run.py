"""A program of `experiments/` under a fault, for `fault_drill.py`.

  python benchmarks/faulty_run.py FAULT PROGRAM FLAGS...

FAULT is none, slow_disk, poison=STEP or small_files=BYTES.

slow_disk: every array of a checkpoint takes 5 ms, so a kill can hit the middle of one.
poison: the mask of one training batch is not a number. small_files: no file may grow
beyond so many bytes, as on a full disk or under a quota. No samples are drawn: to
compile the sampler takes longer than the run.
"""

import os
import resource
import runpy
import sys
import time

import numpy as np
import tensorflow as tf

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from data.images import batches  # noqa: E402
from experiments.runs import run as runs  # noqa: E402


def slow_disk():
    """Slows the writing of checkpoints."""
    write_array = np.lib.format.write_array

    def slowly(*args, **kwargs):
        time.sleep(0.005)
        return write_array(*args, **kwargs)

    np.lib.format.write_array = slowly


def poison(step):
    """Makes the loss of training step `step` (counted from 1) not a number."""
    good = batches.training_batches

    def poisoned(split, batch_size, seed, start_step=0, **kwargs):
        def spoil(number, batch):
            is_bad = number == step
            mask = batch["mask"] * tf.where(is_bad, np.float32(np.nan), 1.0)
            return {**batch, "mask": mask}

        dataset = good(split, batch_size, seed, start_step, **kwargs)
        return dataset.enumerate(start_step + 1).map(spoil)

    batches.training_batches = poisoned


def small_files(limit):
    """Forbids files above `limit` bytes: writing beyond fails as on a full disk."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))


def main():
    """Arranges the fault and runs the program."""
    fault, _, argument = sys.argv.pop(1).partition("=")
    program = sys.argv.pop(1)
    if fault == "slow_disk":
        slow_disk()
    elif fault == "poison":
        poison(int(argument))
    elif fault == "small_files":
        small_files(int(argument))
    elif fault != "none":
        sys.exit(f"unknown fault {fault!r}")
    runs.Run._write_samples = lambda self, step: None
    runpy.run_module(f"experiments.{program}", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
