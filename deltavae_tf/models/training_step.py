"""How a delta-VAE trains and is measured: one step, its loss and its metrics.

How Keras's `fit` and its kin come to it is in `keras_methods`.
"""

from typing import Any

import keras
import numpy as np
from keras import ops

from deltavae_tf import backend, errors, objectives
from deltavae_tf.backend import Tensor
from deltavae_tf.layers import weight_norm
from deltavae_tf.models import batch as batches
from deltavae_tf.models import contract, gradients

_TERMS = ("distortion", "rate", "rate_aux")
_RATE_TOLERANCE = 1e-4  # Relative; float32 sums of n * d terms.


class TrainingStep(keras.Model):
    """The base of `DeltaVAE` that trains; the terms themselves come from `call`.

    The loop takes `update`. The number of steps (`steps`) and what the objective
    remembers are weights, and move in `compute_loss` of a training step alone.

    Args:
      objective: `objectives.Objective`, or None for `ELBO()`.
      **kwargs: for `keras.Model`.
    """

    # The unit that the code length of an example is logged in, and its name for people.
    unit: str
    unit_name: str
    # What is logged in that unit, and in nats beside the three terms.
    per_unit: tuple[str, ...] = ("nelbo", "nelbo_aux", "rate", "rate_aux")
    also_in_nats: tuple[str, ...] = ()

    def __init__(
        self, objective: objectives.Objective | None = None, **kwargs: Any
    ) -> None:
        super().__init__(autocast=False, **kwargs)
        if not isinstance(objective, objectives.Objective | None):
            raise errors.UserError(
                "`objective` must be one of `objectives`, such as ELBO(). "
                f"Received: {objective!r}"
            )
        self.objective = objectives.ELBO() if objective is None else objective
        self.clip_norm: float | None = None
        self.steps = self.add_weight(
            name="steps",
            shape=(),
            dtype="int32",
            initializer="zeros",
            trainable=False,
            aggregation="only_first_replica",
        )
        self._objective_state = {
            name: self.add_weight(
                name=f"objective_{name}",
                shape=(),
                dtype="float32",
                initializer=keras.initializers.Constant(value),
                trainable=False,
                aggregation="only_first_replica",
            )
            for name, value in self.objective.initial_state().items()
        }
        names = [f"{name}_nats" for name in _TERMS]
        names += [f"{name}_{self.unit}" for name in self.per_unit]
        names += [f"{name}_nats" for name in self.also_in_nats]
        self._term_metrics = {name: keras.metrics.Mean(name=name) for name in names}
        self._grad_norm = keras.metrics.Mean(name="grad_norm")

    def in_unit(self, nats: Tensor, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Nats of examples in the model's unit, and the weights of their mean.

        Args:
          nats: float32 `[B]`.
          x: data, `[B, ...]`.
          mask: float32 `[B]`.

        Returns:
          float32 `[B]`, float32 `[B]`.
        """
        raise NotImplementedError

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Tensor:
        """This replica's share of the loss: a scalar, in nats per example.

        The shares of all replicas sum to the mean over the global batch, weighted by
        mask and `sample_weight`. The auxiliary prior's rate is added; its gradient
        reaches the auxiliary prior alone. In training the number of steps and the
        objective's state move on.
        """
        weight = batches.unpack((x, y, sample_weight))[2]
        count = backend.sum_over_replicas(ops.sum(weight))
        count = ops.where(count == 0, 1.0, count)  # Without examples the loss is 0.

        def mean(values):  # Over the examples of all replicas.
            weights = ops.reshape(weight, (-1, *[1] * (len(values.shape) - 1)))
            total = backend.sum_over_replicas(ops.sum(values * weights, axis=0))
            return total / count

        self.check_losses(bool(self.losses))
        if training:
            self.steps.assign(self.steps + 1)
        state = {k: ops.convert_to_tensor(v) for k, v in self._objective_state.items()}
        loss, after = self.objective(y_pred, self.steps, state, mean)
        if len(loss.shape) != 1:
            raise errors.UserError(
                f"The objective `{type(self.objective).__name__}` must return a loss "
                f"[B], one number for each example. Received: {list(loss.shape)}"
            )
        if training:
            for name, variable in self._objective_state.items():
                variable.assign(after[name])
        if self.auxiliary_prior is not None:
            loss = loss + y_pred["rate_aux"]
        return ops.sum(loss * weight) / count

    def compute_metrics(
        self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None
    ) -> dict[str, Tensor]:
        """Updates the running means of the terms and returns all results."""
        data, _, weight = batches.unpack((x, y, sample_weight))
        named = {
            **y_pred,
            "nelbo": y_pred["distortion"] + y_pred["rate"],
            "nelbo_aux": y_pred["distortion"] + y_pred["rate_aux"],
        }
        values = {}
        for name in self._term_metrics:
            term, _, unit = name.rpartition("_nats")
            if unit == "" and term:
                values[name] = named[term], weight
            else:
                nats = named[name.removesuffix(f"_{self.unit}")]
                values[name] = self.in_unit(nats, data, weight)
        if backend.num_replicas() > 1:
            values = _over_replicas(values)
        for name, (value, weights) in values.items():
            self._term_metrics[name].update_state(value, sample_weight=weights)
        return self.get_metrics_result()

    def train_step(self, *args: Any) -> Any:
        """One step as Keras's `fit` takes it, of another form for each backend."""
        if backend.name == "tensorflow":
            with backend.after(args):  # A batch that is refused counts as no step.
                return self.update(*args)
        return backend.stateless_step(self.update, self._parts(True), *args)

    def update(self, batch: Any) -> dict[str, Tensor]:
        """One step of the optimizer; on TensorFlow, inside a replica.

        On JAX it may run within a `keras.StatelessScope`, and so be compiled.

        Args:
          batch: as for `call`.

        Returns:
          dict of scalars: the running means of all metrics.
        """
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(batch)
        scale = self.optimizer.scale_loss(1.0)
        scaled = gradients.is_scaled(scale)

        def loss():
            terms = self(x, training=True)
            value = self.compute_loss(x, y, terms, sample_weight)
            return (value * scale if scaled else value), terms

        value, found, terms = backend.value_and_gradients(
            loss, self.trainable_variables, self.non_trainable_variables
        )
        if scaled:
            value = value / scale
        found, norm = gradients.prepare(found, scale, self.clip_norm, self.optimizer)
        backend.apply_gradients(self.optimizer, found, self.trainable_variables)
        gradients.update_norm(self._grad_norm, norm, self.optimizer)
        self._update_loss(value, batch)
        return self.compute_metrics(x, y, terms, sample_weight)

    def test_step(self, *args: Any) -> Any:
        """Updates the metrics with one batch; the noise is every evaluation's."""
        if backend.name == "tensorflow":
            return self._measure(*args)
        return backend.stateless_step(self._measure, self._parts(False), *args)

    def _measure(self, batch):
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(batch)
        terms = self(x, training=False)
        loss = self.compute_loss(x, y, terms, sample_weight, training=False)
        self._update_loss(backend.sum_over_replicas(loss), batch)
        return self.compute_metrics(x, y, terms, sample_weight)

    def _update_loss(self, value, batch):
        """The running mean over examples, of a batch's mean over all replicas."""
        count = ops.sum(batches.unpack(batch)[2])
        self._loss_tracker.update_state(
            value, sample_weight=backend.sum_over_replicas(count)
        )

    def _parts(self, training):
        """The variables of a step on JAX, grouped as Keras hands them over."""
        parts = [self.trainable_variables, self.non_trainable_variables]
        parts += [self.optimizer.variables] * training
        return [*parts, self.metrics_variables]

    def check_losses(self, added: bool) -> None:
        """Raises a UserError if layers have added losses of their own."""
        if added:
            raise errors.UserError(
                "The loss is the objective's alone: leave out regularizers and "
                "`add_loss` (an optimizer's `weight_decay` shrinks weights). "
                "Received: a layer that adds a loss"
            )

    def check_rate(self, rates: Any, committed: Any = None) -> None:
        """Raises a FloatingPointError if a rate is below the committed rate.

        Args:
          rates: float or array, nats, of posteriors of this model.
          committed: float, or array like `rates` where examples commit to different
            rates; by default `committed_rate()`.
        """
        rates = np.asarray(rates, np.float64)
        committed = self.committed_rate() if committed is None else committed
        committed = np.broadcast_to(np.asarray(committed, np.float64), rates.shape)
        lacking = committed - rates - _RATE_TOLERANCE * np.maximum(committed, 1.0)
        if not np.all(lacking <= 0):  # A rate that is not a number is a breach too.
            worst = np.unravel_index(np.argmax(lacking), rates.shape)
            lowest, delta = rates[worst], committed[worst]
            raise FloatingPointError(
                f"A rate of {lowest} nats is below the committed rate of {delta} nats. "
                "By equation 1 this cannot be: encoder or prior is broken."
            )

    def check_finite(self, logs: dict[str, Any], where: str = "") -> None:
        """Raises a NotFiniteError that names the first term of logs that is not.

        Args:
          logs: dict of floats, as `fit` and `evaluate` report them.
          where: str, when it was seen, such as " at step 7".
        """
        names = [f"{name}_nats" for name in _TERMS]
        names += [name for name in logs if name not in names]
        for name in names:
            if name in logs and not np.isfinite(float(logs[name])):
                raise contract.not_finite(self, name, float(logs[name]), where)

    def initialize_from(self, batch: Any) -> None:
        """Sets weight-normalized layers from a first batch; a no-op without any.

        Reference: Salimans and Kingma (2016), section 3.
        """
        with weight_norm.starting_from_data(self):
            self(batch)


def _over_replicas(values):
    """Means over all replicas and their weights, the same on each replica.

    So the metrics that a replica has are those of the whole batch, whoever reads them.
    """
    sums = [ops.stack([ops.sum(v * w), ops.sum(w)]) for v, w in values.values()]
    found = {}
    for name, total in zip(values, backend.sum_over_replicas(sums), strict=True):
        found[name] = total[0] / ops.where(total[1] == 0, 1.0, total[1]), total[1]
    return found
