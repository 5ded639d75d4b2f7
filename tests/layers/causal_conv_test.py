"""The two stacks' convolutions: what they see, and their one-step form."""

import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from deltavae_tf.layers import causal_conv
from tests import testing

H, W = 5, 6


def sees(layer):
    """bool `[H, W, H, W]`: does output (r, c) depend on input (r', c')?"""
    x = tf.random.stateless_normal([1, H, W, 2], seed=[0, 0])
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = tf.reduce_sum(layer(x), axis=(0, 3))
    return np.abs(tape.jacobian(y, x)[:, :, 0].numpy()).sum(-1) > 0


def expected(window):
    r, c, r2, c2 = np.ogrid[:H, :W, :H, :W]
    return window(r2 - r, c2 - c)


@pytest.mark.parametrize("size", [1, 3, 5])
@pytest.mark.parametrize("causal", [True, False])
def test_vertical_window(size, causal):
    half = size // 2
    layer = causal_conv.VerticalConv2D(3, size, causal)
    below = 0 if causal else half

    def window(rows, columns):
        return (-half <= rows) & (rows <= below) & (abs(columns) <= half)

    np.testing.assert_array_equal(sees(layer), expected(window))


@pytest.mark.parametrize("size", [1, 3, 5])
@pytest.mark.parametrize("causal", [True, False])
def test_horizontal_window(size, causal):
    half = size // 2
    layer = causal_conv.HorizontalConv2D(3, size, causal)
    right = 0 if causal else half

    def window(rows, columns):
        return (rows == 0) & (-half <= columns) & (columns <= right)

    np.testing.assert_array_equal(sees(layer), expected(window))


@pytest.mark.parametrize("normalization", ["layer", "weight"])
@pytest.mark.parametrize("size", [1, 3, 5])
def test_steps_equal_call(size, normalization):
    x = np.random.default_rng(0).normal(size=(2, H, W, 3)).astype("float32")
    vertical = causal_conv.VerticalConv2D(4, size, normalization=normalization)
    horizontal = causal_conv.HorizontalConv2D(4, size, normalization=normalization)
    whole = vertical(x), horizontal(x)
    testing.randomize(vertical)
    testing.randomize(horizontal)
    whole = [ops.convert_to_numpy(layer(x)) for layer in (vertical, horizontal)]
    rows = vertical.init_cache(2, W, 3)
    for r in range(H):
        row, rows = vertical.step(x[:, r], rows)
        np.testing.assert_allclose(row, whole[0][:, r], atol=1e-5)
        pixels = horizontal.init_cache(2, 3)
        for c in range(W):
            pixel, pixels = horizontal.step(x[:, r, c], pixels)
            np.testing.assert_allclose(pixel, whole[1][:, r, c], atol=1e-5)


def test_even_kernel_is_refused():
    with pytest.raises(ValueError, match="odd.*Received: 4"):
        causal_conv.VerticalConv2D(3, 4)


def test_unknown_normalization_is_refused():
    with pytest.raises(ValueError, match="Received: 'batch'"):
        causal_conv.HorizontalConv2D(3, 3, normalization="batch")
