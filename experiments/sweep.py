r"""Trains and measures the settings of a sweep, one after the other.

  python -m experiments.sweep --sweep=digits --seeds=0,1,2 \
      --output_dir=/tmp/sweep --results=experiments/results/sweep_digits.json

--list shows the sweeps. A run that is finished is skipped and one that is half done is
resumed, so the same command goes on after a stop. --index=3 does the fourth run alone:
a cluster starts one job for each index. When the last run is measured, --results is
written: everything that `experiments.evaluate` measures of each run. A setting tells
its gain over the decoder alone: over the setting called `autoregressive`, or the one
that it names as its twin.
"""

import os

from experiments import flags

FLAGS = flags.FLAGS
_SWEEP = flags.flags.DEFINE_string("sweep", None, "Which; see --list.")
_SEEDS = flags.flags.DEFINE_list("seeds", ["0"], "Each setting is run with each seed.")
_INDEX = flags.flags.DEFINE_integer("index", None, "Do this run alone, from 0.")
_RESULTS = flags.define_path("results", None, "The JSON file to end in.")
_LIST = flags.flags.DEFINE_bool("list", False, "Print the sweeps, and exit.")
_COLLECT = flags.flags.DEFINE_bool(
    "collect",
    False,
    "Train nothing: write --results of what is measured; the rest is named in it.",
)
_TRAIN_EXAMPLES = flags.flags.DEFINE_integer(
    "train_examples", 10_000, "How many training examples are measured.", lower_bound=2
)
_EVAL_EXAMPLES = flags.flags.DEFINE_integer(
    "eval_examples", None, "How many held-out examples are measured; by default all."
)
_RECONSTRUCTIONS = flags.flags.DEFINE_integer(
    "reconstructions", 1000, "Held-out images that are reconstructed.", lower_bound=0
)
_HARDWARE = flags.flags.DEFINE_string(
    "hardware", "", "What it runs on; by default this machine's processor and cores."
)


def main(_):
    """Runs what is left of the sweep."""
    from deltavae_tf import errors
    from experiments import quiet, terminal
    from experiments.sets import sweeps

    if _LIST.value:
        print(terminal.listings(sweeps.describe()))
        return
    if not _SWEEP.value or not FLAGS.output_dir:
        raise errors.UserError(
            "--sweep and --output_dir are needed; --list shows the sweeps. Received: "
            f"{_SWEEP.value} and {FLAGS.output_dir}"
        )
    sweep = sweeps.find(_SWEEP.value)
    every = sweep.runs(_seeds())
    todo = sweeps.after_twins(every)
    if _INDEX.value is not None:
        if not 0 <= _INDEX.value < len(every):
            raise errors.UserError(
                f"--index must be in [0, {len(every)}): the sweep {sweep.name!r} has "
                f"{len(every)} runs. Received: {_INDEX.value}"
            )
        todo = every[_INDEX.value :][:1]
    quiet.libraries(info=False)
    if _COLLECT.value:
        collect(sweep, every, {}, partial=True)
        return
    failed = {}
    for number, (name, setting, seed) in enumerate(todo, start=1):
        print(f"[{number}/{len(todo)}] {name}: ", end="", flush=True)
        try:
            record = finish(name, setting, seed)
        except FloatingPointError as error:  # Others go on; the results tell of it.
            failed[name] = str(error)
            print(f"failed: {error}")
            continue
        if record is None:
            raise errors.UserError(
                f"{name} was stopped; the same command goes on with it. "
                "Received: a signal"
            )
        from deltavae_tf.evaluation import verdict

        print(verdict.line(record), flush=True)
    collect(sweep, every, failed)


def _seeds():
    from deltavae_tf import errors

    try:
        seeds = [int(seed) for seed in _SEEDS.value]
    except ValueError:
        seeds = []
    if not seeds or len(set(seeds)) != len(seeds):
        raise errors.UserError(
            "--seeds must be different integers, such as 0,1,2. "
            f"Received: {','.join(_SEEDS.value)}"
        )
    return seeds


def finish(name, setting, seed):
    """Trains and measures one run, or what is left of it; None if it was stopped."""
    import keras

    from deltavae_tf.evaluation import context
    from experiments.runs import precision
    from experiments.runs import run as runs

    path = os.path.join(FLAGS.output_dir, name)
    hparams = precision.recorded(setting.hparams(FLAGS.hparams), path)
    options = flags.options(
        output_dir=path, seed=seed, keep_max=1, write_samples=False, progress=False
    )
    done = _measured(path, hparams, seed)
    if done is not None:
        return done
    keras.backend.clear_session()  # Graphs of the runs before.
    limits = context.Limits(
        held_out=_EVAL_EXAMPLES.value,
        training=_TRAIN_EXAMPLES.value,
        reconstructions=_RECONSTRUCTIONS.value,
    )
    with runs.Run(hparams, options) as run:
        if run.train() < hparams.train_steps:
            return None
        return run.evaluate(
            cheap=False,
            limits=limits,
            twin_distortion=_twin_distortion(setting, seed),
            best_only=True,
        )


def _twin_distortion(setting, seed):
    """Nats per example of the decoder alone of this seed, if it is measured."""
    from deltavae_tf.evaluation import record as records

    path = os.path.join(FLAGS.output_dir, f"{setting.twin}-seed{seed}", records.FILE)
    if not os.path.exists(path):
        return None
    return records.numbers(records.read(path))["distortion_nats"]


def _measured(path, hparams, seed):
    """The record of a finished run; None if there is something left to do."""
    from deltavae_tf import errors
    from deltavae_tf.evaluation import record as records
    from experiments import sets

    if not os.path.exists(os.path.join(path, records.FILE)):
        return None
    record = records.read(path)
    if not records.is_full(record) or record["step"] < hparams.train_steps:
        return None
    # A field that is younger than the record had its default then.
    held, wanted = sets.from_dict(record["hparams"]).to_dict(), hparams.to_dict()
    names = {*held, *wanted}
    other = sorted(name for name in names if held.get(name) != wanted.get(name))
    if other or record["random_seed"] != seed:
        raise errors.UserError(
            f"{path} holds another run. Name another --output_dir, or give the same "
            f"--hparams. Received: another {', '.join(other) or 'seed'}"
        )
    return record


def collect(sweep, every, failed, partial=False):
    """Writes --results if each run of the sweep is measured, or whatever is there with
    `partial`; says what is missing."""
    from deltavae_tf import errors
    from deltavae_tf.evaluation import record as records
    from experiments.runs import results

    found, missing = [], []
    for name, setting, _ in every:
        path = os.path.join(FLAGS.output_dir, name)
        there = os.path.exists(os.path.join(path, records.FILE))
        if there and records.is_full(records.read(path)):
            found.append(results.entry(path, name, setting.name))
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
        raise errors.UserError(
            f"No run of {sweep.name!r} is measured: there is nothing to write. "
            f"Received: {failed}"
        )
    results.add_gains(found, sweep.twins)
    results.write(_RESULTS.value, sweep.meaning, found, failed, _HARDWARE.value)
    print(f"Wrote {_RESULTS.value}: {len(found)} runs, {len(failed)} failed")


if __name__ == "__main__":
    flags.defaults(eval_use_test_set=True, iterations_per_loop=50)
    flags.run(
        main,
        (
            *("output_dir", "hparams", "eval_use_test_set", "save_checkpoints_secs"),
            *flags.DATA,
            *flags.DEVICES,
        ),
    )
