"""What is written of a trained model that is at hand. A failure is a warning."""

import contextlib
import glob
import os

from absl import logging

from experiments.runs import latents


def draw(folder, model, data, step: int, weights: str, engine) -> None:
    """Draws what the report shows of a model, unless training has drawn it already.

    Args: as `latents.write`, and
      engine: `deltavae_tf.training.engines.Engine`.
    """
    with _warning("samples"):
        names = ["step"] + ["reconstructions"] * (model.encoder is not None)
        start = glob.escape(folder.samples)
        drawn = [glob.glob(f"{start}/{name}-{step:08d}.*") for name in names]
        if not all(drawn):
            os.makedirs(folder.samples, exist_ok=True)
            data.write_samples(model, folder, step, engine)
    measure(folder, model, data, step, weights)


def measure(folder, model, data, step: int, weights: str) -> None:
    """Writes latents.json and the report; args as `latents.write`."""
    with _warning(latents.FILE):
        latents.write(folder, model, data, step, weights)
    with _warning("report"):
        from experiments.page import write

        logging.info("Wrote %s", write.write([folder.path]))


@contextlib.contextmanager
def _warning(what):
    """Makes any error a line: the run is done, whatever a picture of it lacks."""
    try:
        yield
    except Exception as error:
        text = " ".join(str(error).split())[:300]
        logging.warning("No %s: %s: %s", what, type(error).__name__, text)
