r"""Kills a training program hard, again and again, and checks that nothing was lost.

  python benchmarks/kill_drill.py --kills=6 --reference=/tmp/straight \
      --output_dir=/tmp/killed -- python -m experiments.cifar10 ... --schedule=train

The command (everything behind `--`; --output_dir is appended) is started, killed with
SIGKILL at a random moment after it has made a new checkpoint or `--longest` seconds,
and started again; after the last kill it may finish. Then the last checkpoint must
equal the reference run's to the bit, and metrics.jsonl must hold each step once.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import time

import numpy as np


def checkpoints(folder):
    """Names of the whole checkpoints of a run, oldest first."""
    inside = os.path.join(folder, "checkpoints")
    names = os.listdir(inside) if os.path.isdir(inside) else []
    return sorted(name for name in names if name.endswith(".npz"))


def main():
    """Runs the drill; exit status 1 if anything was lost."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=6)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--longest", type=float, default=150.0)
    parser.add_argument("--reference", required=True)
    parser.add_argument("--output_dir", required=True)
    parser.add_argument("command", nargs="+")
    options = parser.parse_args()
    rng = random.Random(options.seed)
    command = [*options.command, f"--output_dir={options.output_dir}"]
    started = time.monotonic()
    for kill in range(options.kills):
        before = checkpoints(options.output_dir)
        process = subprocess.Popen(command, start_new_session=True)
        while checkpoints(options.output_dir) == before and process.poll() is None:
            time.sleep(0.5)
        time.sleep(rng.uniform(0, options.longest / 3))
        if process.poll() is not None:
            sys.exit(f"The program ended by itself: status {process.returncode}")
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        last = checkpoints(options.output_dir)[-1:]
        print(f"kill {kill + 1} after {time.monotonic() - started:.0f} s, {last}")
    subprocess.run(command, check=True)
    print(f"finished after {time.monotonic() - started:.0f} s")

    newest = [checkpoints(f)[-1] for f in (options.reference, options.output_dir)]
    one, other = (
        np.load(os.path.join(folder, "checkpoints", name))
        for folder, name in zip(
            (options.reference, options.output_dir), newest, strict=True
        )
    )
    names = [name for name in one.files if name != "metadata.json"]
    different = [n for n in names if not np.array_equal(one[n], other[n])]
    with open(os.path.join(options.output_dir, "metrics.jsonl"), "rb") as file:
        steps = [json.loads(line)["step"] for line in file]
    twice = len(steps) - len(set(steps))
    print(
        f"{newest[0]} against {newest[1]}: {len(names)} arrays, {len(different)} "
        f"differ; {len(steps)} rows of metrics, {twice} twice; {options.kills} kills"
    )
    sys.exit(int(newest[0] != newest[1] or bool(different) or bool(twice)))


if __name__ == "__main__":
    main()
