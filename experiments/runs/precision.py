"""dtype=auto: a run takes the quicker precision of the machine that it starts on."""

from absl import logging

from deltavae_tf import backend
from deltavae_tf.training import run_folder

AUTO = "auto"
DTYPES = ("float32", "mixed_bfloat16")
# A step in bfloat16 must take at most this share of one in float32: it rounds more.
_WORTH_IT = 0.95


def recorded(hparams, path):
    """The hyper-parameters with the precision that the run in a folder was given.

    Args:
      hparams: `sets.Hparams`.
      path: str, of a run folder, which need not exist.
    """
    if hparams.dtype != AUTO:
        return hparams
    try:
        _, held = run_folder.read_identity(path)
    except FileNotFoundError:
        return hparams
    return hparams.replace(dtype=held["dtype"]) if "dtype" in held else hparams


def chosen(hparams, spec):
    """The hyper-parameters with the precision that is the quicker here; says which.

    With a GPU or a TPU that is mixed_bfloat16, whose products its matrix units compute.
    On a processor it depends on its instructions, and on the model: a training step is
    measured in either.

    Args:
      hparams: `sets.Hparams`.
      spec: {name: (shape, dtype name)} of a training batch.
    """
    if hparams.dtype != AUTO:
        return hparams
    accelerators = backend.accelerators()
    if accelerators:
        dtype, why = "mixed_bfloat16", f"for the {accelerators[0]}"
    elif backend.name == "jax":
        dtype, why = "float32", "without an accelerator JAX computes in it"
    else:
        seconds = _seconds_of_a_step(hparams, spec)
        dtype = quicker(seconds)
        why = "a step takes " + " and ".join(
            f"{1e3 * value:.0f} ms in {name}" for name, value in seconds.items()
        )
    logging.info("dtype=auto: %s (%s).", dtype, why)
    return hparams.replace(dtype=dtype)


def quicker(seconds):
    """The dtype to take, of {dtype: seconds of a step}."""
    wide, half = (seconds[name] for name in DTYPES)
    return DTYPES[half <= _WORTH_IT * wide]


def _seconds_of_a_step(hparams, spec):
    import keras
    import tensorflow as tf

    from experiments import build
    from experiments.runs import machine

    batch = {name: tf.TensorSpec(*of_part) for name, of_part in spec.items()}
    steps = {
        dtype: machine.step(build.model(hparams.replace(dtype=dtype)), batch)
        for dtype in DTYPES
    }
    found = machine.medians(steps, rounds=3)
    keras.backend.clear_session()  # The trial's graphs are of no more use.
    return found
