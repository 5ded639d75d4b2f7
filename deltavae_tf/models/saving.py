"""The weights and the files of a delta-VAE, as Keras makes them."""

import os
from collections.abc import Mapping
from typing import Any

import keras
from keras import ops

from deltavae_tf import errors
from deltavae_tf.models import batch as batches


class Saving(keras.Model):
    """The methods of `DeltaVAE` that make, load and save weights."""

    built: bool  # Kept by Keras.
    _example: dict[str, Any] | None = None  # Shape and dtype, of what it was built on.

    def build(self, input_shape: Any, dtype: str | None = None) -> None:
        """Makes the weights.

        Args:
          input_shape: shape of a batch, `[B, ...]` (B may be None); or a dict of it,
            such as `{"image": (None, 32, 32, 3)}`.
          dtype: str, of the data; by default int32 if the decoder is over levels or a
            vocabulary, else float32.
        """
        if self.built or self._example is not None:  # Keras says that it called us.
            return
        if isinstance(input_shape, Mapping):
            input_shape = input_shape[batches.kind(input_shape)]
        ours = ("num_levels", "vocabulary_size")
        if dtype is None:
            whole = any(hasattr(self.decoder, name) for name in ours)
            dtype = "int32" if whole else "float32"
        # Symbolic: what a decoder makes of a made-up value is of no interest. And not
        # by a call, for which Keras would make the graph twice.
        example = keras.KerasTensor((1, *input_shape[1:]), dtype)
        try:
            self.compute_output_spec(example)
        except errors.UserError as error:  # Keras put a frame of its own around it.
            reason = str(error).rpartition("Error encountered:")[2].strip()
            raise errors.UserError(reason) from None
        self._example = batches.describe(example)

    # A first call makes the weights by itself: a mark that Keras looks for.
    build._is_default = True  # type: ignore[attr-defined]

    def load_weights(self, filepath: Any, *args: Any, **kwargs: Any) -> None:
        """As `keras.Model.load_weights`; a file that does not fit changes nothing."""
        self.check_built("load_weights")
        before = [(v, ops.convert_to_numpy(v)) for v in self.variables]
        try:
            super().load_weights(filepath, *args, **kwargs)
        except Exception:
            for variable, value in before:
                variable.assign(value)
            raise

    def save_weights(self, filepath: Any, *args: Any, **kwargs: Any) -> None:
        """As `keras.Model.save_weights`."""
        self.check_built("save_weights")
        super().save_weights(filepath, *args, **kwargs)

    def save(self, filepath: Any, *args: Any, **kwargs: Any) -> None:
        """As `keras.Model.save`, into a `.keras` file."""
        if os.fspath(filepath).endswith((".h5", ".hdf5")):
            raise errors.UserError(
                'A model is saved as one ".keras" file (HDF5 takes weights alone, by '
                f'`save_weights("m.weights.h5")`). Received: {filepath}'
            )
        super().save(filepath, *args, **kwargs)

    def export(self, *args: Any, **kwargs: Any) -> None:
        """Refused: `call` gives the terms of a loss; nobody serves those."""
        raise errors.UserError(
            "Keras would export `call`, the terms of the loss: to serve samples, use "
            "`deltavae_tf.export`, or `python -m experiments.export` for a run. "
            f"Received: export{args}"
        )

    @classmethod
    def from_preset(
        cls, name_or_folder: str | os.PathLike, use_average: bool = True
    ) -> Any:
        """A trained model of this class: see `deltavae_tf.from_preset`."""
        # By its public name: what reads files builds on models, not they on it.
        import deltavae_tf

        found = deltavae_tf.from_preset(name_or_folder, use_average)
        if not isinstance(found, cls):
            raise errors.UserError(
                f"This is no {cls.__name__}: `deltavae_tf.from_preset` takes any. "
                f"Received: a {type(found).__name__}, of {str(name_or_folder)!r}"
            )
        return found

    def check_built(self, name: str) -> None:
        """Raises a UserError if the model has no weights yet."""
        if not self.built:
            raise errors.UserError(
                f"`{name}` needs the model's weights, which its first call makes: call "
                "`model.build(shape of a batch)`, or the model on a batch, before. "
                "Received: a model without weights"
            )

    def get_compile_config(self) -> dict[str, Any] | None:
        """What `save` keeps of `compile`."""
        if not self.compiled:
            return None
        return {
            "optimizer": keras.saving.serialize_keras_object(self.optimizer),
            "clip_norm": self.clip_norm,
            "jit_compile": self.jit_compile,
            "run_eagerly": self.run_eagerly,
            "steps_per_execution": self.steps_per_execution,
        }

    def compile_from_config(self, config: dict[str, Any]) -> None:
        """Compiles a loaded model as it was."""
        self.compile(**keras.saving.deserialize_keras_object(config))
        if self.built:
            self.optimizer.build(self.trainable_variables)
