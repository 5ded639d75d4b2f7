"""The data of a run, of any kind: what `runs/images.py` and `runs/text.py` fill in."""

import abc
import importlib

from deltavae_tf.evaluation import context as evaluation


class Data(abc.ABC):
    """A run's data set as the run uses it.

    Args:
      hparams: `sets.Hparams`.
      options: `options.Options`; of these `data_dir`, `tmp_dir`, `download`,
        `use_test_set`, `output_dir` and `seed` are read.

    Attributes:
      dataset: `data.dataset.Dataset`.
      training, held_out: the two splits, once `load` was called.
      examples: str, what examples are called.
    """

    examples = "examples"

    def __init__(self, hparams, options):
        self.hparams = hparams
        self.options = options
        self.dataset = hparams.dataset()
        self.training = self.held_out = None

    def load(self) -> None:
        """Reads the splits, once."""
        if self.training is None:
            self.training, self.held_out = self._load()

    def test_split(self):
        """The test split, whatever the run is evaluated on."""
        return self._split("test")

    def identity(self) -> dict:
        """What makes a run on these data another one than on others: JSON-able."""
        return {"training_examples": len(self.training)}

    def get_ready(self, folder) -> None:
        """Called once the run folder is claimed."""
        del folder  # Most kinds keep nothing there.

    def _held_out(self, training):
        """(training split without what is held out, the rest)."""
        return training.hold_out(self.hparams.num_held_out or self.dataset.num_held_out)

    def _split(self, split):
        options = self.options
        return self.dataset.load(
            split,
            data_dir=options.data_dir,
            tmp_dir=options.tmp_dir,
            download=options.download,
        )

    @abc.abstractmethod
    def _load(self):
        """(training split, held-out split)."""

    @abc.abstractmethod
    def training_batches(self, step: int):
        """Infinite global batches from that step on, as the engine takes them."""

    @abc.abstractmethod
    def evaluated(self, split, limit: int | None = None) -> evaluation.Examples:
        """A split as evaluations look at it; `limit`: its first examples only."""

    @abc.abstractmethod
    def num_evaluated(self, num_batches: int | None) -> int | None:
        """How many examples so many evaluation batches hold; None: all."""

    @abc.abstractmethod
    def write_samples(self, model, folder, step: int, engine) -> None:
        """Draws samples and reconstructions, and writes them."""

    @abc.abstractmethod
    def encoded(self, model, count: int) -> dict:
        """q(z | x) of the first so many held-out examples, N: a dict of arrays.

        `loc`, `scale`: float32 `[N, n, d]`; `segments`: int32 `[N, n]`, 0 where an
        example has no latent. Where examples have classes also `label`: int32 `[N]`,
        and `x`: `[N, ...]`, what one would compare without latents.
        """

    @abc.abstractmethod
    def write_neighbors(self, folder, step: int, places) -> list | None:
        """Shows held-out examples with their neighbors.

        Args:
          folder: `run_folder.RunFolder`.
          step: int.
          places: int `[rows, columns]`: an example, and those nearest to it.

        Returns:
          The same as texts; or None where a picture in samples/ shows them.
        """

    @abc.abstractmethod
    def batch_spec(self, batch_size: int) -> dict:
        """{name: (shape, dtype name)} of a training batch of this size."""

    @abc.abstractmethod
    def export(self, model, path: str, details: dict, jit_compile: bool) -> dict:
        """Writes a SavedModel, reads it back, and returns its description."""


def of(hparams, options) -> Data:
    """The `Data` of a run."""
    module = importlib.import_module(f"experiments.runs.{hparams.kind}")
    return module.Data(hparams, options)


def check_export(model, path, examples, inputs) -> None:
    """Raises unless the SavedModel on disk gives the model's nats of the examples.

    Args:
      model: the model that was written.
      path: str, of the SavedModel.
      examples: a batch as the model takes it.
      inputs: dict, the same as the signature `log_likelihood` takes it.
    """
    import numpy as np
    import tensorflow as tf

    if model.encoder is not None:
        inputs = {**inputs, "seed": tf.constant(model.seed, tf.int64)}
    loaded = tf.saved_model.load(path)
    found = loaded.signatures["log_likelihood"](**inputs)["distortion_nats"]
    expected = model(examples)["distortion"]
    if not np.allclose(found, expected, rtol=1e-3):
        raise RuntimeError(
            f"The SavedModel in {path} gives other numbers than the model. "
            f"Received: {found} nats, not {expected}"
        )
