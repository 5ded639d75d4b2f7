r"""What the engine costs: logging and checkpoints, a resume, two workers.

  python -m benchmarks.engine --output=benchmarks/results/engine.json
  python -m benchmarks.engine --parts overhead

overhead: the share of the time that training spends outside its steps (rows of metrics,
TensorBoard, checkpoints) at the frequencies of the set `digits`. resume: seconds from
the start of the process to the end of the first step of a resumed run. scaling: steps
per second of one process on one core, on two, and of two workers with a core each, at
the same global batch. Leave the machine alone meanwhile.
"""

import datetime
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent
DIGITS = [sys.executable, "-m", "experiments.digits", "--schedule=train"]


def overhead(steps=500, repeats=1):
    """Times the loop and, within it, the steps."""
    found = [_overhead(steps) for _ in range(repeats)]
    return {
        "set": "digits",
        "steps": steps,
        "rows_every": 100,
        "checkpoints_every": found[0]["checkpoints_every"],
        "ms_per_step": [one["ms_per_step"] for one in found],
        "overhead_percent": [one["overhead_percent"] for one in found],
    }


def _overhead(steps):
    from data import digits
    from data.images import batches
    from deltavae_tf.training import loop, run_folder, tensorflow_engine
    from experiments import build, sets

    tensorflow_engine.Engine().prepare()
    chosen = sets.hparams("digits")
    spent = []
    make = tensorflow_engine._train_function

    def timed(*args):
        train = make(*args)

        def call(*args):
            start = time.perf_counter()
            bad = int(train(*args))  # Waits for the result.
            spent.append((start, time.perf_counter()))
            return bad

        return call

    tensorflow_engine._train_function = timed
    with tempfile.TemporaryDirectory() as path:
        folder = run_folder.RunFolder(path + "/run")
        folder.claim("digits", chosen.to_dict())
        model = build.model(chosen)
        state = loop.State(model, folder, "benchmark", chosen.ema_decay)
        settings = loop.Settings(
            train_steps=steps,
            eval_every=chosen.eval_every,
            log_every=100,
            steps_per_call=25,
            progress=False,
        )
        split = digits.load("train")
        with folder:
            loop.run(
                state,
                lambda step: batches.training_batches(
                    split, chosen.batch_size, 0, step
                ),
                folder,
                settings,
            )
        end = time.perf_counter()
    begin = spent[1][0]  # The first call traces.
    inside = sum(stop - start for start, stop in spent[1:])
    tensorflow_engine._train_function = make
    return {
        "checkpoints_every": chosen.eval_every,
        "ms_per_step": 1e3 * inside / (steps - 25),
        "overhead_percent": 100 * (end - begin - inside) / inside,
    }


_RESUMED = """
import sys, time
from deltavae_tf.training import tensorflow_engine
make = tensorflow_engine._train_function

def timed(*args):
    train = make(*args)

    def call(batches, count, first):
        count = count * 0 + 1
        int(train(batches, count, first))
        print("SECONDS", time.time() - float(sys.argv.pop()), flush=True)
        sys.exit(0)

    return call

tensorflow_engine._train_function = timed
import runpy
runpy.run_module("experiments.digits", run_name="__main__", alter_sys=True)
"""


def resume(runs=3):
    """Makes a run with a checkpoint, then resumes it."""
    with tempfile.TemporaryDirectory() as path:
        flags = ["--hparams_set=digits", f"--output_dir={path}/run"]
        first = [*DIGITS, *flags, "--train_steps=25", "--local_eval_frequency=25"]
        subprocess.run(first, check=True, cwd=ROOT, capture_output=True)
        seconds = []
        for _ in range(runs):
            code = _RESUMED.replace("sys.argv.pop()", repr(str(time.time())))
            done = subprocess.run(
                [sys.executable, "-c", code, *flags, "--train_steps=500"],
                cwd=ROOT,
                capture_output=True,
                text=True,
            )
            if "Going on from the checkpoint of step 25" not in done.stderr:
                sys.exit(f"It did not resume: {done.stderr[-2000:]}")
            seconds.append(float(done.stdout.split("SECONDS ")[1].split()[0]))
    return {"set": "digits", "seconds_to_first_step": seconds}


def scaling(steps=200):
    """Trains the same thing by one process and by two."""

    def speed(path, cores, workers):
        # Without samples: to compile their loop takes longer than all the rest.
        flags = ["none", "digits", "--schedule=train"]
        flags += [f"--output_dir={path}", f"--train_steps={steps}"]
        # Rows of 100 steps; the first has the tracing, and is left out.
        flags += ["--hparams_set=digits", "--iterations_per_loop=20"]
        flags += [f"--local_eval_frequency={steps}", "--hparams=eval_steps=1"]
        processes = []
        for i in range(workers):
            environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
            if workers > 1:
                cluster = [f"localhost:{29531 + j}" for j in range(workers)]
                environment["TF_CONFIG"] = json.dumps({
                    "cluster": {"worker": cluster},
                    "task": {"type": "worker", "index": i},
                })  # fmt: skip
            pinned = ["taskset", "-c", str(i) if workers > 1 else cores]
            processes.append(
                subprocess.Popen(
                    [*pinned, sys.executable, str(HERE / "faulty_run.py"), *flags],
                    cwd=ROOT,
                    env=environment,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                )
            )
        if any([p.wait() for p in processes]):
            sys.exit("a process failed")
        with open(f"{path}/metrics.jsonl", encoding="utf-8") as file:
            rows = [json.loads(line)["steps_per_second"] for line in file]
        return statistics.median(rows[1:])

    with tempfile.TemporaryDirectory() as path:
        return {
            "set": "digits",
            "global_batch": 32,
            "one_process_one_core": speed(f"{path}/1", "0", 1),
            "one_process_two_cores": speed(f"{path}/2", "0,1", 1),
            "two_workers_a_core_each": speed(f"{path}/w", None, 2),
        }


PARTS = {"overhead": overhead, "resume": resume, "scaling": scaling}


def main():
    """Measures, prints, and keeps what it found in the file, whose other parts stay."""
    from benchmarks import command

    parser = command.parser("engine", __doc__)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--output", help="a JSON file")
    options = parser.parse_args()
    from deltavae_tf.training import checkpoints, run_folder

    for part in options.parts:
        found = PARTS[part]()
        print(json.dumps({part: found}), flush=True)
        if not options.output:
            continue
        path = pathlib.Path(options.output)
        results = json.loads(path.read_text()) if path.exists() else {}
        results["hardware"] = run_folder.hardware()
        results["versions"] = command.versions()
        found["measured"] = datetime.date.today().isoformat()
        results[part] = found
        checkpoints.write_json(path, results)


if __name__ == "__main__":
    main()
