"""The data of a run on images."""

import os

import numpy as np

from deltavae_tf.evaluation import context as evaluation
from deltavae_tf.evaluation import likelihood
from deltavae_tf.sampling import images
from experiments.runs import data
from experiments.runs.inputs import batches

_NUM_SAMPLES = 16


class Data(data.Data):
    """See `data.Data`."""

    examples = "images"
    _draw = None

    def _load(self):
        training = self._split("train")
        if self.options.use_test_set:
            return training, self._split("test")
        return self._held_out(training)

    def training_batches(self, step):
        """As `data.Data`."""
        return batches.training_batches(
            self.training, self.hparams.batch_size, self.options.seed, step
        )

    def evaluated(self, split, limit=None):
        """As `data.Data`."""
        if limit is not None:
            split = split.first(limit)
        size = self.hparams.eval_batch_size
        return evaluation.Examples(
            batches=lambda count=None: batches.evaluation_batches(split, size, count),
            name=split.name,
            num_examples=len(split),
            unit=likelihood.BitsPerDim(self.dataset.num_dims),
            note=split.note,
            num_classes=self.dataset.num_classes,
            class_names=self.dataset.class_names,
        )

    def num_evaluated(self, num_batches):
        """As `data.Data`."""
        return num_batches and num_batches * self.hparams.eval_batch_size

    def write_samples(self, model, folder, step, engine):
        """A grid of images, in a file and among TensorBoard's events."""
        if self._draw is None:
            self._draw = engine.on_one_replica(lambda: model.sample(_NUM_SAMPLES))
        drawn = self._draw()
        path = os.path.join(folder.samples, f"step-{step:08d}.png")
        picture = images.grid(drawn, 8, self.dataset.num_levels, zoom=3)
        images.write_png(path, picture)
        engine.image("samples", picture, step)

    def batch_spec(self, batch_size):
        """As `data.Data`."""
        return {
            "image": ((batch_size, *self.dataset.image_shape), "uint8"),
            "index": ((batch_size,), "int32"),
            "mask": ((batch_size,), "float32"),
        }

    def export(self, model, path, details, jit_compile):
        """As `data.Data`."""
        from deltavae_tf.export import images as export

        found = export.write_saved_model(
            model, path, jit_compile=jit_compile, details=details
        )
        shape = (4, *model.decoder.image_shape)
        examples = np.random.default_rng(0).integers(0, model.decoder.num_levels, shape)
        data.check_export(model, path, examples, {"images": examples})
        return found
