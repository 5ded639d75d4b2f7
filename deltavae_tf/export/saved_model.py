"""What SavedModels of images and of text share: signatures, checks, writing.

A SavedModel needs TensorFlow (for text, TensorFlow Text too) and none of our code.
"""

import abc
import os
from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from deltavae_tf.export import files
from deltavae_tf.training import checkpoints

DESCRIPTION = os.path.join("assets.extra", "deltavae.json")


class Signatures(abc.ABC):
    """Base of the functions that a SavedModel of a `DeltaVAE` offers.

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

    meanings: Mapping[str, str] = {}
    resources: tuple[Any, ...] = ()

    def __init__(self, model: Any, specs: dict[str, tf.TensorSpec]) -> None:
        self.model = model
        self.priors = _priors(model)
        self._specs = {
            "seed": tf.TensorSpec([], tf.int64),
            "count": tf.TensorSpec([], tf.int32),
            "temperature": tf.TensorSpec([], tf.float32),
            "prior": tf.TensorSpec([], tf.string),
            **specs,
        }

    @abc.abstractmethod
    def functions(self) -> dict[str, Any]:
        """dict from a signature's name to its `tf.function`."""

    @abc.abstractmethod
    def details(self) -> dict[str, Any]:
        """What the description says of the model, beside the signatures."""

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


def nats(
    terms: Mapping[str, tf.Tensor], has_auxiliary_prior: bool
) -> dict[str, tf.Tensor]:
    """The outputs of `log_likelihood`, from the terms of a `DeltaVAE`."""
    names = [name for name in ("distortion", "rate", "committed_rate") if name in terms]
    found = {f"{name}_nats": terms[name] for name in names}
    found["nelbo_nats"] = terms["distortion"] + terms["rate"]
    if has_auxiliary_prior:
        found["rate_aux_nats"] = terms["rate_aux"]
        found["nelbo_aux_nats"] = terms["distortion"] + terms["rate_aux"]
    return found


def positive(name: str, value: tf.Tensor) -> tf.Tensor:
    """`value`, if it is above 0 (NaN is not)."""
    check = tf.debugging.Assert(
        value > 0, [f"`{name}` must be above 0. Received:", value]
    )
    with tf.control_dependencies([check]):
        return tf.identity(value)


def key_of(seed: tf.Tensor) -> tf.Tensor:
    """`noise.make_key` of an int64 tensor."""
    high = tf.bitwise.right_shift(seed, tf.constant(32, tf.int64))
    return tf.cast(tf.stack([seed, high]) & 0xFFFFFFFF, tf.uint32)


def _priors(model):
    if model.encoder is None:
        return []
    names = [] if model.auxiliary_prior is None else ["auxiliary"]
    return [*names, "training"]


def write(
    signatures: Signatures, path: str | os.PathLike, details: dict | None = None
) -> dict[str, Any]:
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
    with files.new_folder(path) as folder:
        tf.saved_model.save(module, folder, signatures=concrete)
        described = os.path.join(folder, DESCRIPTION)
        os.makedirs(os.path.dirname(described), exist_ok=True)
        checkpoints.write_json(described, description)
    return description


def load(path: str | os.PathLike) -> Any:
    """`tf.saved_model.load(path)`, whatever characters are in the path.

    Args:
      path: str, the folder of a SavedModel; `~` is the home folder.
    """
    with files.plain_name(path) as name:
        return tf.saved_model.load(name)


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
