r"""Turns a run folder of version 0.1 into one of this version; copies, never changes.

  python -m experiments.convert --warm_start_from=/tmp/old_run --output_dir=/tmp/run

What changed is names: `method` is now prior, posterior and objective, fields that a run
does not read are left out. Weights, optimizer and average stay what they were.
"""

import os
import shutil

from experiments import flags

FLAGS = flags.FLAGS
_OLD_NAMES = {
    "training_images": "training_examples",
    "training_sentences": "training_examples",
}


def main(_):
    """Converts and copies."""
    from deltavae_tf import errors
    from deltavae_tf.training import checkpoints, run_folder
    from experiments.runs import run as runs

    source, target = FLAGS.warm_start_from, FLAGS.output_dir
    if not source or not target or os.path.exists(target):
        raise errors.UserError(
            "--warm_start_from (a run folder) and --output_dir (a new folder) are "
            f"needed. Received: {source} and {target}"
        )
    _, held = run_folder.read_identity(source)
    held = {_OLD_NAMES.get(name, name): value for name, value in held.items()}
    if "method" not in held:
        raise errors.UserError(f"{source} needs no converter. Received: a newer run")
    identity = {name: held.pop(name) for name in runs.IDENTITY if name in held}
    chosen = of_first_version(held)
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("checkpoints", ".*"))
    content = {"experiment": chosen.problem, "hparams": chosen.to_dict() | identity}
    path = os.path.join(target, "hparams.json")
    checkpoints.write_json(path, content, sort_keys=True)
    if os.path.exists(os.path.join(target, "evaluation.json")):
        os.remove(os.path.join(target, "evaluation.json"))  # --schedule=evaluate.
    manager = checkpoints.CheckpointManager(
        os.path.join(target, "checkpoints"),
        checkpoints.fingerprint(chosen.architecture()),
        keep_max=0,
    )
    folder = os.path.join(source, "checkpoints")
    names = sorted(name for name in os.listdir(folder) if name.endswith(".npz"))
    for name in names:
        found = checkpoints.read(os.path.join(folder, name))
        manager.save(found.step, found.arrays, found.metadata)
    print(f"Wrote {target}: {len(names)} checkpoints of a {chosen.method}")


def of_first_version(values):
    """`Hparams` of the fields of version 0.1, which had them all in every run."""
    from experiments import sets
    from experiments.sets import methods, run_hparams

    values = dict(values)
    values |= methods.expand(values.pop("method"))
    if "layers" in values:
        values["encoder"] = "transformer"
    read = run_hparams.fields_of(values)
    return sets.from_dict({k: v for k, v in values.items() if k in read})


if __name__ == "__main__":
    flags.run(main, ("warm_start_from", "output_dir"))
