"""Keras's `compile`, `fit`, `evaluate` and their kin for a delta-VAE.

Each looks at what it was given before anything moves, so that a refused call leaves the
model as it was.
"""

import contextlib
import inspect
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
from keras import ops

from deltavae_tf import backend, errors
from deltavae_tf.models import batch as batches
from deltavae_tf.models import (
    contract,
    decoder_contract,
    inputs,
    saving,
    settings,
    training_step,
)


class KerasMethods(saving.Saving, training_step.TrainingStep):
    """The methods of `DeltaVAE` that Keras has too."""

    # Whether the parts were seen to be right, and the values that data may have.
    looked_at: bool = False
    bounds: tuple[int, int] | None = None
    refusal: Exception | None = None  # Of a batch on its way, in a thread of tf.data.

    def compile(
        self,
        optimizer: str | keras.optimizers.Optimizer = "adam",
        clip_norm: float | None = None,
        **kwargs: Any,
    ) -> None:
        """As `keras.Model.compile`; the loss is the objective's.

        Args:
          optimizer: keras optimizer or its name. What its arguments ask for works, on
            several replicas too, or is refused.
          clip_norm: float or None, bound on the norm of the gradient over all
            replicas.
          **kwargs: for `keras.Model.compile`, without `loss` and metrics. On
            TensorFlow `jit_compile` is off unless asked for: on a CPU the plain graph
            is faster.
        """
        kwargs = {"jit_compile": backend.name == "jax", **kwargs}
        if kwargs.get("run_eagerly"):
            kwargs["jit_compile"] = False
        optimizer = keras.optimizers.get(optimizer)
        replicas = backend.replicas_of(self)
        settings.check_compile(optimizer, clip_norm, kwargs, replicas)
        super().compile(optimizer, **kwargs)
        self.clip_norm = clip_norm

    # Training and measuring.

    def fit(self, *args: Any, **kwargs: Any) -> keras.callbacks.History:
        """As `keras.Model.fit`. Targets are of no use and are left aside.

        Raises:
          UserError: data, weights or a part of the model cannot be used; nothing moved.
          NotFiniteError: a term became NaN or infinite; the message names it.
        """
        given = inspect.signature(super().fit).bind(*args, **kwargs).arguments
        if self.compiled:
            weight = given.pop("sample_weight", None)
            given["x"] = self._ready(given.get("x"), weight, True)
            if given.get("validation_data") is not None:
                given["validation_data"] = self._ready_pair(given["validation_data"])
            given["callbacks"] = _with_own(given.get("callbacks"))
        with self._own_errors():
            history = super().fit(**given)
        backend.separate(self.optimizer.variables)
        return history

    def evaluate(self, *args: Any, **kwargs: Any) -> Any:
        """As `keras.Model.evaluate`; the list is in the order of `metrics_names`.

        Raises:
          UserError: as `fit`.
          FloatingPointError: the rate is below the committed one.
        """
        as_dict = kwargs.pop("return_dict", False)
        given = inspect.signature(super().evaluate).bind(*args, **kwargs).arguments
        given |= given.pop("kwargs", {})
        if self.compiled and "_use_cached_eval_dataset" not in given:
            weight = given.pop("sample_weight", None)
            given["x"] = self._ready(given.get("x"), weight)
        with self._own_errors():
            logs = super().evaluate(**given, return_dict=True)
        del logs["grad_norm"]  # Keras reports all metrics; this one is training's.
        self._check_logs(logs)
        self.check_rate(logs["rate_nats"], logs.get("committed_rate_nats"))
        return logs if as_dict else [logs[name] for name in self.metrics_names]

    def train_on_batch(
        self,
        x: Any,
        y: Any = None,
        sample_weight: Any = None,
        class_weight: Mapping[int, float] | None = None,
        return_dict: bool = False,
    ) -> Any:
        """As `keras.Model.train_on_batch`."""
        if self.compiled:
            self._ready(x, sample_weight, training=True)
        if backend.replicas_of(self) == 1:
            logs = super().train_on_batch(x, y, sample_weight, class_weight, True)
        else:  # Keras would give the whole batch to each replica.
            if class_weight is not None:
                labels = ops.convert_to_numpy(y).astype(int).ravel()
                weights = [class_weight[i] for i in labels]
                sample_weight = np.asarray(weights, "float32")
            self.make_train_function()
            self.reset_metrics()
            batch = batches.weighted(x, sample_weight)
            self.train_function(backend.shared_batch(self, batch))
            logs = {k: float(v) for k, v in self.get_metrics_result().items()}
        self.check_finite(logs)
        names = [*self.metrics_names, "grad_norm"]
        return logs if return_dict else [logs[name] for name in names]

    def test_on_batch(
        self,
        x: Any,
        y: Any = None,
        sample_weight: Any = None,
        return_dict: bool = False,
    ) -> Any:
        """As `keras.Model.test_on_batch`; the list as `evaluate`."""
        if self.compiled:
            self._ready(x, sample_weight)
        if backend.replicas_of(self) == 1:
            logs = super().test_on_batch(x, y, sample_weight, True)
        else:
            self.make_test_function()
            self.reset_metrics()
            batch = batches.weighted(x, sample_weight)
            self.test_function(backend.shared_batch(self, batch))
            logs = {k: float(v) for k, v in self.get_metrics_result().items()}
        del logs["grad_norm"]
        self._check_logs(logs)
        return logs if return_dict else [logs[name] for name in self.metrics_names]

    def predict(self, x: Any, *args: Any, **kwargs: Any) -> dict[str, np.ndarray]:
        """The terms of each example, as `keras.Model.predict` gives them."""
        with self._own_errors():
            return super().predict(self._ready(x), *args, **kwargs)

    @property
    def metrics_names(self) -> list[str]:
        """The names of what `evaluate` returns, in its order."""
        return [name for name in super().metrics_names if name != "grad_norm"]

    def look_at(self, batch: Mapping[str, Any]) -> None:
        """Makes the weights, and looks at what the parts give for a few examples."""
        if backend.name == "jax":
            # Called as it is, each of its hundreds of operations would be compiled.
            added = backend.make_variables(self, batch)
            seen = backend.graph(self._seen, self)(batch)
        else:
            seen, added = self._seen(batch), False
        self.check_losses(added or bool(self.losses))
        if self.encoder is not None:
            contract.check_posterior_values(self.encoder, seen["loc"], seen["scale"])
        x = batch[batches.kind(batch)]
        decoder_contract.check_values(self.decoder, self.bounds, x)
        contract.check_terms(self, seen)
        self.looked_at = True

    def _seen(self, batch):
        x, loc, scale = batches.unpack(batch)[0], None, None
        terms = self(batch)
        if self.encoder is not None:
            posterior = self.encode(x).distribution
            loc, scale = posterior.loc, posterior.scale
            terms = {**terms, "loc": loc, "scale": scale}
        self.bounds = decoder_contract.value_range(self.decode(loc, x))
        return terms

    def _ready(self, x, sample_weight=None, training=False):
        """What Keras gets as x; all weights are there, in training the optimizer's."""
        x = inputs.checked(self, x, sample_weight)
        if training and not self.optimizer.built:
            with backend.scope_of(self):
                self.optimizer.build(self.trainable_variables)
        return x

    def _ready_pair(self, given):
        if not isinstance(given, (tuple, list)):
            return self._ready(given)
        x, *rest = given
        return (self._ready(x, rest[1] if len(rest) > 1 else None), *rest[:1])

    def _check_logs(self, logs):
        if not np.asarray(self._loss_tracker.count):
            raise errors.UserError(
                "There are no examples: mask or weights are 0 for all of them. "
                "Received: weights of sum 0"
            )
        self.check_finite(logs)

    @contextlib.contextmanager
    def _own_errors(self):
        """A refusal in a thread of tf.data arrives as ours, not as TensorFlow's."""
        self.refusal = None
        optimizer = getattr(self, "optimizer", None)
        variables = [*self.variables, *getattr(optimizer, "variables", ())]
        try:
            with backend.kept(variables):
                yield
        except Exception:
            if self.refusal is not None:
                raise self.refusal from None
            raise

    def _maybe_symbolic_build(self, iterator=None, data_batch=None):
        """Nothing: all is built. Keras's own takes a batch, lost if of a generator."""


class _StopWhenNotFinite(keras.callbacks.Callback):
    """Ends `fit` with a NotFiniteError; other threads look, the step does not wait."""

    async_safe = True

    def on_train_batch_end(self, batch, logs=None):
        names = ("loss", "grad_norm")
        if not all(np.isfinite(float(logs[name])) for name in names):
            self.model.check_finite(logs, f" at batch {batch + 1} of the epoch")


def _with_own(callbacks):
    if isinstance(callbacks, keras.callbacks.CallbackList):
        callbacks.append(_StopWhenNotFinite())
        return callbacks
    if callbacks is None:
        return [_StopWhenNotFinite()]
    several = isinstance(callbacks, (list, tuple))
    return [*(callbacks if several else [callbacks]), _StopWhenNotFinite()]
