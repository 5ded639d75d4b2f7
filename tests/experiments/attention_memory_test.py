"""What attention keeps for its backward pass, as `experiments.plan` counts it."""

import pytest
import tensorflow as tf

from benchmarks import profile
from deltavae_tf import backend
from deltavae_tf.layers import attention_core
from experiments import plan, sets
from experiments.runs import costs
from tests import testing

B, N, W = 2, 3, 4


def bytes_kept(size, drop):
    @tf.function(autograph=False)
    def step(q, k, v):
        arguments = {"dropout_rate": 0.2 if drop else 0.0, "causal": True}
        outputs = attention_core.attend(
            q, k, v, noise_keys=testing.keys(B), **arguments
        )
        return tf.gradients(outputs, [q, k, v])

    graph = step.get_concrete_function(*[tf.TensorSpec([B, N, size, W])] * 3).graph
    return costs._activation_bytes(graph)


@pytest.mark.parametrize("drop, kept", [(False, 0), (True, 1)])  # Bytes of a weight.
def test_the_gradient_keeps_no_weights(drop, kept):
    size = 64
    small = 8 * B * N * size * W * 4  # Queries, outputs, and the like.
    with attention_core.computing_again():
        found = bytes_kept(size, drop)
    assert kept * B * N * size**2 <= found < kept * B * N * size**2 + small


def test_a_processor_keeps_few_weights(monkeypatch):
    size = 64
    small = 8 * B * N * size * W * 4
    count = B * N * size**2
    monkeypatch.setattr(attention_core, "WEIGHTS_KEPT", count)
    assert 4 * count <= bytes_kept(size, False) < 4 * count + small
    monkeypatch.setattr(attention_core, "WEIGHTS_KEPT", count - 1)
    assert bytes_kept(size, False) < small
    monkeypatch.setattr(attention_core, "WEIGHTS_KEPT", count)
    monkeypatch.setattr(backend, "accelerators", lambda: ["some GPU"])
    assert bytes_kept(size, False) < small


@pytest.mark.parametrize("num_kept, times", [(0, 2), (2**20, 1)])
def test_weights_are_computed_as_often_as_they_are_not_kept(
    num_kept, times, monkeypatch
):
    """TensorFlow must not find that the gradient computes again what it has."""
    monkeypatch.setattr(attention_core, "WEIGHTS_KEPT", num_kept)
    monkeypatch.setattr(attention_core, "WEIGHTS_PER_PIECE", 64 * 16)
    q, k, v = (tf.random.stateless_normal([B, N, 64, W], [0, i]) for i in range(3))

    @tf.function(autograph=False)
    def step(*qkv):
        with tf.GradientTape() as tape:
            tape.watch(qkv)
            outputs = attention_core.attend(*qkv, causal=True)
        return tape.gradient(outputs, qkv)

    step(q, k, v)
    found = profile.profile(lambda: step(q, k, v)[0].numpy(), 1)
    assert found["Softmax"][0] == times * 4  # Four pieces.


@pytest.mark.slow
def test_a_plan_is_for_an_accelerator_which_keeps_none(monkeypatch):
    changes = {"decoder_attention": 2, "decoder_layers": 1, "method": "autoregressive"}
    hparams = sets.hparams("cifar10_tiny").replace(**changes)
    found = plan.count(hparams, 1).activation_bytes
    monkeypatch.setattr(attention_core, "WEIGHTS_KEPT", 0)
    assert found == plan.count(hparams, 1).activation_bytes
    assert attention_core.WEIGHTS_KEPT == 0
