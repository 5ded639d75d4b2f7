"""Adam in one operation a variable, against Keras's own.

On two replicas it is that of the programs, see `tests/experiments/replicas_test.py`.
"""

import keras
import numpy as np
import pytest
import tensorflow as tf

from deltavae_tf.training import adam, schedules

SHAPES = [(7, 3), (5,), ()]
SETTINGS = [
    {"learning_rate": 1e-2},
    {"learning_rate": schedules.WarmupCosine(1e-2, 3, 9), "beta_1": 0.5},
    {"learning_rate": 1e-2, "beta_2": 0.98, "epsilon": 1e-3, "weight_decay": 0.1},
    {"learning_rate": 1e-2, "clipnorm": 0.5, "use_ema": True},
    {"learning_rate": 1e-2, "gradient_accumulation_steps": 2},
    {"learning_rate": 1e-2, "amsgrad": True},
]


def weights():
    rng = np.random.default_rng(0)
    return [keras.Variable(np.float32(rng.normal(size=shape))) for shape in SHAPES]


def gradients(steps=12):
    rng = np.random.default_rng(1)
    sizes = 10.0 ** rng.uniform(-4, 2, size=steps)
    return [
        [np.float32(size * rng.normal(size=shape)) for shape in SHAPES]
        for size in sizes
    ]


def trained(optimizer, compiled=None):
    variables = weights()
    optimizer.build(variables)

    def step(*found):
        optimizer.apply(list(found), variables)

    if compiled is not None:
        step = tf.function(step, jit_compile=compiled, autograph=False)
    for found in gradients():
        step(*[tf.constant(g) for g in found])
    return [v.numpy() for v in [*variables, *optimizer.variables]]


@pytest.mark.parametrize("settings", SETTINGS, ids=lambda s: "-".join(s))
def test_it_is_keras_adam(settings):
    found = trained(adam.Adam(**settings))
    expected = trained(keras.optimizers.Adam(**settings))
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize("jit_compile", [False, True])
def test_compiled_it_is_the_same(jit_compile):
    found = trained(adam.Adam(1e-2), jit_compile)
    for one, other in zip(found, trained(adam.Adam(1e-2)), strict=True):
        np.testing.assert_allclose(one, other, rtol=2e-5, atol=1e-6)


def test_it_is_one_operation_a_variable():
    variables, optimizer = weights(), adam.Adam(1e-2)
    optimizer.build(variables)
    step = tf.function(
        lambda *found: optimizer.apply(list(found), variables), autograph=False
    ).get_concrete_function(*[tf.constant(g) for g in gradients(1)[0]])
    kinds = [operation.type for operation in step.graph.get_operations()]
    assert kinds.count("ResourceApplyAdam") == len(SHAPES)
    assert "Sqrt" not in kinds[kinds.index("ResourceApplyAdam") :]


def test_it_comes_back_from_its_config():
    optimizer = adam.Adam(schedules.WarmupCosine(1e-2, 3, 9), beta_2=0.98)
    config = keras.saving.serialize_keras_object(optimizer)
    found = keras.saving.deserialize_keras_object(config)
    assert type(found) is adam.Adam
    assert found.get_config() == optimizer.get_config()
