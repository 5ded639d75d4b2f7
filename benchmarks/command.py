"""What the benchmarks' command lines and result files have in common."""

import argparse
import datetime

from deltavae_tf.training import checkpoints, run_folder


def parser(name, description):
    """The parser of `python -m benchmarks.NAME`; its help keeps the lines as they are.

    Args:
      name: str.
      description: str, the module's docstring.
    """
    return argparse.ArgumentParser(
        prog=f"python -m benchmarks.{name}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def versions():
    """Versions that times depend on."""
    import keras
    import tensorflow as tf
    import tensorflow_probability as tfp

    modules = (tf, keras, tfp)
    return {m.__name__: m.__version__ for m in modules}


def write(path, found):
    """Writes a dict of results, with hardware, versions and day, as JSON."""
    circumstances = {
        "hardware": run_folder.hardware(),
        "versions": versions(),
        "measured": datetime.date.today().isoformat(),
    }
    checkpoints.write_json(path, {**found, **circumstances})
