"""The average of weights against numpy; the swap restores bits."""

import os
import pathlib
import subprocess
import sys
import textwrap

import keras
import numpy as np
import pytest
import tensorflow as tf

from deltavae_tf.training import averaging

ROOT = str(pathlib.Path(__file__).parents[2])


def make_variables():
    return [
        keras.Variable(np.array([[0.1, -2.0]], "float32"), name="kernel"),
        keras.Variable(np.array(3.0, "float32"), name="bias"),
    ]


def path_of(step):
    """Values for both variables at `step`."""
    return [np.array([[np.sin(step), step]], "float32"), np.float32(1.0 / (1 + step))]


def numpy_average(decay, warmup, steps):
    average = [v.numpy().astype("float64") for v in make_variables()]
    for t in range(steps):
        d = min(decay, (1 + t) / (10 + t)) if warmup else decay
        average = [
            d * a + (1 - d) * v for a, v in zip(average, path_of(t), strict=True)
        ]
    return average


@pytest.mark.parametrize("in_graph", [False, True])
@pytest.mark.parametrize("decay, warmup", [(0.9, True), (0.9, False), (0.3, True)])
def test_equals_numpy(decay, warmup, in_graph):
    variables = make_variables()
    average = averaging.WeightAverage(variables, decay, warmup)
    update = tf.function(average.update) if in_graph else average.update
    for t in range(100):
        for variable, value in zip(variables, path_of(t), strict=True):
            variable.assign(value)
        update()
    for found, expected in zip(
        average.variables, numpy_average(decay, warmup, 100), strict=False
    ):
        np.testing.assert_allclose(found.numpy(), expected, rtol=1e-5, atol=1e-6)
    assert int(average.variables[-1]) == 100


def test_own_variables():
    variables = make_variables()
    average = averaging.WeightAverage(variables)
    names = [v.name for v in average.variables]
    assert names == ["average_00000", "average_00001", "average_updates"]
    assert not any(v.trainable for v in average.variables)
    variables[0].assign([[7.0, 7.0]])
    np.testing.assert_array_equal(average.variables[0], np.float32([[0.1, -2.0]]))


@pytest.mark.parametrize("fail", [False, True])
def test_applied_swaps_and_restores_the_bits(fail):
    # Values that no arithmetic on them would give back: a subnormal, -0, a NaN's bits.
    odd = np.array([0x00000001, 0x80000000, 0x7FC00123, 0x3DCCCCCD], "uint32")
    variable = keras.Variable(odd.view("float32"))
    average = averaging.WeightAverage([variable], decay=0.5, warmup=False)
    average.variables[0].assign([1.0, 2.0, 3.0, 4.0])
    before = variable.numpy().view("uint32")
    try:
        with average.applied():
            np.testing.assert_array_equal(variable.numpy(), [1.0, 2.0, 3.0, 4.0])
            if fail:
                raise KeyError("evaluation failed")
    except KeyError:
        assert fail
    np.testing.assert_array_equal(variable.numpy().view("uint32"), before)
    np.testing.assert_array_equal(average.variables[0].numpy(), [1.0, 2.0, 3.0, 4.0])


def test_applied_refuses_itself_and_updates():
    average = averaging.WeightAverage(make_variables())
    with average.applied():
        with pytest.raises(RuntimeError, match="applied already"):
            with average.applied():
                pass
        with pytest.raises(RuntimeError, match="cannot be updated"):
            average.update()
    average.update()


@pytest.mark.parametrize("decay", [-0.1, 1.0, float("nan")])
def test_bad_decay(decay):
    with pytest.raises(ValueError, match=r"in \[0, 1\)"):
        averaging.WeightAverage(make_variables(), decay)


def test_no_variables():
    with pytest.raises(ValueError, match="build the model first"):
        averaging.WeightAverage([])


def test_callback_with_fit():
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input([3]), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.1), "mse")
    seen = []
    record = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: seen.append(
            model.layers[0].kernel.numpy()
        )
    )
    expected = model.layers[0].kernel.numpy().astype("float64")
    averaging_callback = averaging.AverageWeights(decay=0.8)
    x = np.random.default_rng(0).normal(size=[16, 3]).astype("float32")
    # Two fits: the second one continues the average.
    for _ in range(2):
        model.fit(
            x, x[:, :1], batch_size=4, verbose=0, callbacks=[record, averaging_callback]
        )
    assert len(seen) == 8
    for t, kernel in enumerate(seen):
        d = min(0.8, (1 + t) / (10 + t))
        expected = d * expected + (1 - d) * kernel
    average = averaging_callback.average
    np.testing.assert_allclose(average.variables[0].numpy(), expected, rtol=1e-5)
    np.testing.assert_array_equal(model.layers[0].kernel.numpy(), seen[-1])
    with average.applied():
        np.testing.assert_array_equal(
            model.layers[0].kernel.numpy(), average.variables[0].numpy()
        )


def test_two_replicas(tmp_path):
    """In a tf.function after `strategy.run`, and in and out of a checkpoint."""
    script = tmp_path / "replicas.py"
    script.write_text(
        textwrap.dedent("""
        import keras, numpy as np, tensorflow as tf
        from deltavae_tf.training import averaging, checkpoints

        cpu = tf.config.list_physical_devices("CPU")[0]
        logical = tf.config.LogicalDeviceConfiguration()
        tf.config.set_logical_device_configuration(cpu, [logical] * 2)
        strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
        with strategy.scope():
            weight = keras.Variable(np.float32([1.0, 2.0]))
            optimizer = keras.optimizers.SGD(0.1)
            optimizer.build([weight])
            average = averaging.WeightAverage([weight], decay=0.5, warmup=False)

        def replica_step():
            optimizer.apply_gradients([(tf.constant([0.5, 0.5]), weight)])

        @tf.function
        def steps():
            for _ in tf.range(3):
                strategy.run(replica_step)
                average.update()

        steps()
        raw, mean = np.float64([1.0, 2.0]), np.float64([1.0, 2.0])
        for _ in range(3):
            raw = raw - 0.1
            mean = 0.5 * mean + 0.5 * raw
        for found in strategy.experimental_local_results(average.variables[0].value):
            np.testing.assert_allclose(found, mean, rtol=1e-6)
        with average.applied():
            for found in strategy.experimental_local_results(weight.value):
                np.testing.assert_allclose(found, mean, rtol=1e-6)
        for found in strategy.experimental_local_results(weight.value):
            np.testing.assert_allclose(found, raw, rtol=1e-6)
        sections = {"model": [weight], "average": average.variables}
        arrays = checkpoints.variables_to_arrays(sections)
        weight.assign([9.0, 9.0])
        checkpoints.assign_arrays(sections, arrays)
        for found in strategy.experimental_local_results(weight.value):
            np.testing.assert_allclose(found, raw, rtol=1e-6)
        print("replicas:", len(strategy.experimental_local_results(weight.value)))
        """)
    )
    done = subprocess.run(
        [sys.executable, script],
        env={**os.environ, "PYTHONPATH": ROOT, "KERAS_BACKEND": "tensorflow"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert "replicas: 2" in done.stdout
