"""What attention keeps for its backward pass, as `experiments.plan` counts it."""

import tensorflow as tf

from deltavae_tf.layers import attention_core
from experiments.runs import costs
from tests import testing

B, N, W = 2, 3, 4


def test_the_gradient_keeps_no_weights():
    size = 64

    @tf.function(autograph=False)
    def step(q, k, v, drop):
        arguments = {"dropout_rate": 0.2 if drop else 0.0, "causal": True}
        outputs = attention_core.attend(
            q, k, v, noise_keys=testing.keys(B), **arguments
        )
        return tf.gradients(outputs, [q, k, v])

    spec = [tf.TensorSpec([B, N, size, W])] * 3
    small = 8 * B * N * size * W * 4  # Queries, outputs, and the like.
    for drop, kept in ((False, 0), (True, B * N * size * size)):  # A byte each.
        graph = step.get_concrete_function(*spec, drop).graph
        found = costs._activation_bytes(graph)
        assert kept <= found < kept + small, drop
