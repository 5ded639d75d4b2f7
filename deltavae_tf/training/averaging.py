"""Exponential moving average of weights, on any Keras backend.

Keras's own `use_ema` overwrites the weights with the average when `fit` ends, so
training in pieces is not training at once; here raw and averaged weights both live on.
"""

import contextlib
from collections.abc import Iterator, Sequence

import keras
import numpy as np
from keras import ops

from deltavae_tf import backend, errors
from deltavae_tf.training import checkpoints

# The weights are the same on all replicas, hence so are the averages.
_ON_EACH_REPLICA = {
    "synchronization": "on_read",
    "aggregation": "only_first_replica",
}


class WeightAverage:
    """average += (1 - d) * (weight - average), with d = min(decay, (1 + t)/(10 + t)).

    t counts earlier updates; with the warm-up the start is forgotten quickly. Under a
    `tf.distribute` strategy create it within the scope; `update` may be called by each
    replica, which then averages on its own device without a word to the others, or
    from outside.

    Args:
      variables: list of `keras.Variable`, the trainable variables of a model.
      decay: float in [0, 1), the weight of the past.
      warmup: bool, False uses `decay` from the first update on.
    """

    def __init__(
        self,
        variables: Sequence[keras.Variable],
        decay: float = 0.999,
        warmup: bool = True,
    ) -> None:
        if not 0.0 <= decay < 1.0:
            raise errors.UserError(f"`decay` must be in [0, 1). Received: {decay}")
        if not variables:
            raise errors.UserError("No variables to average: build the model first.")
        self.decay = decay
        self.warmup = warmup
        self._variables = list(variables)
        # Copies on the host: an array shared with a weight breaks JAX's donation.
        self._averages = [
            keras.Variable(
                _to_numpy(variable),
                dtype="float32",
                trainable=False,
                name=f"average_{index:05d}",
                **_ON_EACH_REPLICA,
            )
            for index, variable in enumerate(self._variables)
        ]
        self._updates = keras.Variable(
            0,
            dtype="int32",
            trainable=False,
            name="average_updates",
            **_ON_EACH_REPLICA,
        )
        self._applied = False

    @property
    def variables(self) -> list[keras.Variable]:
        """What a checkpoint needs: the averages, then the number of updates."""
        return [*self._averages, self._updates]

    def update(self) -> None:
        """Moves the averages towards the weights; call it once after each step."""
        if self._applied:
            raise RuntimeError("The averages cannot be updated while they are applied.")
        t = ops.cast(self._updates, "float32")
        decay = ops.minimum(self.decay, (1.0 + t) / (10.0 + t))
        if not self.warmup:
            decay = self.decay
        share = 1.0 - decay
        for average, variable in zip(self._averages, self._variables, strict=True):
            backend.move_towards(average, ops.cast(variable, "float32"), share)
        self._updates.assign_add(1)

    def reset(self) -> None:
        """Starts anew, at the weights of now."""
        for average, variable in zip(self._averages, self._variables, strict=True):
            average.assign(ops.cast(_to_numpy(variable), "float32"))
        self._updates.assign(0)

    @contextlib.contextmanager
    def applied(self) -> Iterator[None]:
        """Within this context the model has the averaged weights; eager only."""
        if self._applied:
            raise RuntimeError("The averages are applied already.")
        raw = [_to_numpy(variable) for variable in self._variables]
        self._applied = True
        try:
            for variable, average in zip(self._variables, self._averages, strict=True):
                variable.assign(ops.cast(_to_numpy(average), variable.dtype))
            yield
        finally:
            for variable, value in zip(self._variables, raw, strict=True):
                variable.assign(value)
            self._applied = False


def assign(
    variables: Sequence[keras.Variable], checkpoint: checkpoints.Checkpoint
) -> None:
    """Gives `variables` the average that a checkpoint holds of them.

    Args:
      variables: list of `keras.Variable`, the trainable variables of a model.
      checkpoint: of a run that kept an average of these.

    Raises:
      UserError: there is no average of one of them.
    """
    for i, variable in enumerate(variables):
        if f"average/{i:05d}" not in checkpoint.arrays:
            raise errors.UserError(
                f"{checkpoint.path} must have an average of all weights. "
                f"Received: none of weight {i}"
            )
        variable.assign(checkpoint.arrays[f"average/{i:05d}"])


def _to_numpy(variable):
    return np.array(ops.convert_to_numpy(ops.convert_to_tensor(variable)))


class AverageWeights(keras.callbacks.Callback):
    """Averages the weights during a plain `model.fit`, which stays on the raw ones.

        averaging = AverageWeights(0.999)
        model.fit(..., callbacks=[averaging])
        with averaging.average.applied():
            model.evaluate(...)

    Attributes:
      average: the `WeightAverage`, None before the first `fit`; a further `fit`
        continues it.
    """

    def __init__(self, decay: float = 0.999, warmup: bool = True) -> None:
        super().__init__()
        self.decay = decay
        self.warmup = warmup
        self.average: WeightAverage | None = None

    def on_train_begin(self, logs: dict | None = None) -> None:
        """Starts the average at the weights of now, unless it is there already."""
        del logs
        if self.average is None:
            self.average = WeightAverage(
                self.model.trainable_variables, self.decay, self.warmup
            )

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        """Updates the average."""
        del batch, logs
        _ = self.model  # On JAX asking for the model writes its weights back.
        if self.average is not None:
            self.average.update()
