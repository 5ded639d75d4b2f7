r"""What a program does before its first step, in seconds: each part by itself.

  python -m benchmarks.start --output=benchmarks/results/start.json

Starts `experiments.digits` again and again, each time in a process and a folder of its
own, and stops it after its first step; then goes on with a run that has a checkpoint.
Printed are the medians, of the clock on the wall and of the processor. Pin it to the
cores to be measured; the disk is warm after the first start, which does not count.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
_MARK = "PART "


def watched(argv):
    """Runs a program in this process; says when each part ends, and leaves it after the
    first step."""
    import runpy

    started = float(os.environ["BENCHMARK_STARTED"])

    def mark(part):
        used = os.times()
        row = part, time.time() - started, used.user + used.system
        print(_MARK + json.dumps(row), flush=True)

    def marked(owner, name, part, before=None):
        function = getattr(owner, name)

        def call(*args, **kwargs):
            if before:
                mark(before)
            found = function(*args, **kwargs)
            mark(part)
            return found

        setattr(owner, name, call)

    mark("interpreter")
    from experiments import quiet

    libraries = quiet.libraries

    def imported(*args, **kwargs):
        mark("flags and hyper-parameters")
        libraries(*args, **kwargs)
        mark("imports: Keras and TensorFlow")
        from deltavae_tf.training import loop, tensorflow_engine
        from experiments import build
        from experiments.runs import run as runs

        marked(runs.Run, "__init__", "imports: the rest")
        marked(build, "model", "the model", "data and run folder")
        marked(loop.State, "__init__", "optimizer and average")
        marked(loop.State, "restore", "checkpoint", "files of the run")
        make = tensorflow_engine._train_function

        def train_function(*args):
            train = make(*args)

            def call(batches, count, first):
                mark("batches and TensorBoard")
                train.get_concrete_function(batches, count, first)
                mark("the step's graph, in Python")
                int(train(batches, count * 0 + 1, first))
                mark("the first step: kernels, dropout's compilation")
                os._exit(0)

            return call

        tensorflow_engine._train_function = train_function

    quiet.libraries = imported
    sys.argv = ["digits", *argv]
    runpy.run_module("experiments.digits", run_name="__main__", alter_sys=True)


def start(arguments):
    """{part: (seconds on the wall, of the processor)} of one start."""
    # Of -c the second's folder is no part: it would stand before ours.
    code = "import sys; from benchmarks import start; start.watched(sys.argv[1:])"
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=ROOT,
        env={**os.environ, "BENCHMARK_STARTED": repr(time.time())},
        capture_output=True,
        text=True,
        check=True,
    )
    rows = [line for line in done.stdout.splitlines() if line.startswith(_MARK)]
    found, before = {}, (0.0, 0.0)
    for part, *now in (json.loads(row.removeprefix(_MARK)) for row in rows):
        found[part] = tuple(a - b for a, b in zip(now, before, strict=True))
        before = now
    return {**found, "to the first step": tuple(before)}


def medians(starts):
    """The medians of some starts: {part: {"wall_s": ..., "processor_s": ...}}."""
    names = "wall_s", "processor_s"
    return {
        part: {
            name: statistics.median(found[part][i] for found in starts)
            for i, name in enumerate(names)
        }
        for part in starts[0]
    }


def measure(hparams_set, repeats):
    """Medians of the start of a run, and of one that goes on."""
    flags = [f"--hparams_set={hparams_set}", "--schedule=train"]
    with tempfile.TemporaryDirectory() as folder:
        fresh = [
            start([*flags, f"--output_dir={folder}/{i}"]) for i in range(repeats + 1)
        ]
        goes_on = [*flags, f"--output_dir={folder}/run"]
        few = ["--train_steps=5", "--local_eval_frequency=5", "--hparams=eval_steps=1"]
        command = [sys.executable, "-m", "experiments.digits"]
        first = [*command, *goes_on, *few]
        subprocess.run(first, cwd=ROOT, check=True, capture_output=True)
        more = ["--local_eval_frequency=5", "--hparams=eval_steps=1"]
        resumed = [start([*goes_on, *more]) for _ in range(repeats)]
    return {"a run": medians(fresh[1:]), "a run that goes on": medians(resumed)}


def main(arguments=None):
    """Measures, prints, writes."""
    from benchmarks import command

    parser = command.parser("start", __doc__)

    def count(text):
        if int(text) < 1:
            raise argparse.ArgumentTypeError("must be at least 1")
        return int(text)

    parser.add_argument("--hparams_set", default="digits")
    parser.add_argument("--repeats", type=count, default=5)
    parser.add_argument("--output", help="a JSON file")
    options = parser.parse_args(arguments)
    found = measure(options.hparams_set, options.repeats)
    for what, parts in found.items():
        print(what)
        for part, row in parts.items():
            wall, processor = row["wall_s"], row["processor_s"]
            print(f"  {part:48}{wall:7.2f} s{processor:7.2f} s of the processor")
    if options.output:
        from deltavae_tf.training import run_folder

        settings = {
            "hparams_set": options.hparams_set,
            "repeats": options.repeats,
            "cores": len(os.sched_getaffinity(0)),
            "git_commit": run_folder.versions()["git_commit"],
        }
        command.write(options.output, {**settings, **found})


if __name__ == "__main__":
    main()
