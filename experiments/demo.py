r"""The demo: what posterior collapse is, and that a delta-VAE does not.

  make demo

Trains three small models side by side on 10,000 images of Fashion-MNIST at 14x14, which
are embedded: the plain VAE, the same model as a delta-VAE, and its decoder alone. Each
has a process of its own, as many at a time as there are cores. Prints a table, writes
demo/results.json and demo/fashion.png. Minutes on two cores; run again after a stop, it
goes on. (demo/record.json is the same with all that was measured; its copy in
experiments/results is what the README shows.)
"""

import concurrent.futures
import os
import signal
import subprocess
import sys
import time

from experiments import flags

FLAGS = flags.FLAGS
_MODELS = {
    "plain VAE": "fashion_demo_vae",
    "delta-VAE": "fashion_demo",
    "decoder alone": "fashion_demo_autoregressive",
}
_ONLY = flags.flags.DEFINE_enum(
    "only", None, list(_MODELS), "Train and measure this one alone; prints no table."
)
_COLUMNS, _RECONSTRUCTIONS = 10, 500
_DRAWN = "drawn.npz"  # In a run folder: test images and what the model made of them.
_MEANING = "The demo: a plain VAE, a delta-VAE and the decoder alone"

_EXPLANATION = """
How to read it. All three see the pixels in raster order, and their decoders are equal.
  - The rate is what an image's latents tell the decoder. The plain VAE's falls to
    nearly 0: a decoder that sees all earlier pixels learns to do without latents.
    That is posterior collapse. The delta-VAE's cannot fall below the committed rate.
    Both are trained alike: the rate counts from nothing to in full in the first half.
  - The auxiliary rate is what the same latents cost under a prior that was fitted to
    them afterwards: what they really carry, at most. The rest is the price of the
    commitment.
  - agreement: reconstructions that a classifier of real images puts into their
    original's class. Chance is 10 %, and it is right about {accuracy:.0%} of the
    originals. probe: a linear classifier reads the class off the latents.
  - bits/dim (aux): the code length of a pixel, lower is better; latents cost nothing
    where it is that of the decoder alone.
{picture}: test images; what each model makes of their latents.
"""


def main(_):
    """Trains the three models, or resumes them, and shows what came out."""
    from experiments import quiet

    folder = FLAGS.output_dir or "demo"
    if _ONLY.value:
        quiet.libraries(info=False)
        _finish(os.path.join(folder, _MODELS[_ONLY.value]), _MODELS[_ONLY.value])
        return
    started, new = time.monotonic(), not os.path.exists(folder)
    _finish_all(folder)
    quiet.libraries(info=False)
    from deltavae_tf.evaluation import record as records
    from deltavae_tf.evaluation import verdict
    from deltavae_tf.training import checkpoints
    from experiments import terminal
    from experiments.runs import results as evidence

    found, lines, pictures, runs = {}, [], {}, []
    for name, hparams_set in _MODELS.items():
        path = os.path.join(folder, hparams_set)
        record = records.read(os.path.join(path, records.FILE))
        runs.append(evidence.entry(path, hparams_set, name))
        found[name] = records.numbers(record)
        lines.append(f"{name}: {verdict.line(record)}")
        drawn = _read_drawn(path)
        pictures |= {f"{name}: {row}": images for row, images in drawn.items()}
    picture = os.path.join(folder, "fashion.png")
    _write_picture(picture, pictures)
    results = [{"name": name, **_result(numbers)} for name, numbers in found.items()]
    checkpoints.write_json(os.path.join(folder, "results.json"), results)
    seconds = {"seconds": round(time.monotonic() - started)} if new else {}
    evidence.write(os.path.join(folder, "record.json"), _MEANING, runs, **seconds)
    print(f"\n{terminal.rows([_row(name, found[name]) for name in found])}\n")
    print("\n".join(lines))
    accuracy = found["delta-VAE"]["classifier_accuracy"]
    print(_EXPLANATION.format(picture=picture, accuracy=accuracy))


def _finish_all(folder):
    """Has each model trained and measured, side by side.

    A finished one too: only its own process can tell that other numbers are asked for.
    """
    at_once = min(len(_MODELS), os.cpu_count() or 1)
    started = []
    # So that a demo that is told to stop takes its models with it.
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    with concurrent.futures.ThreadPoolExecutor(at_once) as pool:
        try:
            list(pool.map(lambda name: _finish_apart(name, folder, started), _MODELS))
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
            for process in started:
                process.terminate()
            signal.signal(signal.SIGTERM, before)


def _finish_apart(name, folder, started):
    """Runs this program for one model, and passes on what it says."""
    from deltavae_tf import errors

    command = [sys.executable, "-m", "experiments.demo", f"--only={name}"]
    command += [f"--output_dir={folder}", f"--hparams={FLAGS.hparams}"]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    started.append(process)
    for line in process.stdout:
        print(f"[{name}] {line}", end="", file=sys.stderr, flush=True)
    if process.wait():
        raise errors.UserError(
            f"The model could not be trained; its lines above say why. Received: {name}"
        )


def _finish(path, hparams_set):
    """Trains and measures one model; leaves its reconstructions in the run folder."""
    import numpy as np

    from deltavae_tf.evaluation import context
    from deltavae_tf.training import checkpoints
    from experiments import sets
    from experiments.runs import run as runs

    hparams = sets.hparams(hparams_set, FLAGS.hparams)
    options = flags.options(
        output_dir=path,
        use_test_set=True,
        iterations_per_loop=25,
        log_every=50,
        write_samples=False,
        keep_max=1,
    )
    limits = context.Limits(training=5000, reconstructions=_RECONSTRUCTIONS)
    with runs.Run(hparams, options) as run:
        run.train()
        run.evaluate(cheap=False, limits=limits, best_only=True)
        drawn = _reconstructions(run) if hparams.use_latents else {}
        with checkpoints.atomic_file(os.path.join(path, _DRAWN)) as file:
            np.savez(file, **drawn)


def _read_drawn(path):
    """{row: uint8 [columns, H, W, 1]} of a model's reconstructions."""
    import numpy as np

    with np.load(os.path.join(path, _DRAWN), allow_pickle=False) as found:
        return {name: found[name] for name in found.files}


def _reconstructions(run):
    """{row: uint8 [columns, H, W, 1]} of test images and reconstructions."""
    import numpy as np

    from experiments.runs import run as runs

    originals = run.data.held_out.image[_places(run.data.held_out.label)]
    with runs.averaged(run.state):
        drawn = {
            f"reconstruction {seed}": np.asarray(
                run.model.reconstruct(originals, seed=seed)
            )
            for seed in (1, 2)
        }
    return {"test image": originals, **drawn}


def _places(label):
    """The first test image of each class: the choice looks at nothing else."""
    import numpy as np

    return [int(np.argmax(label == number)) for number in range(_COLUMNS)]


def _result(numbers):
    """One model of results.json; None where it has no such number."""
    from deltavae_tf import units

    def bits(name):
        return float(units.bits(numbers[name]))

    return {
        "committed_bits": bits("committed_rate_nats"),
        "rate_bits": bits("rate_nats"),
        "aux_rate_bits": bits("rate_aux_nats"),
        "bpd": numbers["nelbo_bpd"],
        "bpd_aux": numbers["nelbo_aux_bpd"],
        "distortion_bits": bits("distortion_nats"),
        "probe_accuracy": numbers.get("probe_accuracy"),
        "reconstruction_agreement": numbers.get("reconstruction_agreement"),
        "classifier_accuracy": numbers.get("classifier_accuracy"),
    }


def _row(name, numbers):
    """One model of the table."""
    found = _result(numbers)

    def percent(value):
        return "-" if value is None else f"{value:.1%}"

    return {
        "model": name,
        "committed bits": f"{found['committed_bits']:.1f}",
        "rate bits": f"{found['rate_bits']:.1f}",
        "aux rate bits": f"{found['aux_rate_bits']:.1f}",
        "bits/dim": found["bpd"],
        "bits/dim (aux)": found["bpd_aux"],
        "probe": percent(found["probe_accuracy"]),
        "agreement": percent(found["reconstruction_agreement"]),
    }


def _write_picture(path, pictures):
    import numpy as np

    from deltavae_tf.sampling import images
    from experiments import sets

    data = sets.hparams(_MODELS["delta-VAE"], FLAGS.hparams).dataset()
    first = next(name for name in pictures if name.endswith("test image"))
    rows = {"test image": pictures[first]} | {
        name.replace(": ", ", "): drawn
        for name, drawn in pictures.items()
        if not name.endswith("test image")
    }
    grid = images.labeled_grid(
        np.stack(list(rows.values())),
        list(rows),
        list(data.class_names),
        "Test images, and what each model makes of their latents",
        data.num_levels,
        zoom=5,
    )
    images.write_png(path, grid)


if __name__ == "__main__":
    flags.run(main, ("output_dir", "hparams"))
