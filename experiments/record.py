r"""Turns finished run folders into evidence: a JSON file for experiments/results/.

  python -m experiments.record --output_dir=/tmp/cifar10 \
      --decode_to_file=experiments/results/cifar10_small.json

Needs the run's evaluation.json, which training and `experiments.evaluate` write. A
number enters the documentation only through such a file.
"""

import os

from experiments import flags

FLAGS = flags.FLAGS
_HARDWARE = flags.flags.DEFINE_string(
    "hardware", "", "What it ran on; by default this machine's processor and cores."
)
_MEANING = flags.flags.DEFINE_string(
    "meaning", "", "A line for people; by default what the hparams set says of itself."
)


def main(_):
    """Writes the file."""
    from deltavae_tf import errors
    from experiments import quiet

    if not FLAGS.output_dir or not FLAGS.decode_to_file:
        raise errors.UserError(
            "--output_dir, a run folder, and --decode_to_file are needed. Received: "
            f"{FLAGS.output_dir} and {FLAGS.decode_to_file}"
        )
    quiet.libraries(info=False)
    from experiments.runs import results

    path = FLAGS.output_dir
    name = os.path.basename(os.path.abspath(path))
    found = results.entry(path, name, name, curve=True)
    meaning = _MEANING.value or f"{found['experiment']}: {name}"
    results.write(FLAGS.decode_to_file, meaning, [found], hardware=_HARDWARE.value)
    print(f"Wrote {FLAGS.decode_to_file}")


if __name__ == "__main__":
    flags.run(main, ("output_dir", "decode_to_file"))
