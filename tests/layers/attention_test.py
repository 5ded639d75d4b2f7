"""Attention in pieces against attention by hand, its gradient against autodiff."""

import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from deltavae_tf import backend
from deltavae_tf.layers import attention, attention_core
from tests import testing

B, N, W = 2, 3, 4
SIZES = [(9, 9), (12, 5)]


def values(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def inputs(num_queries, num_keys, width=W):
    shapes = (num_queries, W), (num_keys, W), (num_keys, width)
    return [values(B, N, *shape, seed=i) for i, shape in enumerate(shapes)]


def masks(num_queries, num_keys):
    """bool `[B, Q, K]` with a key for each query, and its forms as arguments."""
    causal = np.tri(num_queries, num_keys, dtype=bool)
    row = causal[::-1].copy()
    row[:, 0] = True
    each = np.random.default_rng(5).random((B, num_queries, num_keys)) < 0.4
    each[..., 0] = True
    everything = np.ones_like(each)
    return {
        "all": (everything, {}),
        "causal": (everything & causal, {"causal": True}),
        "shared": (everything & row, {"allowed": ops.convert_to_tensor(row)}),
        "each": (each, {"allowed": ops.convert_to_tensor(each)}),
        "both": (each & causal, {"causal": True, "allowed": each}),
    }


def by_hand(q, k, v, allowed, kept=1.0):
    """float64 `[B, N, Q, W]`; `kept` multiplies the weights."""
    logits = np.einsum("bnqw,bnkw->bnqk", q.astype("float64"), k) / np.sqrt(W)
    weights = np.exp(logits) * allowed[:, None]
    weights = weights / weights.sum(-1, keepdims=True) * kept
    return np.einsum("bnqk,bnkw->bnqw", weights, v)


@pytest.fixture(params=[1, 11, 30, 10**6])
def pieces(request, monkeypatch):
    monkeypatch.setattr(attention_core, "WEIGHTS_PER_PIECE", request.param)


@pytest.mark.parametrize("mask", ["all", "causal", "shared", "each", "both"])
@pytest.mark.parametrize("num_queries, num_keys", SIZES)
def test_outputs_are_those_by_hand(num_queries, num_keys, mask, pieces):
    allowed, arguments = masks(num_queries, num_keys)[mask]
    q, k, v = inputs(num_queries, num_keys)
    found = attention_core.attend(q, k, v, **arguments)
    np.testing.assert_allclose(found, by_hand(q, k, v, allowed), rtol=1e-4, atol=1e-5)


def gradients(function, arguments, upstream):
    arguments = [tf.convert_to_tensor(x) for x in arguments]
    with tf.GradientTape() as tape:
        tape.watch(arguments)
        outputs = function(*arguments)
    return tape.gradient(outputs, arguments, upstream)


def plain(q, k, v, allowed, kept=1.0):
    logits = tf.einsum("bnqw,bnkw->bnqk", q, k) * W**-0.5
    logits = tf.where(allowed[:, None], logits, -1e30)
    return tf.einsum("bnqk,bnkw->bnqw", tf.nn.softmax(logits) * kept, v)


@pytest.fixture(params=[0, 10**6], ids=["again", "kept"])
def weights(request, monkeypatch):
    """Whether the gradient computes weights again or keeps them."""
    monkeypatch.setattr(attention_core, "WEIGHTS_KEPT", request.param)


@pytest.mark.parametrize("mask", ["all", "causal", "shared", "each", "both"])
@pytest.mark.parametrize("num_queries, num_keys", SIZES)
def test_gradients_are_those_of_autodiff(num_queries, num_keys, mask, pieces, weights):
    allowed, arguments = masks(num_queries, num_keys)[mask]
    qkv = inputs(num_queries, num_keys)
    upstream = values(B, N, num_queries, W, seed=9)
    found = gradients(
        lambda q, k, v: attention_core.attend(q, k, v, **arguments), qkv, upstream
    )
    expected = gradients(lambda q, k, v: plain(q, k, v, allowed), qkv, upstream)
    for name, x, y in zip("qkv", found, expected, strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("compiler", [None, backend.graph, backend.compile])
@pytest.mark.parametrize("narrow", [False, True])
@pytest.mark.parametrize("mask", ["all", "causal", "each", "both"])
def test_bfloat16_is_as_near_as_it_can_be(mask, narrow, compiler, weights, monkeypatch):
    """To the formula in float64, of numbers that bfloat16 has."""
    monkeypatch.setattr(backend, "has_narrow_softmax", lambda: narrow)
    monkeypatch.setattr(attention_core, "WEIGHTS_PER_PIECE", 30)
    num_queries, num_keys = 12, 9
    allowed, arguments = masks(num_queries, num_keys)[mask]
    exact = [*inputs(num_queries, num_keys), values(B, N, num_queries, W, seed=9)]
    # Upstream with a mean: the sum of its products with outputs is then large.
    exact[3] = exact[3] + 3
    exact = [np.round(x * 16) / 16 for x in exact]

    def attend(q, k, v):
        return attention_core.attend(q, k, v, **arguments)

    def run(q, k, v, upstream):
        return attend(q, k, v), *gradients(attend, (q, k, v), upstream)

    run = compiler(run) if compiler else run
    found = run(*(tf.cast(x, "bfloat16") for x in exact))
    q, k, v, upstream = (x.astype("float64") for x in exact)
    expected = [by_hand(q, k, v, allowed)]
    expected += gradients(lambda *x: plain(*x, allowed), (q, k, v), upstream)
    for name, x, y in zip("oqkv", found, expected, strict=True):
        assert x.dtype == tf.bfloat16
        x, y = np.asarray(tf.cast(x, "float64")), np.asarray(y)
        gap = np.sqrt(np.mean((x - y) ** 2) / np.mean(y**2))
        assert gap < 0.015, name


def test_narrow_softmax_is_believed_only_where_it_is_exact(monkeypatch):
    backend.has_narrow_softmax.cache_clear()
    found = backend.has_narrow_softmax()
    logits = np.float32(np.round(np.random.default_rng(1).normal(size=300) * 16) / 16)
    exact = np.exp(logits.astype("float64"))
    exact /= exact.sum()
    ours = ops.cast(ops.softmax(ops.cast(logits, "bfloat16")), "float32")
    gap = np.max(np.abs(np.asarray(ours) - exact) / exact)
    if found:
        assert gap < 2**-8 * 1.01

    def rounded(logits):
        """Of exponentials that are rounded themselves."""
        parts = tf.exp(logits - tf.reduce_max(logits))
        return parts / tf.reduce_sum(parts, keepdims=True, axis=-1)

    def refuses(logits):
        if logits.dtype == tf.bfloat16:
            raise tf.errors.AbortedError(None, None, "no such kernel")
        return rounded(logits)

    for softmax in (rounded, refuses):
        with monkeypatch.context() as patch:
            patch.setattr(tf.nn, "softmax", softmax)
            backend.has_narrow_softmax.cache_clear()
            assert not backend.has_narrow_softmax()
    backend.has_narrow_softmax.cache_clear()


@pytest.mark.parametrize("mask", ["all", "causal"])
def test_dropout_drops_the_same_weights_in_outputs_and_gradients(mask, pieces):
    size, rate = 9, 0.3
    allowed, arguments = masks(size, size)[mask]
    arguments = {**arguments, "dropout_rate": rate, "noise_keys": testing.keys(B)}
    q, k, v = inputs(size, size)
    identity = np.broadcast_to(np.eye(size, dtype="float32"), (B, N, size, size))
    # With these for values the outputs are the weights, of which dropout left some.
    weights = np.asarray(attention_core.attend(q, k, identity, **arguments))
    kept = (weights > 0).astype("float32") / (1 - rate)
    np.testing.assert_allclose(
        weights, by_hand(q, k, identity, allowed, kept), rtol=1e-4, atol=1e-6
    )
    upstream = values(B, N, size, W, seed=9)
    found = gradients(
        lambda q, k, v: attention_core.attend(q, k, v, **arguments),
        (q, k, v),
        upstream,
    )
    expected = gradients(
        lambda q, k, v: plain(q, k, v, allowed, kept), (q, k, v), upstream
    )
    for name, x, y in zip("qkv", found, expected, strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-5, err_msg=name)


def test_dropout_rate_and_independence(monkeypatch):
    monkeypatch.setattr(attention_core, "WEIGHTS_PER_PIECE", 16 * 64)
    size = 64
    q = np.zeros((B, N, size, W), "float32")  # All weights are 1 / size.
    identity = np.broadcast_to(np.eye(size, dtype="float32"), (B, N, size, size))
    weights = attention_core.attend(
        q, q, identity, dropout_rate=0.2, noise_keys=testing.keys(B)
    )
    kept = np.asarray(weights) > 0
    # Four standard deviations of a mean of 24,576 draws.
    assert abs(kept.mean() - 0.8) < 4 * np.sqrt(0.16 / kept.size)
    # Examples, heads and pieces (16 queries each) draw numbers of their own.
    parts = kept.reshape(-1, 16 * size)
    agree = (parts[:, None] == parts).mean(-1)[~np.eye(len(parts), dtype=bool)]
    assert (agree < 0.8).all()  # .8^2 + .2^2 = .68 if independent.


@pytest.mark.parametrize("causal", [False, True])
def test_the_fused_kernel_is_asked_for_the_same(causal, monkeypatch):
    layer = attention.MultiHeadAttention(2, 8, causal=causal)
    x = values(B, 6, 8)
    allowed = np.ones((B, 6, 6), bool)
    allowed[..., 4:] = False
    arguments = [x, x, x, ops.convert_to_tensor(allowed)]
    own = layer(*arguments)
    monkeypatch.setattr(backend, "has_fused_attention", lambda: True)
    fused = layer(*arguments)
    np.testing.assert_allclose(fused, own, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(layer(x, x, x, allowed[0]), fused, rtol=1e-4, atol=1e-5)


def test_bad_dropout_rate():
    with pytest.raises(ValueError, match=r"must be in \[0, 1\). Received: 1.0"):
        attention.MultiHeadAttention(2, 8, dropout_rate=1.0)
