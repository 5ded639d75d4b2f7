"""A plan's numbers against counts by hand from the paper's blueprint."""

import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from experiments import build, plan, sets
from experiments.runs import costs

ROOT = pathlib.Path(__file__).parents[2]
BATCH = 2
SET = sets.hparams("digits").replace(
    encoder_layers=1, decoder_layers=2, encoder_width=8, decoder_width=12,
    encoder_filter=20, decoder_filter=28, encoder_attention=0, decoder_attention=2,
    num_heads=4, num_mixtures=2, latent_channels=3, auxiliary_units=5,
    batch_size=2 * BATCH, dropout=0.1,
)  # fmt: skip


def by_hand(h):
    """Operations of a step of `h` on `BATCH` digits, from the layers' sizes."""
    height, width, channels, latents = 8, 8, 1, h.latent_channels
    forward, without_input_gradient = 0, 0

    def product(positions, inputs, outputs):
        return 2 * BATCH * positions * inputs * outputs

    def stack(area, w, layers):
        nonlocal forward, without_input_gradient
        stems = product(area, 6 * (channels + 1), w)  # 2 x 3 window, a mask channel.
        stems += product(area, 2 * (channels + 1), w)  # 1 x 2 window.
        without_input_gradient += stems
        forward += stems + product(area, w, w)
        forward += layers * product(area, 6 * w + 2 * w + 2 * w, 2 * w)
        forward += layers * product(area, w, w)

    stack(height * (width + 1), h.encoder_width, h.encoder_layers)
    forward += product(height, h.encoder_width, 2 * latents)

    area, w = height * width, h.decoder_width
    stack(area, w, h.decoder_layers)
    block = 4 * product(area, w, w) + 2 * product(area, area, w)  # Self-attention.
    block += product(height, latents, w)  # Rows of z.
    block += 2 * product(area, w, w) + 2 * product(height, w, w)
    block += 2 * product(area, height, w)  # Cross-attention.
    block += 2 * product(area, w, h.decoder_filter)
    forward += h.decoder_attention * block
    forward += product(area, w, 3 * h.num_mixtures)  # Weight, mean, scale.

    units = h.auxiliary_units
    forward += product(height, latents + units, 4 * units)
    forward += product(height, units, 2 * latents)
    # Each product has two in the gradient; images need none. Attention's logits are
    # computed again there.
    again = product(area, area, w) + product(area, height, w)
    return 3 * forward - without_input_gradient + h.decoder_attention * again


@pytest.fixture(scope="module")
def counted():
    return plan.count(SET, num_cores=2)


@pytest.mark.slow
def test_operations_are_those_counted_by_hand(counted):
    # The state before the LSTM's first step needs no gradient, but its loop makes one.
    first = 2 * BATCH * 4 * SET.auxiliary_units * (SET.auxiliary_units + 3)
    assert by_hand(SET) <= counted.flops(matrix=True) <= by_hand(SET) + first


@pytest.mark.slow
def test_parameters_and_state(counted):
    model = build.model(SET)
    parameters = sum(np.prod(v.shape) for v in model.trainable_variables)
    assert counted.parameters == parameters
    # float32 weights, gradients, two moments and an average; a few counters.
    assert 20 * parameters <= counted.state_bytes < 20 * parameters + 100


def test_activations_of_a_small_network():
    a, b = tf.Variable(tf.ones([7, 5])), tf.Variable(tf.ones([5, 1]))

    @tf.function
    def step(x):
        """One hidden layer: its gradient needs the input and the tanh."""
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(tf.tanh(x @ a) @ b)
        return loss, tape.gradient(loss, [a, b])

    graph = step.get_concrete_function(tf.TensorSpec([3, 7])).graph
    assert costs._activation_bytes(graph) == 4 * 3 * 5  # The input is the caller's.
    flops = [o.flops for o in costs._operations(graph) if o.matrix]
    # Forward 3x7x5, 3x5x1; backward: to b, to the hidden layer, to a.
    assert sorted(flops) == sorted([210, 30, 30, 30, 210])


def test_a_loop_counts_each_trip():
    @tf.function
    def loop(x):
        body = lambda i, y: (i + 1, tf.matmul(y, y))  # noqa: E731
        return tf.while_loop(lambda i, y: True, body, (0, x), maximum_iterations=6)[1]

    graph = loop.get_concrete_function(tf.TensorSpec([4, 4])).graph
    found = [o for o in costs._operations(graph) if o.matrix]
    assert sum(o.flops * o.times for o in found) == 6 * 2 * 4**3


@pytest.mark.slow
def test_time_is_the_slower_of_arithmetic_and_memory(counted):
    enough = 1e30
    memory = (counted.bytes(matrix=True) + counted.update_bytes) / 1e9
    assert counted.seconds(enough, 1e9) == pytest.approx(memory)
    arithmetic = counted.flops(matrix=True) / 1e9
    assert counted.seconds(1e9, enough) == pytest.approx(arithmetic)
    assert counted.seconds(1e9, 1e9) >= max(memory, arithmetic)
    assert counted.seconds(1e9, 1e9, fused=False) > counted.seconds(1e9, 1e9)


@pytest.mark.slow
def test_bfloat16_halves_the_activations(counted):
    half = plan.count(SET.replace(dtype="mixed_bfloat16"), num_cores=2)
    assert half.flops(matrix=True) == counted.flops(matrix=True)
    assert 0.4 < half.activation_bytes / counted.activation_bytes < 0.8


@pytest.mark.slow
def test_more_cores_share_the_batch(counted):
    one = plan.count(SET, num_cores=1)
    assert one.parameters == counted.parameters
    assert one.flops(matrix=True) == pytest.approx(
        2 * counted.flops(matrix=True), rel=1e-2
    )
    with pytest.raises(ValueError, match="must divide the batch. Received: .*=4, 3"):
        plan.count(SET, num_cores=3)


@pytest.mark.slow
def test_the_program(tmp_path):
    command = [sys.executable, "-m", "experiments.plan", "--hparams_set=digits_tiny"]
    command += ["--tpu_num_shards=2", "--peak_tflops=400", "--memory_gbs=3000"]
    run = [
        subprocess.run(
            [*command, *more], cwd=ROOT, capture_output=True, text=True, timeout=600
        )
        for more in ([], ["--as_json"])
    ]
    assert [r.returncode for r in run] == [0, 0], run[0].stderr
    found = json.loads(run[1].stdout)
    assert "4 of 8 examples" in run[0].stdout
    assert f"{found['parameters']:,} parameters" in run[0].stdout
    assert (found["hparams_set"], found["cores"]) == ("digits_tiny", 2)
    assert found["step"]["given rates"]["ms_fused"] > 0


PLANS = sorted((ROOT / "benchmarks" / "results").glob("plan_*.json"))


@pytest.mark.parametrize("path", PLANS, ids=lambda path: path.stem)
def test_docs_have_the_plans_numbers(path):
    """The rows of docs/tpu.md are those of a kept plan."""
    text = (ROOT / "docs" / "tpu.md").read_text()
    found = json.loads(path.read_text())
    kept = ("matrix_bytes", "update_bytes", "state_bytes", "activation_bytes")
    numbers = [f"{found['parameters'] / 1e6:.1f}"]
    numbers += [f"{found['matrix_operations'] / 1e12:.2f}"]
    numbers += [f"{found[name] / 1e9:.1f}" for name in kept]
    each = found["batch_size"] // found["cores"]
    command = f"--hparams_set={found['hparams_set']} --tpu_num_shards={found['cores']}"
    assert command in text
    assert f"| `{found['hparams_set']}` | {each} | {' | '.join(numbers)} |" in text
    for device, step in found["step"].items():
        fits = "yes" if step["fits"] else "no"
        row = f"{step['ms_fused']:,.0f} | {step['ms_unfused']:,.0f} | {fits} |"
        assert f"| `{found['hparams_set']}` | {device} | {row}" in text


@pytest.mark.slow
def test_text_is_counted_too():
    found = plan.count(sets.hparams("documents_tiny"), num_cores=2)
    model = build.model(sets.hparams("documents_tiny"))
    assert found.parameters == sum(np.prod(v.shape) for v in model.trainable_variables)
    assert found.flops(matrix=True) > 0 < found.activation_bytes
