"""How a delta-VAE trains and is measured: one step, its metrics, Keras's `fit`."""

from typing import Any

import keras
import numpy as np
from keras import ops

from deltavae_tf import backend, errors, objectives
from deltavae_tf.backend import Tensor
from deltavae_tf.layers import weight_norm
from deltavae_tf.models import batch as batches

_TERMS = ("distortion", "rate", "rate_aux")
_RATE_TOLERANCE = 1e-4  # Relative; float32 sums of n * d terms.


class TrainingStep(keras.Model):
    """The base of `DeltaVAE` that trains; the terms themselves come from `call`.

    The loop takes `update`; Keras's own step on JAX uses `compute_loss`. The number of
    steps (`steps`) and what the objective remembers are weights, and move in
    `compute_loss` of a training step alone.

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
    auxiliary_prior: Any

    def __init__(
        self, objective: objectives.Objective | None = None, **kwargs: Any
    ) -> None:
        super().__init__(autocast=False, **kwargs)
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

    def compile(
        self,
        optimizer: str | keras.optimizers.Optimizer = "adam",
        clip_norm: float | None = None,
        **kwargs: Any,
    ) -> None:
        """As `keras.Model.compile`; the loss is the objective's.

        Args:
          optimizer: keras optimizer or its name.
          clip_norm: float or None, bound on the norm of the gradient over all
            replicas (Keras's own clips each replica's).
          **kwargs: for `keras.Model.compile`, without `loss`. `jit_compile` is off
            unless asked for: on a CPU the plain graph is faster.
        """
        if kwargs.get("loss") is not None:
            raise errors.UserError(
                "The objective belongs to the model: DeltaVAE(..., objective=...). "
                f"Received: loss={kwargs['loss']}"
            )
        self.clip_norm = clip_norm
        super().compile(optimizer, **{"jit_compile": False, **kwargs})

    def get_compile_config(self) -> dict[str, Any] | None:
        """What `save` keeps of `compile`."""
        if not self.compiled:
            return None
        return {
            "optimizer": keras.saving.serialize_keras_object(self.optimizer),
            "clip_norm": self.clip_norm,
            "jit_compile": self.jit_compile,
        }

    def compile_from_config(self, config: dict[str, Any]) -> None:
        """Compiles a loaded model as it was."""
        self.compile(**keras.saving.deserialize_keras_object(config))
        if self.built:
            self.optimizer.build(self.trainable_variables)

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Tensor:
        """This replica's share of the loss: a scalar, in nats per example.

        The shares of all replicas sum to the mean over the global batch. The auxiliary
        prior's rate is added; its gradient reaches the auxiliary prior alone. In
        training the number of steps and the objective's state move on.
        """
        del y, sample_weight
        mask = batches.unpack(x)[2]

        def mean(values):  # Over the examples of all replicas.
            weights = ops.reshape(mask, (-1, *[1] * (len(values.shape) - 1)))
            total = backend.sum_over_replicas(ops.sum(values * weights, axis=0))
            count = backend.sum_over_replicas(ops.sum(mask))
            return total / ops.maximum(count, 1.0)

        if training:
            self.steps.assign(self.steps + 1)
        state = {k: ops.convert_to_tensor(v) for k, v in self._objective_state.items()}
        loss, after = self.objective(y_pred, self.steps, state, mean)
        if training:
            for name, variable in self._objective_state.items():
                variable.assign(after[name])
        if self.auxiliary_prior is not None:
            loss = loss + y_pred["rate_aux"]
        return ops.mean(loss * mask) / backend.num_replicas()

    def compute_metrics(
        self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None
    ) -> dict[str, Tensor]:
        """Updates the running means of the terms and returns all results."""
        del y, sample_weight
        data, _, mask = batches.unpack(x)
        named = {
            **y_pred,
            "nelbo": y_pred["distortion"] + y_pred["rate"],
            "nelbo_aux": y_pred["distortion"] + y_pred["rate_aux"],
        }
        for name, metric in self._term_metrics.items():
            if name.endswith("_nats"):
                nats = named[name.removesuffix("_nats")]
                metric.update_state(nats, sample_weight=mask)
            else:
                nats = named[name.removesuffix(f"_{self.unit}")]
                value, weight = self.in_unit(nats, data, mask)
                metric.update_state(value, sample_weight=weight)
        return self.get_metrics_result()

    def fit(self, x: Any = None, *args: Any, **kwargs: Any) -> Any:
        """As `keras.Model.fit`."""
        if not self.built:
            # Keras's symbolic build gives the optimizer no variables of a model that
            # was never called.
            arrays = isinstance(x, dict) or hasattr(x, "shape")
            self(
                keras.tree.map_structure(lambda v: v[:1], x)
                if arrays
                else next(iter(x))
            )
        return super().fit(x, *args, **kwargs)

    def train_step(self, *args: Any) -> Any:
        """One step as Keras's `fit` takes it, of another form for each backend."""
        if backend.name != "tensorflow":
            return super().train_step(*args)
        return self.update(*args)

    def update(self, batch: Any) -> dict[str, Tensor]:
        """One step of the optimizer; on TensorFlow, inside a replica.

        On JAX it may run within a `keras.StatelessScope`, and so be compiled.

        Args:
          batch: as for `call`.

        Returns:
          dict of scalars: the running means of all metrics.
        """

        def loss():
            terms = self(batch, training=True)
            return self.compute_loss(batch, y_pred=terms), terms

        value, gradients, terms = backend.value_and_gradients(
            loss, self.trainable_variables, self.non_trainable_variables
        )
        norm = ops.sqrt(sum(ops.sum(ops.square(g)) for g in gradients))
        factor = 1.0 / backend.num_replicas()  # The optimizer sums over replicas.
        if self.clip_norm:
            factor = factor * ops.minimum(1.0, self.clip_norm / (norm + 1e-12))
        gradients = [g * ops.cast(factor, g.dtype) for g in gradients]
        self.optimizer.apply(gradients, self.trainable_variables)
        self._grad_norm.update_state(norm)
        self._loss_tracker.update_state(value)
        return self.compute_metrics(batch, None, terms)

    def test_step(self, *args: Any) -> Any:
        """Updates the metrics with one batch; the noise is every evaluation's."""
        if backend.name != "tensorflow":
            return super().test_step(*args)
        (batch,) = args
        terms = self(batch, training=False)
        loss = self.compute_loss(batch, y_pred=terms, training=False)
        loss = loss * backend.num_replicas()
        self._loss_tracker.update_state(loss)
        return self.compute_metrics(batch, None, terms)

    def evaluate(self, *args: Any, **kwargs: Any) -> Any:
        """As `keras.Model.evaluate`; raises if the rate is below the committed one."""
        as_dict = kwargs.pop("return_dict", False)
        logs = super().evaluate(*args, return_dict=True, **kwargs)
        del logs["grad_norm"]  # Keras reports all metrics; this one is training's.
        self.check_rate(logs["rate_nats"], logs.get("committed_rate_nats"))
        return logs if as_dict else list(logs.values())

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

    def initialize_from(self, batch: Any) -> None:
        """Sets weight-normalized layers from a first batch; a no-op without any.

        Reference: Salimans and Kingma (2016), section 3.
        """
        with weight_norm.starting_from_data(self):
            self(batch)
