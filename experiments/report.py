r"""Writes a page that shows one run, or several side by side: one HTML file.

  python -m experiments.report --output_dir=/tmp/digits
  python -m experiments.report --output_dir=/tmp/digits,/tmp/plain --html=/tmp/both.html
  python -m experiments.report --output_dir=demo

--output_dir names run folders, or a folder that holds some, as the demo and a sweep
leave it. The page opens offline. It has a verdict, curves with delta and the
information frontier, rates by row and channel, samples, reconstructions, nearest
neighbors, the table of the evaluation, the cost, and the settings, with those marked
that differ.

It reads what the run folders hold, and says what is not there and which command makes
it. Training writes it at its end; `experiments.evaluate` writes it anew.
"""

import os

from experiments import flags

FLAGS = flags.FLAGS
_HTML = flags.define_path(
    "html", None, "The file to write; by default report.html in the first folder."
)


def main(_):
    """Reads, writes, says where the page is."""
    from deltavae_tf import errors
    from experiments import quiet

    if not FLAGS.output_dir:
        raise errors.UserError(
            "--output_dir is needed: a run folder, a folder of them, or several, "
            "separated by commas. Received: none"
        )
    quiet.libraries(info=False)
    from experiments.page import write

    paths = [FLAGS.output_dir]
    if not os.path.isdir(paths[0]):
        paths = [path.strip() for path in paths[0].split(",") if path.strip()]
    print(f"Wrote {write.write(paths, _HTML.value)}")


if __name__ == "__main__":
    flags.run(main, ("output_dir", "t2t_usr_dir"))
