"""Training on JAX: one device, the training split resident on it as it is (uint8),
and many steps in one compiled call, a loop on the device.

TensorBoard's events are left out: TensorFlow writes those.
"""

import contextlib
import os
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import jax
import keras
import numpy as np
from jax import export
from jax import numpy as jnp
from keras import ops

from deltavae_tf import errors
from deltavae_tf.training import averaging, engines

if TYPE_CHECKING:
    from deltavae_tf.training import loop, run_folder


def make(use_tpu: bool = False, num_gpus: int = 1) -> "Engine":
    """The `Engine`, or a UserError that says what only TensorFlow can do."""
    if use_tpu or num_gpus > 1 or os.environ.get("TF_CONFIG", "").strip():
        raise errors.UserError(
            "On JAX these programs train on one device: leave out --use_tpu, "
            "--worker_gpu and TF_CONFIG, or set KERAS_BACKEND=tensorflow. "
            f"Received: use_tpu={use_tpu}, worker_gpu={num_gpus}"
        )
    return Engine()


class Engine(engines.Engine):
    """One device that holds the training split; see `engines.Engine`."""

    def prepare(self) -> None:
        """Nothing: XLA's CPU programs repeat themselves. On a GPU set XLA_FLAGS, see
        docs/gpu.md, before the program starts."""

    def scope(self) -> AbstractContextManager:
        """Where variables are made: anywhere."""
        return contextlib.nullcontext()

    def check_agreement(self, value: int, demand: str) -> None:
        """Nothing: one process agrees with itself."""

    def any_asked(self, asked: bool) -> bool:
        """Whether this process was asked."""
        return asked

    def restarting(self) -> AbstractContextManager:
        """Context that does nothing: there is no other worker to lose."""
        return contextlib.nullcontext()

    def trainer(
        self, state: "loop.State", batches: Any, settings: "loop.Settings"
    ) -> engines.Train:
        """Trains on `data.images.resident.TrainingBatches`; see `engines`."""
        return Trainer(state.model, state.average, batches, settings.steps_per_call)

    def first_batch(self, batches: Any) -> Mapping[str, jax.Array]:
        """The first batch of `data.images.resident.TrainingBatches`."""
        (positions,) = batches.take(1)
        return {name: value[positions] for name, value in batches.columns().items()}

    def on_one_replica(self, function: Callable[[], Any]) -> Callable[[], Any]:
        """The function itself."""
        return function

    def summaries(
        self, folder: "run_folder.RunFolder", unit: str
    ) -> AbstractContextManager:
        """Context that does nothing."""
        del folder, unit
        return contextlib.nullcontext()

    def scalars(self, row: Mapping[str, float]) -> None:
        """Nothing: metrics.jsonl has them."""

    def image(self, name: str, picture: np.ndarray, step: int) -> None:
        """Nothing: samples/ has it."""

    def text(self, name: str, text: str, step: int) -> None:
        """Nothing: samples/ has it."""


class Trainer:
    """`count` steps of `model.update` as one call of the device.

    The weights and all other variables are handed over to the call (donated), and are
    there again, changed, when it returns.

    Args:
      model: built, compiled `DeltaVAE` whose optimizer is built.
      average: `averaging.WeightAverage`, or None.
      batches: `data.images.resident.TrainingBatches`.
      steps_per_call: int, the most steps of one call.
    """

    def __init__(
        self,
        model: Any,
        average: averaging.WeightAverage | None,
        batches: Any,
        steps_per_call: int,
    ) -> None:
        self._model = model
        self._average = average
        self._batches = batches
        self._columns = {k: jnp.asarray(v) for k, v in batches.columns().items()}
        self._positions = np.zeros((steps_per_call, batches.batch_size), np.int32)
        self._variables = [
            *model.trainable_variables,
            *model.non_trainable_variables,
            *model.optimizer.variables,
            *model.metrics_variables,
            *(average.variables if average else ()),
        ]
        self._train = jax.jit(self._steps, donate_argnums=0)

    def __call__(self, count: int, first: int) -> int:
        """As `engines` says."""
        self._positions[:count] = self._batches.take(count)
        values = [ops.convert_to_tensor(variable) for variable in self._variables]
        values, bad = self._train(
            values, self._columns, self._positions, np.int32(count), np.int32(first)
        )
        for variable, value in zip(self._variables, values, strict=True):
            variable.assign(value)
        return int(bad)

    def lowered_for(self, platform: str) -> export.Exported:
        """The call as a `jax.export.Exported` for "cuda", "tpu" or "cpu", none of which
        need be here."""
        values = [ops.convert_to_tensor(variable) for variable in self._variables]
        return export.export(self._train, platforms=[platform])(
            values, self._columns, self._positions, np.int32(1), np.int32(0)
        )

    def _steps(self, values, columns, positions, count, first):
        def step(i, carry):
            values, bad = carry
            batch = {name: value[positions[i]] for name, value in columns.items()}
            values, finite = self._step(values, batch)
            return values, jnp.where((bad == 0) & ~finite, first + i + 1, bad)

        # A number of steps that is no constant: one program for calls of any length.
        return jax.lax.fori_loop(0, count, step, (values, jnp.int32(0)))

    def _step(self, values, batch):
        mapping = list(zip(self._variables, values, strict=True))
        with keras.StatelessScope(state_mapping=mapping) as scope:
            logs = self._model.update(batch)
            if self._average is not None:
                self._average.update()
        # Running means: once not finite, they stay so.
        finite = jnp.isfinite(logs["loss"]) & jnp.isfinite(logs["grad_norm"])
        return [scope.get_current_value(v) for v in self._variables], finite
