"""What SavedModels of images and of text share: signatures, checks, writing.

A SavedModel needs TensorFlow (for text, TensorFlow Text too) and none of our code.
"""

import json
import os
import shutil

import tensorflow as tf

DESCRIPTION = os.path.join("assets.extra", "deltavae.json")


class Signatures:
    """Base of the functions that a SavedModel of a `DeltaVAE` offers.

    A subclass has `functions()`, a dict from a signature's name to its `tf.function`,
    and `details()`, a dict of what the description says beside the signatures.

    Each is a pure function of its arguments, takes any number of examples, and raises
    `tf.errors.InvalidArgumentError`, inside the graph, where a value is out of range.

    Args:
      model: built `DeltaVAE`, with the weights that are to leave.
      specs: dict from the names of inputs to `tf.TensorSpec`; `seed`, `count`,
        `temperature` and `prior` are known.

    Attributes:
      priors: list of the names of priors that `DeltaVAE.sample_latents` takes; empty
        without latents.
      meanings: dict from the names of inputs and outputs to a line for people.
      resources: objects that TensorFlow has to keep beside the weights.
    """

    meanings = {}
    resources = ()

    def __init__(self, model, specs):
        self.model = model
        self.priors = _priors(model)
        self._specs = {
            "seed": tf.TensorSpec([], tf.int64),
            "count": tf.TensorSpec([], tf.int32),
            "temperature": tf.TensorSpec([], tf.float32),
            "prior": tf.TensorSpec([], tf.string),
            **specs,
        }

    def _function(self, function, names):
        """A `tf.function` of the inputs of these names, in this order."""
        signature = [
            tf.TensorSpec(self._specs[name].shape, self._specs[name].dtype, name)
            for name in names.split()
        ]
        return tf.function(function, input_signature=signature, autograph=False)

    def _latents(self, key, count, temperature, prior):
        """Latents of the prior whose name is the string tensor `prior`."""
        names = self.priors
        found = tf.equal(names, prior)
        check = tf.debugging.Assert(
            tf.reduce_any(found),
            [f"`prior` must be one of {names}. Received:", prior],
        )
        with tf.control_dependencies([check]):
            place = tf.argmax(found, output_type=tf.int32)

        def latents(name):
            return lambda: self.model.sample_latents(count, name, temperature, key)

        return tf.switch_case(place, [latents(name) for name in self.priors])


def nats(terms, has_auxiliary_prior):
    """The outputs of `log_likelihood`, from the terms of a `DeltaVAE`."""
    names = [name for name in ("distortion", "rate", "committed_rate") if name in terms]
    found = {f"{name}_nats": terms[name] for name in names}
    found["nelbo_nats"] = terms["distortion"] + terms["rate"]
    if has_auxiliary_prior:
        found["rate_aux_nats"] = terms["rate_aux"]
        found["nelbo_aux_nats"] = terms["distortion"] + terms["rate_aux"]
    return found


def positive(name, value):
    """`value`, if it is above 0 (NaN is not)."""
    check = tf.debugging.Assert(
        value > 0, [f"`{name}` must be above 0. Received:", value]
    )
    with tf.control_dependencies([check]):
        return tf.identity(value)


def key_of(seed):
    """`noise.make_key` of an int64 tensor."""
    high = tf.bitwise.right_shift(seed, tf.constant(32, tf.int64))
    return tf.cast(tf.stack([seed, high]) & 0xFFFFFFFF, tf.uint32)


def _priors(model):
    if model.encoder is None:
        return []
    names = [] if model.auxiliary_prior is None else ["auxiliary"]
    return [*names, "training"]


def write(signatures, path, details=None):
    """Writes a SavedModel, whole or not at all, in place of what was at `path`.

    Args:
      signatures: `Signatures`.
      path: str, a folder.
      details: JSON-able dict for the description, such as the step.

    Returns:
      dict, the description, also in the file `DESCRIPTION` inside: signatures with
      the shapes, dtypes and meanings of inputs and outputs; priors; `details`.
    """
    functions = signatures.functions()
    module = tf.Module(name="deltavae")
    # Not the model: Keras objects would be saved too, and would need Keras to load.
    module.model_weights = [variable.value for variable in signatures.model.weights]
    module.resources = list(signatures.resources)
    for name, function in functions.items():
        setattr(module, name, function)
    concrete = {name: f.get_concrete_function() for name, f in functions.items()}
    description = {
        "signatures": {
            name: _described(f, signatures.meanings) for name, f in concrete.items()
        },
        "priors": signatures.priors,
        **signatures.details(),
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


def _described(concrete, meanings):
    def table(specs):
        return {
            name: {
                "dtype": spec.dtype.name,
                "shape": spec.shape.as_list(),
                "meaning": meanings[name],
            }
            for name, spec in specs.items()
        }

    arguments, named = concrete.structured_input_signature
    inputs = {**{spec.name: spec for spec in arguments}, **named}
    return {"inputs": table(inputs), "outputs": table(concrete.structured_outputs)}
