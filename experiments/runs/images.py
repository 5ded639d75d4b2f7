"""The data of a run on images."""

import os

import numpy as np
from keras import ops

from deltavae_tf.evaluation import context as evaluation
from deltavae_tf.evaluation import likelihood, posteriors
from deltavae_tf.sampling import images
from experiments.runs import data
from experiments.runs.inputs import batches

_NUM_SAMPLES = 16
_COLUMNS = 8  # Of pictures; so many images are reconstructed.
_ZOOM = 3


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
        """Grids of images, in files and, labeled, among TensorBoard's events."""
        originals = self.held_out.image[:_COLUMNS]
        if self._draw is None:
            self._draw = engine.on_one_replica(lambda: _drawn(model, originals))
        drawn = ops.convert_to_numpy(self._draw())
        samples, reconstructed = drawn[:_NUM_SAMPLES], drawn[_NUM_SAMPLES:]
        self._write_picture(folder, "step", step, samples)
        rows = ["1 to 8", "9 to 16"]
        picture = self._labeled(samples, rows, f"Samples of step {step}")
        engine.image("samples", picture, step)
        if model.encoder is not None:
            pairs = np.concatenate([originals, reconstructed])
            self._write_picture(folder, "reconstructions", step, pairs)
            rows = ["held-out image", "reconstruction"]
            picture = self._labeled(pairs, rows, f"Reconstructions of step {step}")
            engine.image("reconstructions", picture, step)

    def _labeled(self, drawn, rows, title):
        shaped = drawn.reshape(len(rows), -1, *drawn.shape[1:])
        columns = [str(number + 1) for number in range(shaped.shape[1])]
        return images.labeled_grid(
            shaped, rows, columns, title, self.dataset.num_levels
        )

    def _write_picture(self, folder, name, step, drawn, columns=_COLUMNS):
        columns = min(columns, len(self.held_out))
        picture = images.grid(drawn, columns, self.dataset.num_levels, zoom=_ZOOM)
        path = os.path.join(folder.samples, f"{name}-{step:08d}.png")
        images.write_png(path, picture)

    def encoded(self, model, count):
        """As `data.Data`."""
        examples = self.evaluated(self.held_out)
        found = posteriors.moments(model, examples.batches(count))
        found["segments"] = np.ones(found["loc"].shape[:2], np.int32)
        found["x"] = self.held_out.image[: len(found["loc"])]
        if examples.num_classes < 2:
            del found["label"]
        return found

    def write_neighbors(self, folder, step, places):
        """A picture: an image in each column, and below it those nearest to it."""
        columns = self.held_out.image[places.T.reshape(-1)]
        self._write_picture(folder, "neighbors", step, columns, len(places))

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


def _drawn(model, originals):
    """`_NUM_SAMPLES` samples and, of a model with latents, a reconstruction of each
    original: one call of the sampler, which takes the time that it takes to compile."""
    if model.encoder is None:
        return model.sample(_NUM_SAMPLES)
    z = ops.concatenate(
        [
            model.sample_latents(_NUM_SAMPLES),
            model.sample_posterior(originals, first=_NUM_SAMPLES),
        ]
    )
    return model.sample_data(z, _NUM_SAMPLES + len(originals))
