"""A trained model for users without this code: SavedModel, `.keras`, weights.

A SavedModel needs TensorFlow alone. `docs/export.md` shows how to call one.
"""

import json
import os
import shutil

import numpy as np
import tensorflow as tf

from deltavae_tf import noise
from deltavae_tf.models import delta_vae, image_decoder

DESCRIPTION = os.path.join("assets.extra", "deltavae.json")

_INPUTS = {
    "images": "integers, 0 .. num_levels - 1",
    "seed": "of all noise; the same seed gives the same numbers",
    "count": "how many images, at least 1",
    "temperature": "above 0; 1 samples the model, below 1 is sharper",
    "prior": "where z is from, one of `priors`",
    "z": "latents, one vector for each image row",
}
_OUTPUTS = {
    "images": "integers, 0 .. num_levels - 1",
    "loc": "mean of q(z | x)",
    "scale": "standard deviation of q(z | x)",
    "distortion_nats": "-log p(x | z), one z ~ q(z | x); nats per image",
    "rate_nats": "KL(q(z | x) || p(z)), p the model's own prior; nats per image",
    "rate_aux_nats": "KL to the auxiliary prior given one prefix z; nats per image",
    "nelbo_nats": "distortion + rate, a bound on -log p(x); nats per image",
    "nelbo_aux_nats": "distortion + rate_aux; nats per image",
}


class ImageSignatures:
    """The functions that a SavedModel of a `DeltaVAE` for images offers.

    Each takes any batch size, is a pure function of its arguments, gives the numbers
    of the model, and raises `tf.errors.InvalidArgumentError`, inside the graph, where
    a value is out of range. `sample` is `model.sample(count, prior, temperature,
    seed)`, `reconstruct` is `model.reconstruct(images, temperature, seed)`, and
    `log_likelihood` is `model(images)` of a model with this seed.

    Args:
      model: built `DeltaVAE` with an `ImageDecoder`, with an encoder or without.
      jit_compile: bool, compile the sampling loop with XLA, anew for each batch size.
    """

    def __init__(self, model, jit_compile=False):
        decoder = model.decoder
        if not isinstance(decoder, image_decoder.ImageDecoder):
            raise ValueError(
                "A SavedModel is written of models with an ImageDecoder. "
                f"Received: {type(decoder).__name__}"
            )
        if decoder.num_levels > 256:
            raise ValueError(
                f"Images leave as uint8. Received: {decoder.num_levels} levels"
            )
        self.model = model
        self.image_shape = decoder.image_shape
        self.num_levels = decoder.num_levels
        self.priors = _priors(model)
        self._specs = {
            "images": tf.TensorSpec([None, *self.image_shape], tf.uint8),
            "seed": tf.TensorSpec([], tf.int64),
            "count": tf.TensorSpec([], tf.int32),
            "temperature": tf.TensorSpec([], tf.float32),
            "prior": tf.TensorSpec([], tf.string),
        }
        if self.priors:
            latents = [None, *model.prior.event_shape]
            self._specs["z"] = tf.TensorSpec(latents, tf.float32)
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

    def functions(self):
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

    def _function(self, function, names):
        specs = [self._specs[name] for name in names.split()]
        signature = [
            tf.TensorSpec(spec.shape, spec.dtype, name)
            for spec, name in zip(specs, names.split(), strict=True)
        ]
        return tf.function(function, input_signature=signature, autograph=False)

    # The signatures.

    def _sample(self, seed, count, temperature):
        count = _positive("count", count)
        return self._images(_key(seed), count, temperature)

    def _sample_prior(self, seed, count, temperature, prior):
        count = _positive("count", count)
        temperature = _positive("temperature", temperature)
        key = _key(seed)
        names = list(self.priors)
        found = tf.equal(names, prior)
        check = tf.debugging.Assert(
            tf.reduce_any(found),
            [f"`prior` must be one of {names}. Received:", prior],
        )
        with tf.control_dependencies([check]):
            place = tf.argmax(found, output_type=tf.int32)

        def latents(name):
            return lambda: self.model.sample_latents(count, name, temperature, key)

        z = tf.switch_case(place, [latents(name) for name in self.priors.values()])
        return self._images(key, count, temperature, z)

    def _decode_latents(self, z, seed, temperature):
        z = tf.ensure_shape(z, self._specs["z"].shape, name="z")
        return self._images(_key(seed), tf.shape(z)[0], temperature, z)

    def _reconstruct(self, images, seed, temperature):
        images, key = self._checked(images), _key(seed)
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
            noise.fold(_key(seed), 0)[None], tf.range(tf.shape(images)[0])
        )
        terms = self.model.terms(images, keys)
        found = {
            "distortion_nats": terms["distortion"],
            "rate_nats": terms["rate"],
            "nelbo_nats": terms["distortion"] + terms["rate"],
        }
        if self.model.auxiliary_prior is not None:
            found["rate_aux_nats"] = terms["rate_aux"]
            found["nelbo_aux_nats"] = terms["distortion"] + terms["rate_aux"]
        return found

    # What they share.

    def _images(self, key, count, temperature, *z):
        temperature = _positive("temperature", temperature)
        keys = delta_vae.pixel_keys(key, 0, count)
        return {"images": tf.cast(self._decode(keys, temperature, *z), tf.uint8)}

    def _checked(self, images):
        """int32 images, if every level is one of the model's."""
        images = tf.ensure_shape(images, [None, *self.image_shape])
        if self.num_levels < 256:
            highest = tf.reduce_max(tf.cast(images, tf.int32))
            check = tf.debugging.Assert(
                highest < self.num_levels,
                [f"`images` must be 0 to {self.num_levels - 1}. Received:", highest],
            )
            with tf.control_dependencies([check]):
                images = tf.identity(images)
        return tf.cast(images, tf.int32)


def _positive(name, value):
    """`value`, if it is above 0 (NaN is not)."""
    check = tf.debugging.Assert(
        value > 0, [f"`{name}` must be above 0. Received:", value]
    )
    with tf.control_dependencies([check]):
        return tf.identity(value)


def _key(seed):
    """`noise.make_key` of an int64 tensor."""
    high = tf.bitwise.right_shift(seed, tf.constant(32, tf.int64))
    return tf.cast(tf.stack([seed, high]) & 0xFFFFFFFF, tf.uint32)


def _priors(model):
    """dict from public names of the priors to `DeltaVAE.sample_latents`'s."""
    if model.encoder is None:
        return {}
    own = "ar1"
    if not np.any(getattr(model.prior, "alpha", [1.0])):
        own = "standard_normal"
    names = {"aux": "aux", own: "ar1"}
    if model.auxiliary_prior is None:
        del names["aux"]
    return names


def write_saved_model(model, path, jit_compile=False, details=None):
    """Writes a SavedModel, whole or not at all, in place of what was at `path`.

    Args:
      model: as `ImageSignatures`; with the weights that are to leave.
      path: str, a folder.
      jit_compile: as `ImageSignatures`.
      details: JSON-able dict for the description, such as the step.

    Returns:
      dict, the description, also in the file `DESCRIPTION` inside: signatures with
      the shapes, dtypes and meanings of inputs and outputs; priors; image shape.
    """
    signatures = ImageSignatures(model, jit_compile)
    functions = signatures.functions()
    module = tf.Module(name="deltavae")
    # Not the model: Keras objects would be saved too, and would need Keras to load.
    module.model_weights = [variable.value for variable in model.weights]
    for name, function in functions.items():
        setattr(module, name, function)
    concrete = {name: f.get_concrete_function() for name, f in functions.items()}
    description = {
        "signatures": {name: _described(f) for name, f in concrete.items()},
        "priors": list(signatures.priors),
        "image_shape": list(signatures.image_shape),
        "num_levels": signatures.num_levels,
        "committed_rate_nats": model.committed_rate(),
        "jit_compile": jit_compile,
        "tensorflow": tf.__version__,
        **(details or {}),
    }
    path = os.path.abspath(os.path.expanduser(path))
    fresh, old = f"{path}.{os.getpid()}.tmp", f"{path}.{os.getpid()}.old"
    try:
        tf.saved_model.save(module, fresh, signatures=concrete)
        os.makedirs(os.path.dirname(os.path.join(fresh, DESCRIPTION)), exist_ok=True)
        with open(os.path.join(fresh, DESCRIPTION), "w", encoding="utf-8") as file:
            json.dump(description, file, indent=1)
        if os.path.exists(path):
            os.rename(path, old)
        os.rename(fresh, path)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
        if os.path.exists(path):
            shutil.rmtree(old, ignore_errors=True)
    return description


def _described(concrete):
    def table(specs, meanings):
        return {
            name: {
                "dtype": spec.dtype.name,
                "shape": spec.shape.as_list(),
                "meaning": meanings[name],
            }
            for name, spec in specs.items()
        }

    _, inputs = concrete.structured_input_signature
    arguments, _ = concrete.structured_input_signature
    inputs = {**{spec.name: spec for spec in arguments}, **inputs}
    return {
        "inputs": table(inputs, _INPUTS),
        "outputs": table(concrete.structured_outputs, _OUTPUTS),
    }


def write_keras(model, path):
    """Writes a `.keras` file without an optimizer.

    `import deltavae_tf.models`, then `keras.models.load_model(path)`, in Keras's safe
    mode and on any backend, gives the model.
    """
    copy = type(model).from_config(model.get_config())
    copy.build_from_config(model.get_build_config())
    copy.set_weights(model.get_weights())
    _write_file(path, ".keras", copy.save)


def write_weights(model, path):
    """Writes a `.weights.h5` file, for `load_weights` of a model of the same build."""
    _write_file(path, ".weights.h5", model.save_weights)


def _write_file(path, ending, write):
    path = os.path.abspath(os.path.expanduser(path))
    if not path.endswith(ending):
        raise ValueError(f"The file's name must end in {ending}. Received: {path}")
    fresh = f"{path.removesuffix(ending)}.{os.getpid()}.tmp{ending}"
    try:
        write(fresh)
        os.replace(fresh, path)
    finally:
        if os.path.exists(fresh):
            os.unlink(fresh)
