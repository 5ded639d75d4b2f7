"""A model's configuration as JSON: how it is put together, without its weights.

    {"format": 1, "fingerprint": str, "model": what Keras makes of the model}

It is `model.json` in a run folder and in a preset. Such a file may come from anybody:
it names classes, and only those of Keras, of this library, and those that the process
has registered with Keras by itself are made.
"""

import importlib
import json
import os
import re
from typing import Any

import keras

from deltavae_tf import errors
from deltavae_tf.models import delta_vae

NAME = "model.json"
_FORMAT = 1
_MOST_BYTES = 4 << 20
_OURS = re.compile(r"deltavae_tf\.(distributions|layers|models|objectives)(\.\w+)*")
# What Keras writes for a value that JSON has no form for.
_VALUES = {
    *("__bytes__", "__ellipsis__", "__keras_tensor__", "__numpy__", "__slice__"),
    *("__tensor__", "__tuple__"),
}


def of(model: Any, fingerprint: str = "") -> dict[str, Any]:
    """The content of a file for `model`, JSON-able.

    Args:
      model: built `DeltaVAE`.
      fingerprint: str, of the checkpoints that fit, see `checkpoints.fingerprint`.

    Raises:
      UserError: a part of the model has no `get_config`, or one that is no JSON.
    """
    try:
        config = keras.saving.serialize_keras_object(model)
        config.pop("compile_config", None)  # How it trained is another matter.
        content = {"format": _FORMAT, "fingerprint": fingerprint, "model": config}
        return json.loads(json.dumps(content, allow_nan=False))
    except (NotImplementedError, TypeError, ValueError, RecursionError) as error:
        raise errors.UserError(
            "A part of the model cannot be written down: each needs a `get_config` "
            f"that JSON can hold. Received: {_one_line(error)}"
        ) from error


def read(path: str | os.PathLike) -> dict[str, Any]:
    """The content of a file, bounded; nothing is made of it yet.

    Raises:
      UserError: it is missing, too long or no configuration of a model.
    """
    try:
        content = read_bounded(path, _MOST_BYTES, _FORMAT)
        if not isinstance(content["fingerprint"], str):
            raise ValueError("'fingerprint' must be text")
        if not isinstance(content["model"], dict):
            raise ValueError("'model' must be an object")
    except OSError as error:
        raise errors.UserError(
            f"{path} cannot be read. Received: {error.strerror}"
        ) from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise errors.UserError(
            f"{path} is no configuration of a model. Received: {_one_line(error)}"
        ) from error
    return content


def read_bounded(path: str | os.PathLike, most_bytes: int, form: int) -> dict[str, Any]:
    """A JSON object of at most so many bytes, whose "format" is `form`.

    Raises:
      OSError, ValueError, KeyError, TypeError, RecursionError: it cannot be read, or is
        no such object; the caller says which file it is.
    """
    with open(path, "rb") as file:
        text = file.read(most_bytes + 1)
    if len(text) > most_bytes:
        raise ValueError(f"longer than {most_bytes:,} bytes")
    content = json.loads(text)
    if content["format"] != form:
        raise ValueError(
            f"format {content['format']!r}; this version reads format {form}"
        )
    return content


def make(content: dict[str, Any]) -> delta_vae.DeltaVAE:
    """The model of a file's content, built, with weights of no meaning yet.

    Raises:
      UserError: it names a class that is not to be trusted, or makes no model.
    """
    config = content["model"]
    try:
        _check_classes(config)
        config = {k: v for k, v in config.items() if k != "compile_config"}
        model = keras.saving.deserialize_keras_object(config, safe_mode=True)
        if not isinstance(model, delta_vae.DeltaVAE):
            raise ValueError(f"it makes a {type(model).__name__}, not a DeltaVAE")
        model.check_built("from_preset")
    except MemoryError:
        raise
    except Exception as error:  # Keras raises whatever a wrong argument leads to.
        raise errors.UserError(
            f"The model's configuration is of no use. Received: {_one_line(error)}"
        ) from error
    return model


def _check_classes(node):
    """Raises a ValueError for a class that is neither known nor registered."""
    if isinstance(node, list):
        for value in node:
            _check_classes(value)
    if not isinstance(node, dict):
        return
    if "class_name" in node and "config" in node:
        _check_class(node)
    for value in node.values():
        _check_classes(value)


def _check_class(node):
    name, module = node["class_name"], node.get("module") or ""
    registered = node.get("registered_name") or name
    if not all(isinstance(text, str) for text in (name, module, registered)):
        raise ValueError("the name of a class must be text")
    if _OURS.fullmatch(module):
        importlib.import_module(module)  # Which registers the class.
    elif name in _VALUES or module == "keras" or module.startswith("keras."):
        return
    elif name == "function" and module == "builtins":
        return  # One of Keras's own by its name, or a registered one.
    if keras.saving.get_registered_object(registered) is None:
        raise ValueError(
            f"{module}.{name} is no class of Keras or deltavae_tf; import the module "
            "that registers it first, if you trust it"
        )


def _one_line(error):
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 300 else f"{text[:300]} ..."
