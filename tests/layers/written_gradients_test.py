"""Layers whose gradients are written out, against differences of the plain formula in
float64, which NumPy computes."""

import keras
import numpy as np
import pytest
from keras import ops

from deltavae_tf import backend
from deltavae_tf.layers import gated_layer, layer_norm

EPSILON = 1e-3  # Large enough to matter.
ATOL = {"float32": 2e-5, "bfloat16": 0.05}
dtypes = pytest.mark.parametrize("dtype", sorted(ATOL))


def normalized(x, gain, offset):
    variance = x.var(axis=-1, keepdims=True)
    centered = x - x.mean(axis=-1, keepdims=True)
    return centered / np.sqrt(variance + EPSILON) * gain + offset


def gated(x):
    a, b = np.split(x, 2, axis=-1)
    return np.tanh(a) / (1 + np.exp(-b))


def differences(function, arguments, weight):
    """Gradients of sum(weight * function(*arguments)), each a float64 array."""
    found = []
    for i, argument in enumerate(arguments):
        gradient = np.zeros_like(argument)
        for place in np.ndindex(argument.shape):
            ends = []
            for step in (1e-5, -1e-5):
                moved = [a.copy() for a in arguments]
                moved[i][place] += step
                ends.append(np.sum(weight * function(*moved)))
            gradient[place] = (ends[0] - ends[1]) / 2e-5
        found.append(gradient)
    return found


def gradients(function, arguments, weight, compiler):
    """The same of a function of tensors, and its value: NumPy arrays."""
    variables = [keras.Variable(a, dtype=a.dtype) for a in arguments]
    values = []

    def loss():
        outputs = function(*(ops.convert_to_tensor(v) for v in variables))
        return ops.sum(ops.cast(outputs, "float32") * weight), outputs

    def run():
        _, found, outputs = backend.value_and_gradients(loss, variables)
        return [*found, outputs]

    values = run() if compiler is None or backend.name == "jax" else compiler(run)()
    assert [v.dtype for v in values[:-1]] == [v.value.dtype for v in variables]
    *found, outputs = (ops.convert_to_numpy(ops.cast(v, "float32")) for v in values)
    return found, outputs


CASES = {
    "normalize": (
        lambda *a: layer_norm.normalize(*a, EPSILON),
        normalized,
        [(2, 3, 2, 5), (5,), (5,)],
    ),
    "gate": (gated_layer.gate, gated, [(2, 3, 2, 6)]),
}
COMPILERS = {"eager": None, "graph": backend.graph, "xla": backend.compile}


@dtypes
@pytest.mark.parametrize("compiler", COMPILERS)
@pytest.mark.parametrize("name", CASES)
def test_value_and_gradients_are_the_plain_formulas(name, compiler, dtype):
    function, oracle, shapes = CASES[name]
    rng = np.random.default_rng(0)
    # Numbers that bfloat16 has.
    exact = [np.round(rng.normal(size=s) * 16) / 16 for s in shapes]
    weight = np.round(rng.normal(size=oracle(*exact).shape) * 16) / 16
    arguments = [
        ops.cast(ops.convert_to_tensor(a), dtype if i == 0 else "float32")
        for i, a in enumerate(exact)
    ]
    found, outputs = gradients(
        function, arguments, weight.astype("float32"), COMPILERS[compiler]
    )
    np.testing.assert_allclose(outputs, oracle(*exact), atol=ATOL[dtype])
    for got, expected in zip(found, differences(oracle, exact, weight), strict=True):
        np.testing.assert_allclose(got, expected, atol=2 * ATOL[dtype])


def test_layer_norm_has_the_weights_of_keras():
    """A checkpoint of one is a checkpoint of the other."""
    ours = layer_norm.LayerNorm(name="norm")
    theirs = keras.layers.LayerNormalization(epsilon=1e-6, name="norm")
    x = np.random.default_rng(0).normal(size=(3, 4, 5)).astype("float32")
    for layer in (ours, theirs):
        layer.build(x.shape)
        layer.set_weights([np.linspace(0.5, 2, 5), np.linspace(-1, 1, 5)])
    assert [v.path for v in ours.weights] == [v.path for v in theirs.weights]
    np.testing.assert_allclose(ours(x), theirs(x), atol=1e-6)
