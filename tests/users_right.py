"""What right models of users must report and become: a table of cases.

A case is a function of a `Place` (how many replicas, eager or compiled) that returns
`{name: (found, expected)}`; the expected numbers are the oracle's.
"""

import contextlib
import dataclasses

import keras
import numpy as np

from deltavae_tf import backend
from tests import users_oracle

LOSSES = {}
OPTIMIZERS = {}
RATE = 0.05  # Of learning, in the optimizers' cases.


@dataclasses.dataclass(frozen=True)
class Place:
    """Where a case runs.

    Attributes:
      mode: "eager", "graph" or "xla".
      strategy: `tf.distribute.Strategy` or None.
    """

    mode: str = "graph"
    strategy: object = None

    @property
    def replicas(self):
        """How many."""
        return self.strategy.num_replicas_in_sync if self.strategy else 1

    def compiled(self, oracle, optimizer=None, **kwargs):
        """The oracle's model, compiled."""
        flags = {"run_eagerly": self.mode == "eager"}
        if self.mode == "xla":
            flags["jit_compile"] = True
        with self.strategy.scope() if self.strategy else contextlib.nullcontext():
            model = oracle.model()
            optimizer = optimizer() if optimizer else keras.optimizers.SGD(0.0)
            model.compile(optimizer, **flags, **kwargs)
        return model


def case(table, name):
    """Enters a function into a table."""

    def enter(function):
        table[name] = function
        return function

    return enter


def compare(logs, expected, prefix=""):
    """{name: (found, expected)} of a dict of logs."""
    return {
        prefix + name: (float(np.asarray(logs[prefix + name]).ravel()[-1]), value)
        for name, value in expected.items()
    }


def fit_and_evaluate(place, x, parts, batch_size=None, oracle=None, again=None, **fit):
    """`fit` for an epoch at learning rate 0, then `evaluate`: both must be the mean.

    Args:
      place: `Place`.
      x: what `fit` takes, or a function that makes it anew.
      parts: list of (x, index, weight), the oracle's batches.
      batch_size: int, for arrays.
      oracle: `Oracle`.
      again: dict, for `evaluate`; by default what of `fit` it takes too.
      **fit: for `fit`.
    """
    oracle = oracle or users_oracle.Oracle()
    model = place.compiled(oracle)
    make = x if callable(x) else lambda: x
    fit = {"verbose": 0, "shuffle": False, "batch_size": batch_size, **fit}
    logs = model.fit(make(), **fit).history
    found = compare(logs, oracle.means(parts, 1))
    shared = ("batch_size", "sample_weight", "y")
    again = {k: fit[k] for k in shared if k in fit} if again is None else again
    logs = model.evaluate(make(), verbose=0, return_dict=True, **again)
    more = compare(logs, oracle.means(parts))
    return {**found, **{f"evaluated {k}": v for k, v in more.items()}}


def _sizes(size, batch_size, **kwargs):
    def run(place):
        x = users_oracle.data(size)
        parts = users_oracle.batches_of(x, batch_size)
        return fit_and_evaluate(place, x, parts, batch_size, **kwargs)

    return run


for _size, _batch in ((12, 11), (7, 4), (9, 4), (5, 8), (1, 1), (3, 2), (8, 4)):
    LOSSES[f"{_size} examples by {_batch}"] = _sizes(_size, _batch)
LOSSES["an auxiliary prior"] = _sizes(7, 4, oracle=users_oracle.Oracle(auxiliary=True))

MASKS = {
    "a mask half of zeros": np.float32([1, 0, 0, 1, 0, 1, 0]),
    "a mask with a batch of zeros": np.float32([0, 0, 0, 0, 1, 1, 0]),
    "a mask with zeros at the end": np.float32([1, 1, 1, 0, 0, 0, 0]),
    "a mask of bool": np.array([1, 0, 1, 1, 0, 1, 0], bool),
    "a mask of int": np.array([1, 0, 1, 1, 0, 1, 1], "int64"),
    "a mask of float64": np.array([1, 0, 1, 1, 0, 0, 1], "float64"),
}


def _masked(mask):
    def run(place):
        x = users_oracle.data(7)
        parts = users_oracle.batches_of(x, 4, mask)
        return fit_and_evaluate(place, {"x": x, "mask": mask}, parts, 4)

    return run


for _name, _mask in MASKS.items():
    LOSSES[_name] = _masked(_mask)

WEIGHTS = np.float32([1, 2, 0, 0.5, 3, 0, 1.5])


@case(LOSSES, "sample_weight")
def _(place):
    x = users_oracle.data(7)
    parts = users_oracle.batches_of(x, 4, WEIGHTS)
    return fit_and_evaluate(place, x, parts, 4, sample_weight=WEIGHTS)


@case(LOSSES, "sample_weight and a mask")
def _(place):
    x, mask = users_oracle.data(7), MASKS["a mask of bool"]
    parts = users_oracle.batches_of(x, 4, WEIGHTS * mask)
    batch = {"x": x, "mask": mask}
    return fit_and_evaluate(place, batch, parts, 4, sample_weight=WEIGHTS)


@case(LOSSES, "class_weight")
def _(place):
    x, y = users_oracle.data(7), np.array([0, 1, 2, 1, 0, 0, 2])
    weight = np.float32([0.5, 2, 1])[y]
    parts = users_oracle.batches_of(x, 4, weight)
    table = {0: 0.5, 1: 2.0, 2: 1.0}
    oracle = users_oracle.Oracle()
    model = place.compiled(oracle)
    logs = model.fit(
        x, y, batch_size=4, class_weight=table, shuffle=False, verbose=0
    ).history
    return compare(logs, oracle.means(parts, 1))


@case(LOSSES, "labels beside the data")
def _(place):
    x = users_oracle.data(7)
    parts = users_oracle.batches_of(x, 4)
    return fit_and_evaluate(place, x, parts, 4, y=np.arange(7))


@case(LOSSES, "examples with their own numbers")
def _(place):
    x, index = users_oracle.data(7), np.array([5, 3, 900, 11, 0, 2, 77], "int32")
    parts = [(x[:4], index[:4], np.ones(4)), (x[4:], index[4:], np.ones(3))]
    return fit_and_evaluate(place, {"x": x, "index": index}, parts, 4)


@case(LOSSES, "tf.data of unknown length")
def _(place):
    import tensorflow as tf

    x = users_oracle.data(7)

    def make():
        data = tf.data.Dataset.from_tensor_slices(x).filter(lambda _: True)
        return data.batch(4)

    return fit_and_evaluate(place, make, users_oracle.batches_of(x, 4))


@case(LOSSES, "tf.data of pairs and weights")
def _(place):
    import tensorflow as tf

    x = users_oracle.data(7)
    data = tf.data.Dataset.from_tensor_slices((x, np.arange(7), WEIGHTS)).batch(4)
    return fit_and_evaluate(place, data, users_oracle.batches_of(x, 4, WEIGHTS))


@case(LOSSES, "tf.data of dicts")
def _(place):
    import tensorflow as tf

    x, mask = users_oracle.data(7), MASKS["a mask half of zeros"]
    data = tf.data.Dataset.from_tensor_slices({"x": x, "mask": mask}).batch(4)
    return fit_and_evaluate(place, data, users_oracle.batches_of(x, 4, mask))


def _uneven(x):
    """A generator's batches of 3, 1, 5 examples."""
    for low, high in ((0, 3), (3, 4), (4, 9)):
        yield (x[low:high],)


@case(LOSSES, "a generator of uneven batches")
def _(place):
    x = users_oracle.data(9)
    parts = [(part, np.arange(len(part)), np.ones(len(part))) for (part,) in _uneven(x)]
    return fit_and_evaluate(place, lambda: _uneven(x), parts)


@case(LOSSES, "a generator of dicts")
def _(place):
    x, mask = users_oracle.data(8), np.float32([1, 1, 0, 0, 0, 1, 0, 1])

    def make():
        for i in (0, 4):
            yield ({"x": x[i : i + 4], "mask": mask[i : i + 4]},)

    return fit_and_evaluate(place, make, users_oracle.batches_of(x, 4, mask))


class _Batches(keras.utils.PyDataset):
    def __init__(self, x):
        super().__init__()
        self.x = x

    def __len__(self):
        return 3

    def __getitem__(self, i):
        return (list(_uneven(self.x))[i][0],)


@case(LOSSES, "a PyDataset of uneven batches")
def _(place):
    x = users_oracle.data(9)
    parts = [(part, np.arange(len(part)), np.ones(len(part))) for (part,) in _uneven(x)]
    return fit_and_evaluate(place, lambda: _Batches(x), parts)


@case(LOSSES, "validation data")
def _(place):
    oracle = users_oracle.Oracle()
    x, other = users_oracle.data(7), users_oracle.data(5, seed=2)
    mask = np.float32([1, 0, 1, 1, 0])
    logs = (
        place.compiled(oracle)
        .fit(
            x,
            batch_size=4,
            verbose=0,
            shuffle=False,
            validation_data=({"x": other, "mask": mask},),
        )
        .history
    )
    expected = oracle.means(users_oracle.batches_of(other, 4, mask))
    named = {f"val_{k}": v for k, v in expected.items()}
    return {
        **compare(logs, named),
        **compare(logs, oracle.means(users_oracle.batches_of(x, 4), 1)),
    }


@case(LOSSES, "a share held out")
def _(place):
    oracle, x = users_oracle.Oracle(), users_oracle.data(10)
    fit = {"batch_size": 4, "verbose": 0, "shuffle": False, "validation_split": 0.3}
    logs = place.compiled(oracle).fit(x, **fit).history
    expected = oracle.means(users_oracle.batches_of(x[7:], 4))
    return compare(logs, {f"val_{k}": v for k, v in expected.items()})


@case(LOSSES, "what a callback sees after each batch")
def _(place):
    oracle, x, seen = users_oracle.Oracle(), users_oracle.data(7), []
    parts = users_oracle.batches_of(x, 4)
    watch = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda _, logs: seen.append(dict(logs))
    )
    fit = {"batch_size": 4, "verbose": 0, "shuffle": False, "callbacks": [watch]}
    place.compiled(oracle).fit(x, **fit)
    first = compare(seen[0], oracle.means(parts[:1], 1))
    last = compare(seen[1], oracle.means(parts, 1))
    return {**{f"first {k}": v for k, v in first.items()}, **last}


def _on_batch(size, mask=None, weight=None):
    def run(place):
        oracle, x = users_oracle.Oracle(), users_oracle.data(size)
        weights = np.ones(size) if mask is None else np.asarray(mask, np.float64)
        weights = weights if weight is None else weights * weight
        parts = [(x, np.arange(size), weights)]
        batch = x if mask is None else {"x": x, "mask": mask}
        model, found = place.compiled(oracle), {}
        given = {"sample_weight": weight, "return_dict": True}
        for name, call, step in (
            ("trained", model.train_on_batch, 1),
            ("tested", model.test_on_batch, 0),
            ("trained again", model.train_on_batch, 2),
        ):
            more = compare(call(batch, **given), oracle.means(parts, step))
            found |= {f"{name} {k}": v for k, v in more.items()}
        return found

    return run


LOSSES["train_on_batch on 4"] = _on_batch(4)
LOSSES["train_on_batch on 7"] = _on_batch(7)
LOSSES["train_on_batch on 1"] = _on_batch(1)
LOSSES["train_on_batch with a mask"] = _on_batch(5, np.float32([1, 0, 0, 0, 1]))
LOSSES["train_on_batch with weights"] = _on_batch(7, None, WEIGHTS)


@case(LOSSES, "evaluate's list follows metrics_names")
def _(place):
    oracle, x = users_oracle.Oracle(), users_oracle.data(7)
    model = place.compiled(oracle)
    values = model.evaluate(x, batch_size=4, verbose=0)
    names = list(model.metrics_names)
    logs = dict(zip(names, values, strict=True))
    expected = oracle.means(users_oracle.batches_of(x, 4))
    return {"loss is first": (names[0] == "loss", True), **compare(logs, expected)}


@case(LOSSES, "predict gives each example's terms")
def _(place):
    oracle, x = users_oracle.Oracle(), users_oracle.data(7)
    terms = place.compiled(oracle).predict(x, batch_size=4, verbose=0)
    parts = [
        oracle.terms(part, index) for part, index, _ in users_oracle.batches_of(x, 4)
    ]
    expected = np.concatenate(parts, axis=1)
    names = ("distortion", "rate", "rate_aux")
    return {k: (terms[k], e) for k, e in zip(names, expected, strict=True)}


# Optimizers: weights after four steps, and the logged norm of the gradient.


def _sgd(rate=RATE, decay=0.0, clip=None):
    def update(weights, gradients):
        gradients = clip(gradients) if clip else gradients
        return {
            k: w * (1 - rate * decay) - rate * gradients[k] for k, w in weights.items()
        }

    return update


def _each_norm(bound):
    return lambda gradients: {
        k: g * min(1.0, bound / np.linalg.norm(g)) for k, g in gradients.items()
    }


def _global_norm(bound):
    def clip(gradients):
        norm = np.sqrt(sum((g**2).sum() for g in gradients.values()))
        return {k: g * min(1.0, bound / norm) for k, g in gradients.items()}

    return clip


def _value(bound):
    return lambda gradients: {
        k: np.clip(g, -bound, bound) for k, g in gradients.items()
    }


def _trained(optimizer, update, every=1, average=0.0, rtol=2e-5, policy=None, **kwargs):
    """A case: four steps on batches of 5, 5, 5, 2."""

    def run(place):
        oracle, x = users_oracle.Oracle(), users_oracle.data(17)
        parts = users_oracle.batches_of(x, 5)
        before = keras.config.dtype_policy()
        if policy:
            keras.config.set_dtype_policy(policy)
        try:
            model = place.compiled(oracle, optimizer, **kwargs)
            logs = model.fit(x, batch_size=5, shuffle=False, verbose=0).history
        finally:
            keras.config.set_dtype_policy(before)
        found = users_oracle.weights_of(model)
        expected = oracle.train(parts, update, every)
        if average:
            mean = None
            for i in range(len(parts)):
                now = oracle.train(parts[: i + 1], update, every)
                mean = (
                    now
                    if mean is None
                    else {k: average * mean[k] + (1 - average) * now[k] for k in now}
                )
            expected = mean
        norms = []
        for i in range(len(parts)):
            weights = oracle.train(parts[:i], update, every)
            gradients = oracle.gradient(*parts[i], i + 1, weights)
            norms.append(np.sqrt(sum((g**2).sum() for g in gradients.values())))
        moved = {
            k: (found[k] - oracle.weights[k], expected[k] - oracle.weights[k])
            for k in found
        }
        norm = float(logs["grad_norm"][-1])
        return {"rtol": rtol, "grad_norm": (norm, np.mean(norms)), **moved}

    return run


def _keras_sgd(**kwargs):
    return lambda: keras.optimizers.SGD(RATE, **kwargs)


def _scaled(scale=256.0, **kwargs):
    return lambda: keras.optimizers.LossScaleOptimizer(
        keras.optimizers.SGD(RATE, **kwargs), initial_scale=scale
    )


OPTIMIZERS |= {
    "SGD": _trained(_keras_sgd(), _sgd()),
    "loss_scale_factor": _trained(_keras_sgd(loss_scale_factor=1024.0), _sgd()),
    "LossScaleOptimizer": _trained(_scaled(), _sgd()),
    "LossScaleOptimizer and clip_norm": _trained(
        _scaled(), _sgd(clip=_global_norm(0.5)), clip_norm=0.5
    ),
    "LossScaleOptimizer and clipnorm": _trained(
        _scaled(clipnorm=0.3), _sgd(clip=_each_norm(0.3))
    ),
    "mixed_float16": _trained(  # From 2**15 Keras would leave out the first steps.
        _scaled(scale=64.0), _sgd(), rtol=0.02, policy="mixed_float16"
    ),
    "clip_norm": _trained(_keras_sgd(), _sgd(clip=_global_norm(0.5)), clip_norm=0.5),
    "clipnorm": _trained(_keras_sgd(clipnorm=0.3), _sgd(clip=_each_norm(0.3))),
    "global_clipnorm": _trained(
        _keras_sgd(global_clipnorm=0.5), _sgd(clip=_global_norm(0.5))
    ),
    "clipvalue": _trained(_keras_sgd(clipvalue=0.1), _sgd(clip=_value(0.1))),
    "loss_scale_factor and clipvalue": _trained(
        _keras_sgd(clipvalue=0.1, loss_scale_factor=64.0), _sgd(clip=_value(0.1))
    ),
    "loss_scale_factor and clip_norm": _trained(
        _keras_sgd(loss_scale_factor=64.0), _sgd(clip=_global_norm(0.5)), clip_norm=0.5
    ),
    "weight_decay": _trained(_keras_sgd(weight_decay=0.5), _sgd(decay=0.5)),
    "use_ema": _trained(
        _keras_sgd(use_ema=True, ema_momentum=0.6), _sgd(), average=0.6
    ),
    "gradient_accumulation": _trained(
        _keras_sgd(gradient_accumulation_steps=2), _sgd(), every=2
    ),
    "gradient_accumulation and global_clipnorm": _trained(
        _keras_sgd(gradient_accumulation_steps=2, global_clipnorm=0.5),
        _sgd(clip=_global_norm(0.5)),
        every=2,
    ),
    "steps_per_execution": _trained(_keras_sgd(), _sgd(), steps_per_execution=2),
    "a masked epoch": None,
}


@case(OPTIMIZERS, "a masked epoch")
def _(place):
    oracle, x = users_oracle.Oracle(), users_oracle.data(12)
    mask = np.float32([1, 0, 0, 0, 0, 0, 1, 1, 0, 1, 1, 1])
    model = place.compiled(oracle, _keras_sgd())
    fit = {"batch_size": 5, "shuffle": False, "verbose": 0}
    model.fit({"x": x, "mask": mask}, sample_weight=1 + mask, **fit)
    parts = users_oracle.batches_of(x, 5, mask * (1 + mask))
    expected, found = oracle.train(parts, _sgd()), users_oracle.weights_of(model)
    return {"rtol": 2e-5, **{k: (found[k], expected[k]) for k in found}}


@case(OPTIMIZERS, "train_on_batch")
def _(place):
    oracle, x = users_oracle.Oracle(), users_oracle.data(12)
    model = place.compiled(oracle, _keras_sgd())
    parts = users_oracle.batches_of(x, 5)
    for part, _, _ in parts:
        model.train_on_batch(part)
    expected, found = oracle.train(parts, _sgd()), users_oracle.weights_of(model)
    return {"rtol": 2e-5, **{k: (found[k], expected[k]) for k in found}}


@case(OPTIMIZERS, "two fits are one")
def _(place):
    """Also with an average of weights, which JAX could not take twice."""
    oracle, x = users_oracle.Oracle(), users_oracle.data(10)
    model = place.compiled(oracle, _keras_sgd(use_ema=True, ema_momentum=0.0))
    parts = users_oracle.batches_of(x, 5)
    fit = {"batch_size": 5, "shuffle": False, "verbose": 0}
    model.fit(x[:5], **fit)
    model.fit(x[5:], **fit)
    expected, found = oracle.train(parts, _sgd()), users_oracle.weights_of(model)
    return {"rtol": 2e-5, **{k: (found[k], expected[k]) for k in found}}


NOT_ON_REPLICAS = {  # One line refuses these there.
    "gradient_accumulation": "gradient_accumulation_steps",
    "gradient_accumulation and global_clipnorm": "gradient_accumulation_steps",
    "steps_per_execution": "steps_per_execution",
}
NEEDS_TENSORFLOW = [name for name in LOSSES if name.startswith("tf.data")]

# Graphs take long to make. What differs by data differs before them.
_COMPILED = (
    *("12 examples by 11", "9 examples by 4", "a mask half of zeros", "sample_weight"),
    *("an auxiliary prior", "tf.data of unknown length", "validation data"),
    *("a generator of uneven batches", "train_on_batch on 7", "SGD", "mixed_float16"),
    *("loss_scale_factor", "global_clipnorm", "gradient_accumulation", "use_ema"),
    *("steps_per_execution", "two fits are one"),
)
_XLA = ("9 examples by 4", "train_on_batch on 7", "loss_scale_factor", "clip_norm")


def run(table, name, place):
    """{name: [found, expected, rtol]} of a case, as JSON takes it."""
    found = table[name](place)
    rtol = found.pop("rtol", 2e-5)
    return {
        key: [
            np.asarray(a, np.float64).tolist(),
            np.asarray(b, np.float64).tolist(),
            rtol,
        ]
        for key, (a, b) in found.items()
    }


def check(results):
    """Raises an AssertionError at the first number that is not the oracle's."""
    for key, (found, expected, rtol) in results.items():
        scale = np.abs(expected).max()
        np.testing.assert_allclose(
            found, expected, rtol=rtol, atol=rtol * scale, err_msg=key
        )


def places(name, strategy=None):
    """Where a case runs."""
    modes = ["eager"] + ["graph"] * (name in _COMPILED)
    if backend.name == "jax":
        modes = ["eager"] + ["xla"] * (name in _COMPILED)
    elif name in _XLA and strategy is None:
        modes.append("xla")
    return [Place(mode, strategy) for mode in modes]
