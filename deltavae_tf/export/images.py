"""A trained model for users without this code: SavedModel, `.keras`, weights.

A SavedModel needs TensorFlow alone. `docs/export.md` shows how to call one.
"""

import os
from typing import Any

import tensorflow as tf

from deltavae_tf import errors, noise
from deltavae_tf.export import files, saved_model
from deltavae_tf.models import image_decoder

_MEANINGS = {
    "images": "integers, 0 .. num_levels - 1",
    "seed": "of all noise; the same seed gives the same numbers",
    "count": "how many images, at least 1",
    "temperature": "above 0; 1 samples the model, below 1 is sharper",
    "prior": "where z is from, one of `priors`",
    "z": "latents, one vector for each image row",
    "loc": "mean of q(z | x)",
    "scale": "standard deviation of q(z | x)",
    "distortion_nats": "-log p(x | z), one z ~ q(z | x); nats per image",
    "rate_nats": "KL(q(z | x) || p(z)), p the model's own prior; nats per image",
    "rate_aux_nats": "KL to the auxiliary prior given one prefix z; nats per image",
    "nelbo_nats": "distortion + rate, a bound on -log p(x); nats per image",
    "nelbo_aux_nats": "distortion + rate_aux; nats per image",
}


class ImageSignatures(saved_model.Signatures):
    """The functions that a SavedModel of a `DeltaVAE` for images offers.

    They give the numbers of the model: `sample` is `model.sample(count, prior,
    temperature, seed)`, `reconstruct` is `model.reconstruct(images, temperature,
    seed)`, and `log_likelihood` is `model(images)` of a model with this seed.

    Args:
      model: built `DeltaVAE` with an `ImageDecoder`, with an encoder or without.
      jit_compile: bool, compile the sampling loop with XLA, anew for each batch size.
    """

    meanings = _MEANINGS

    def __init__(self, model: Any, jit_compile: bool = False) -> None:
        decoder = model.decoder
        if not isinstance(decoder, image_decoder.ImageDecoder):
            raise errors.UserError(
                "A SavedModel is written of models with an ImageDecoder. "
                f"Received: {type(decoder).__name__}"
            )
        if decoder.num_levels > 256:
            raise errors.UserError(
                f"Images leave as uint8. Received: {decoder.num_levels} levels"
            )
        self.image_shape = decoder.image_shape
        self.num_levels = decoder.num_levels
        self.jit_compile = jit_compile
        # Not uint8: to that, TensorFlow would turn 261 into 5, and 0.9 into 0, before
        # any check could see them.
        specs = {"images": tf.TensorSpec([None, *self.image_shape], tf.float32)}
        if model.encoder is not None:
            latents = [None, *model.prior.event_shape]
            specs["z"] = tf.TensorSpec(latents, tf.float32)
        super().__init__(model, specs)
        loop = [tf.TensorSpec([None, 2], tf.uint32), self._specs["temperature"]]
        if self.priors:
            loop.append(self._specs["z"])
        # One function for all signatures: its graph is in the file once.
        self._decode = tf.function(
            lambda keys, temperature, z=None: decoder.sample(z, keys, temperature),
            input_signature=loop,
            autograph=False,
            jit_compile=jit_compile,
        )

    def functions(self) -> dict[str, Any]:
        """dict from a signature's name to its `tf.function`."""
        if not self.priors:
            return {
                "sample": self._function(self._sample, "seed count temperature"),
                "log_likelihood": self._function(self._log_likelihood, "images"),
            }
        return {
            "sample": self._function(
                self._sample_prior, "seed count temperature prior"
            ),
            "decode": self._function(self._decode_latents, "z seed temperature"),
            "reconstruct": self._function(self._reconstruct, "images seed temperature"),
            "encode": self._function(self._encode, "images"),
            "log_likelihood": self._function(self._bound, "images seed"),
        }

    def details(self) -> dict[str, Any]:
        """What the description says of the model."""
        return {
            "image_shape": list(self.image_shape),
            "num_levels": self.num_levels,
            "committed_rate_nats": self.model.committed_rate(),
            "jit_compile": self.jit_compile,
        }

    # The signatures.

    def _sample(self, seed, count, temperature):
        count = saved_model.positive("count", count)
        return self._images(saved_model.key_of(seed), count, temperature)

    def _sample_prior(self, seed, count, temperature, prior):
        count = saved_model.positive("count", count)
        temperature = saved_model.positive("temperature", temperature)
        key = saved_model.key_of(seed)
        z = self._latents(key, count, temperature, prior)
        return self._images(key, count, temperature, z)

    def _decode_latents(self, z, seed, temperature):
        z = tf.ensure_shape(z, self._specs["z"].shape, name="z")
        count = saved_model.positive("number of z", tf.shape(z)[0])
        return self._images(saved_model.key_of(seed), count, temperature, z)

    def _reconstruct(self, images, seed, temperature):
        images, key = self._checked(images), saved_model.key_of(seed)
        z = self.model.sample_posterior(images, key)
        return self._images(key, tf.shape(images)[0], temperature, z)

    def _encode(self, images):
        normal = self.model.encode(self._checked(images)).distribution
        return {"loc": normal.loc, "scale": normal.scale}

    def _log_likelihood(self, images):
        nats = self.model.terms(self._checked(images), None)["distortion"]
        return {"distortion_nats": nats, "nelbo_nats": nats}

    def _bound(self, images, seed):
        images = self._checked(images)
        # The keys of an evaluation: `DeltaVAE.call` outside of training, at step 0.
        keys = noise.fold(
            noise.fold(saved_model.key_of(seed), 0)[None], tf.range(tf.shape(images)[0])
        )
        terms = self.model.terms(images, keys)
        return saved_model.nats(terms, self.model.auxiliary_prior is not None)

    # What they share.

    def _images(self, key, count, temperature, *z):
        temperature = saved_model.positive("temperature", temperature)
        keys = noise.sample_keys(key, 0, count, noise.Purpose.DATA)
        return {"images": tf.cast(self._decode(keys, temperature, *z), tf.uint8)}

    def _checked(self, images):
        """int32 images, if there are any and every level is one of the model's."""
        images = tf.ensure_shape(images, [None, *self.image_shape])
        count = saved_model.positive("number of images", tf.shape(images)[0])
        with tf.control_dependencies([count]):
            images = tf.identity(images)
        highest = self.num_levels - 1
        good = (images >= 0) & (images <= highest) & (images == tf.floor(images))
        check = tf.debugging.Assert(
            tf.reduce_all(good),
            [f"`images` must be 0 to {highest}, in integers. Received:"]
            + [tf.boolean_mask(images, ~good)[:5]],
        )
        with tf.control_dependencies([check]):
            images = tf.identity(images)
        return tf.cast(images, tf.int32)


def write_saved_model(
    model: Any,
    path: str | os.PathLike,
    jit_compile: bool = False,
    details: dict | None = None,
) -> dict[str, Any]:
    """Writes a SavedModel, whole or not at all, in place of what was at `path`.

    Args:
      model: as `ImageSignatures`; with the weights that are to leave.
      path: str, a folder.
      jit_compile: as `ImageSignatures`.
      details: JSON-able dict for the description, such as the step.

    Returns:
      dict, the description, as `saved_model.write`.
    """
    return saved_model.write(ImageSignatures(model, jit_compile), path, details)


def write_keras(model: Any, path: str | os.PathLike) -> None:
    """Writes a `.keras` file without an optimizer.

    `import deltavae_tf.models`, then `keras.models.load_model(path)`, in Keras's safe
    mode and on any backend, gives the model.
    """
    copy = type(model).from_config(model.get_config())
    copy.build_from_config(model.get_build_config())
    copy.set_weights(model.get_weights())
    files.write_file(path, ".keras", copy.save)


def write_weights(model: Any, path: str | os.PathLike) -> None:
    """Writes a `.weights.h5` file, for `load_weights` of a model of the same build."""
    files.write_file(path, ".weights.h5", model.save_weights)
