r"""Trains and measures the settings of a sweep, one after the other.

  python -m experiments.rate_distortion --sweep=digits --seeds=0,1,2 \
      --output_dir=/tmp/sweep --results=experiments/results/sweep_digits.json

--list shows the sweeps. A run that is finished is skipped and one that is half done is
resumed, so the same command goes on after a stop. --index=3 does the fourth run alone:
a cluster starts one job for each index. When the last run is measured, --results is
written: rate, distortion, probe accuracy, active units and mutual information of each,
on the test images and on the training images.
"""

import json
import logging as standard_logging
import os
import platform

import keras
from absl import logging

from deltavae_tf.training import checkpoints, run_folder
from experiments import flags, measure, runs, sweeps

FLAGS = flags.FLAGS
_SWEEP = flags.flags.DEFINE_string("sweep", None, "Which; see --list.")
_SEEDS = flags.flags.DEFINE_list("seeds", ["0"], "Each setting is run with each seed.")
_INDEX = flags.flags.DEFINE_integer("index", None, "Do this run alone, from 0.")
_RESULTS = flags.flags.DEFINE_string("results", None, "The JSON file to end in.")
_LIST = flags.flags.DEFINE_bool("list", False, "Print the sweeps, and exit.")
_COLLECT = flags.flags.DEFINE_bool(
    "collect",
    False,
    "Train nothing: write --results of what is measured; the rest is named in it.",
)
_TRAIN_IMAGES = flags.flags.DEFINE_integer(
    "train_images", 10_000, "How many training images are measured.", lower_bound=2
)
_EVAL_IMAGES = flags.flags.DEFINE_integer(
    "eval_images", None, "How many held-out images are measured; by default all."
)
_HARDWARE = flags.flags.DEFINE_string(
    "hardware", "", "What it runs on; by default this machine's processor and cores."
)
_MEASURED = "measured.json"
_DIGITS = 6  # Kept of a float in results.


def main(_):
    """Runs what is left of the sweep."""
    if _LIST.value:
        print(sweeps.describe())
        return
    logging.set_verbosity(max(logging.get_verbosity(), logging.WARNING))
    standard_logging.getLogger("tensorflow").setLevel(standard_logging.ERROR)
    if not _SWEEP.value or not FLAGS.output_dir:
        raise ValueError("--sweep and --output_dir are needed; --list shows the sweeps")
    sweep = sweeps.sweep(_SWEEP.value)
    todo = every = sweep.runs(_seeds())
    if _COLLECT.value:
        collect(sweep, every, {}, partial=True)
        return
    if _INDEX.value is not None:
        if not 0 <= _INDEX.value < len(every):
            raise ValueError(
                f"--index must be in [0, {len(every)}): the sweep {sweep.name!r} has "
                f"{len(every)} runs. Received: {_INDEX.value}"
            )
        todo = every[_INDEX.value :][:1]
    failed = {}
    for number, (name, setting, seed) in enumerate(todo, start=1):
        path = os.path.join(FLAGS.output_dir, name)
        print(f"[{number}/{len(todo)}] {name}: ", end="", flush=True)
        try:
            done = finish(path, name, setting, seed, FLAGS.hparams)
        except FloatingPointError as error:  # Others go on; the results tell of it.
            failed[name] = str(error)
            print(f"failed: {error}")
            continue
        if done is None:
            raise ValueError(f"{name} was stopped; the same command goes on with it")
        print(_sentence(done), flush=True)
    collect(sweep, every, failed)


def _seeds():
    try:
        seeds = [int(seed) for seed in _SEEDS.value]
    except ValueError:
        seeds = []
    if not seeds or len(set(seeds)) != len(seeds):
        raise ValueError(
            f"--seeds must be different integers, such as 0,1,2. "
            f"Received: {','.join(_SEEDS.value)}"
        )
    return seeds


def finish(path, name, setting, seed, changes=""):
    """Trains and measures one run, or what is left of it; None if it was stopped."""
    hparams = setting.hparams(changes)
    done = _finished(path, hparams, seed)
    if done is not None:
        return done
    keras.backend.clear_session()  # Graphs of the runs before.
    options = runs.Options(
        output_dir=path,
        seed=seed,
        data_dir=FLAGS.data_dir,
        tmp_dir=FLAGS.tmp_dir,
        download=FLAGS.generate_data,
        use_test_set=FLAGS.eval_use_test_set,
        iterations_per_loop=FLAGS.iterations_per_loop,
        save_seconds=FLAGS.save_checkpoints_secs,
        keep_max=1,
        jit_compile=FLAGS.xla_compile,
        write_samples=False,
        flags_text=flags.as_text(),
    )
    with runs.ImageRun(_SWEEP.value, hparams, options) as run:
        if run.train() < hparams.train_steps:
            return None
        run.state.restore()
        held_out = run.held_out
        if _EVAL_IMAGES.value is not None:
            held_out = held_out.first(_EVAL_IMAGES.value)
        rows = run_folder.read_metrics(path)
        found = {
            "name": name,
            "setting": setting.name,
            "seed": seed,
            "hparams": hparams.to_dict(),
            "steps": hparams.train_steps,
            "training_images": len(run.training),
            "parameters": run.model.count_params(),
            "training_seconds": _training_seconds(rows),
            "data_note": held_out.note,
            **measure.whole_run(run, held_out, _TRAIN_IMAGES.value),
        }
    _write(os.path.join(path, _MEASURED), found)
    return found


def _finished(path, hparams, seed):
    """The measurements of a finished run; None if there is something left to do."""
    file_name = os.path.join(path, _MEASURED)
    if not os.path.exists(file_name):
        return None
    with open(file_name, encoding="utf-8") as file:
        try:
            found = json.load(file)
            held, held_seed = found["hparams"], found["seed"]
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{file_name} is damaged ({error}); remove it") from error
    # A field that is younger than the file had its default then.
    held, wanted = type(hparams).from_dict(held).to_dict(), hparams.to_dict()
    other = [name for name, value in wanted.items() if held[name] != value]
    if other or held_seed != seed:
        raise ValueError(
            f"{path} holds another run: {', '.join(other) or 'seed'} differs. Name "
            "another --output_dir, or give the same --hparams"
        )
    return found


def collect(sweep, every, failed, partial=False):
    """Writes --results if each run of the sweep is measured, or whatever is missing
    with `partial`; says what is missing."""
    found, missing = [], []
    for name, _, _ in every:
        path = os.path.join(FLAGS.output_dir, name, _MEASURED)
        if os.path.exists(path):
            with open(path, encoding="utf-8") as file:
                row = json.load(file)
            # What it was trained with, which may be another version than this one.
            with open(
                os.path.join(FLAGS.output_dir, name, "versions.json"), encoding="utf-8"
            ) as file:
                row["git_commit"] = json.load(file).get("git_commit")
            found.append(row)
        elif name not in failed:
            missing.append(name)
    if partial:
        failed = {**failed, **dict.fromkeys(missing, "not measured yet")}
    elif missing:
        print(f"Not measured yet, so no results: {', '.join(missing)}")
        return
    if not _RESULTS.value:
        return
    if not found:
        raise ValueError(f"No run of {sweep.name!r} could be measured: {failed}")
    _write(
        _RESULTS.value,
        {
            "sweep": sweep.name,
            "meaning": sweep.meaning,
            "hardware": _HARDWARE.value
            or f"{platform.machine()}, {os.cpu_count()} cores",
            "versions": run_folder.versions(),
            "failed": failed,
            "runs": found,
        },
    )
    print(f"Wrote {_RESULTS.value}: {len(found)} runs, {len(failed)} failed")


def _training_seconds(rows):
    steps = [row["step"] for row in rows]
    before = [0, *steps[:-1]]
    return sum(
        (step - start) / row["steps_per_second"]
        for start, step, row in zip(before, steps, rows, strict=True)
    )


def _sentence(found):
    test = found["test"]
    probe = found["latents"].get("probe_accuracy")
    return (
        f"distortion {test['distortion_bits']:.1f} bits, rate {test['rate_bits']:.2f} "
        f"(aux {test['rate_aux_bits']:.2f}), {test['nelbo_aux_bpd']:.4f} bits/dim (aux)"
        + (f", probe {probe:.1%}" if probe is not None else "")
    )


def _rounded(value):
    if isinstance(value, dict):
        return {k: _rounded(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_rounded(v) for v in value]
    return float(f"{value:.{_DIGITS}g}") if isinstance(value, float) else value


def _write(path, content):
    with checkpoints.atomic_file(path) as file:
        file.write(json.dumps(_rounded(content), indent=1).encode() + b"\n")


if __name__ == "__main__":
    flags.defaults(eval_use_test_set=True, iterations_per_loop=50)
    flags.run(main)
