r"""Sampling from the SavedModel of an image run: as a plain graph, and by XLA.

  python -m benchmarks.exported --output_dir=/tmp/cifar10 \
      --output=benchmarks/results/exported.json

Exports the run both ways (`experiments.export`, the second with --xla_compile), loads
each in a process that sees TensorFlow and none of our code, and times its `sample`:
seconds to load, of the first call, and of the next ones as median, least and most; and
how many draws of the two, of the same seeds, are the same images. Leave the machine
alone meanwhile.
"""

import json
import os
import pathlib
import subprocess
import sys
import tempfile

from benchmarks import command, timing

ROOT = pathlib.Path(__file__).resolve().parent.parent
KINDS = {"graph": [], "xla": ["--xla_compile"]}
_SAMPLING = """
import json, sys, time
import tensorflow as tf

path, prior, repeats, *sizes = sys.argv[1:]
start = time.perf_counter()
sample = tf.saved_model.load(path).signatures["sample"]
found = {"load_s": time.perf_counter() - start}
for size in sizes:
    seconds, images = [], []
    for seed in range(1 + int(repeats)):
        start = time.perf_counter()
        drawn = sample(
            seed=tf.constant(seed, tf.int64), count=tf.constant(int(size)),
            temperature=tf.constant(1.0), prior=tf.constant(prior),
        )["images"].numpy()
        seconds.append(time.perf_counter() - start)
        images.append(drawn.tolist())
    found[size] = {"seconds": seconds, "images": images}
print(json.dumps(found))
"""


def measure(run, prior, batch_sizes, repeats):
    """What is written: a dict by kind and batch size, and the ratios."""
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for kind, flags in KINDS.items():
            to = f"--export_dir={folder}/{kind}"
            export = ["-m", "experiments.export", f"--output_dir={run}", to, *flags]
            _python(export, ROOT)
            arguments = [f"{folder}/{kind}/saved_model", prior, repeats, *batch_sizes]
            text = _python(["-c", _SAMPLING, *map(str, arguments)], folder)
            found[kind] = json.loads(text.splitlines()[-1])
    summary = {kind: {"load_s": found[kind]["load_s"]} for kind in KINDS}
    for size in batch_sizes:
        graph, xla = (found[kind][str(size)] for kind in KINDS)
        for kind in KINDS:
            first, *rest = found[kind][str(size)]["seconds"]
            row = timing.summary(rest, first_s=first)
            summary[kind][f"batch_{size}"] = row
        summary[f"graph_over_xla_batch_{size}"] = timing.ratio(
            *(summary[kind][f"batch_{size}"] for kind in KINDS)
        )
        # A last bit that differs can move a pixel, and with it all that follow.
        same = [a == b for a, b in zip(graph["images"], xla["images"], strict=True)]
        summary[f"same_images_batch_{size}"] = f"{sum(same)} of {len(same)} draws"
    return summary


def _python(arguments, folder):
    """What Python prints; ends the program with its last line if it fails."""
    done = subprocess.run(
        [sys.executable, *arguments], cwd=folder, capture_output=True, text=True
    )
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["it says nothing"]
        sys.exit(f"error: {' '.join(arguments[:2])} failed: {lines[-1]}")
    return done.stdout


def main(arguments=None):
    """Measures, prints, writes."""
    parser = command.parser("exported", __doc__)
    add = parser.add_argument
    add("--output_dir", required=True, help="the folder of a trained image run")
    add("--prior", default="training", help="whose latents; see docs/export.md")
    add("--batch_sizes", nargs="+", type=int, default=[1, 16])
    add("--repeats", type=int, default=5)
    add("--output", help="a JSON file")
    options = parser.parse_args(arguments)
    if min(options.repeats, *options.batch_sizes) < 1:
        parser.error("--repeats and --batch_sizes must be at least 1")
    run = os.path.abspath(os.path.expanduser(options.output_dir))
    found = measure(run, options.prior, options.batch_sizes, options.repeats)
    for size in options.batch_sizes:
        for kind in KINDS:
            words = timing.sentence(found[kind][f"batch_{size}"])
            print(f"{kind}, batch {size}: {words}")
        print(f"  {timing.sentence(found[f'graph_over_xla_batch_{size}'])}")
    if options.output:
        command.write(options.output, found)


if __name__ == "__main__":
    main()
