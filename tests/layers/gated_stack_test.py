"""The shared blueprint: dependencies of all pairs, and steps equal to the whole."""

import numpy as np
import pytest
from keras import ops

from deltavae_tf.layers import gated_stack, transformer_block
from tests import testing

H, W, C = 4, 5, 3


def make(**kwargs):
    arguments = {"num_heads": 2, "num_attention": 2, **kwargs}
    stack = gated_stack.GatedStack(2, 8, 16, **arguments)
    x = np.random.default_rng(0).normal(size=(2, H, W, C)).astype("float32")
    memory = np.random.default_rng(1).normal(size=(2, H, 6)).astype("float32")
    memory = memory if stack.cross_attention else None
    stack(x, memory)
    testing.randomize(stack, scale=0.2)
    return stack, x, memory


def image_dependencies(stack):
    def function(images):
        scaled = images.astype("float32") / 127.5 - 1
        return ops.reshape(stack(scaled), (-1, H * W, stack.width))

    return testing.dependencies(function, (H, W, C))


@pytest.mark.parametrize("normalization", ["layer", "weight"])
@pytest.mark.parametrize("kernel_size", [3, 5])
def test_with_attention_exactly_the_strict_raster_past(kernel_size, normalization):
    stack, _, _ = make(kernel_size=kernel_size, normalization=normalization)
    strict_past = np.tril(np.ones((H * W, H * W), bool), k=-1)
    np.testing.assert_array_equal(image_dependencies(stack), strict_past)


def test_without_attention_no_leak_and_what_convolutions_reach():
    stack, _, _ = make(num_attention=0)
    found = image_dependencies(stack)
    assert not np.triu(found).any()
    found = found.reshape(H, W, H, W)
    layers = stack.num_layers + 1  # The stem is one more.
    for r, c, r2, c2 in np.ndindex(found.shape):
        # Rows above within reach of the vertical stack, with its horizontal reach;
        # in the own row, what the horizontal stack reaches.
        above = 1 <= r - r2 <= layers and abs(c - c2) <= layers
        left = r == r2 and 1 <= c - c2 <= layers
        if above or left:
            assert found[r, c, r2, c2], (r, c, r2, c2)


def test_first_pixel_of_a_row_sees_the_last_of_the_row_above():
    stack, _, _ = make(num_attention=0, kernel_size=1)
    found = image_dependencies(stack).reshape(H, W, H, W)
    assert found[2, 0, 1, W - 1]


def test_non_causal_sees_everything():
    stack, _, _ = make(causal=False)
    assert image_dependencies(stack).all()


@pytest.mark.parametrize("causal", [True, False])
def test_only_a_position_signal_tells_where_a_pixel_is(causal):
    image = np.full((1, 12, 15, C), 0.3, "float32")
    for told in (False, True):
        stack = gated_stack.GatedStack(2, 8, 16, causal=causal, position_signal=told)
        stack(image)
        testing.randomize(stack, scale=0.2)
        inside = ops.convert_to_numpy(stack(image))[0, 4:-4, 4:-4]
        inside = inside.reshape(-1, 8).round(5)
        assert len(np.unique(inside, axis=0)) == (len(inside) if told else 1)


def test_a_position_signal_is_causal_too():
    stack, _, _ = make(position_signal=True)
    strict_past = np.tril(np.ones((H * W, H * W), bool), k=-1)
    np.testing.assert_array_equal(image_dependencies(stack), strict_past)


@pytest.mark.parametrize("num_attention", [0, 2])
@pytest.mark.parametrize("causal_memory", [True, False])
def test_memory_rows(causal_memory, num_attention):
    stack, x, memory = make(
        cross_attention=True, causal_memory=causal_memory, num_attention=num_attention
    )
    whole = ops.convert_to_numpy(stack(x, memory))
    for j in range(H):
        moved = memory.copy()
        moved[:, j] += 1.0
        seen = (ops.convert_to_numpy(stack(x, moved)) != whole).any(axis=(0, 3))
        rows = np.arange(H) >= j if causal_memory else np.ones(H, bool)
        np.testing.assert_array_equal(seen, np.repeat(rows[:, None], W, axis=1))


@pytest.mark.parametrize(
    "num_attention, cross_attention, policy, normalization, rows_per_block, told",
    [
        (2, True, "float32", "layer", 8, False),
        (2, True, "mixed_bfloat16", "layer", 2, True),
        (2, False, "float32", "weight", 1, True),
        (2, False, "float32", "layer", 3, False),
        (0, True, "float32", "weight", 8, False),
        (0, False, "float32", "layer", 8, True),
    ],
)
def test_steps_equal_call(
    num_attention,
    cross_attention,
    policy,
    normalization,
    rows_per_block,
    told,
    monkeypatch,
):
    monkeypatch.setattr(transformer_block, "ROWS_PER_BLOCK", rows_per_block)
    stack, x, memory = make(
        num_attention=num_attention,
        cross_attention=cross_attention,
        normalization=normalization,
        position_signal=told,
        dtype=policy,
    )
    whole = ops.convert_to_numpy(ops.cast(stack(x, memory), "float32"))
    marked = ops.convert_to_numpy(gated_stack.mark_inside(x))
    cache = stack.init_cache(2, C, memory)
    before = np.zeros((2, C + 1), "float32")
    scale = np.abs(whole).max()
    for r in range(H):
        above = marked[:, r - 1] if r else np.zeros((2, W, C + 1), "float32")
        given, cache = stack.row_step(above, np.int32(r), cache)
        for c in range(W):
            h, cache = stack.step(
                before, [g[:, c] for g in given], np.int32(r * W + c), cache
            )
            h = ops.convert_to_numpy(ops.cast(h, "float32"))
            np.testing.assert_allclose(
                h, whole[:, r, c], atol=testing.tolerance(stack) * scale
            )
            before = marked[:, r, c]


@pytest.mark.parametrize(
    "num_layers, num_attention, expected",
    [  # Table 4 and Table 6.
        (6, 2, [0, 5]),
        (20, 5, [0, 5, 10, 15, 20]),
        (20, 11, list(range(0, 21, 2))),
        (30, 16, list(range(0, 31, 2))),
        (8, 2, [0, 5]),
        (30, 6, list(range(0, 31, 6))),
        (6, 0, [0, 5]),
        (3, 4, [0, 1, 2, 3]),
        (5, 1, [0]),
    ],
)
def test_attention_places(num_layers, num_attention, expected):
    assert gated_stack.attention_places(num_layers, num_attention) == expected


def test_too_many_attention_blocks_are_refused():
    with pytest.raises(ValueError, match="at most num_layers \\+ 1 = 4. Received: 9"):
        gated_stack.attention_places(3, 9)


def test_first_row_does_not_blow_up_gradients():
    """Zero features under layer norm multiply gradients by 1 / sqrt(epsilon)."""
    import tensorflow as tf

    stack = gated_stack.GatedStack(6, 16, 16)
    x = tf.random.stateless_normal([4, 8, 8, 1], [0, 0])
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(tf.square(stack(x)))
    gradients = tape.gradient(loss, [v.value for v in stack.trainable_variables])
    assert max(float(tf.norm(g)) for g in gradients) < 1e3
