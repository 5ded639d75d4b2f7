"""Which strategy a command line gets, and that no sum depends on timing.

Of a TPU, only what is asked of it is looked at.
That replicas and workers compute what one device does is in tests/experiments,
replicas_test.py and worker_programs_test.py.
"""

import collections
import types
from unittest import mock

import pytest
import tensorflow as tf
from tensorflow.python.eager import context

from data import digits
from data.images import batches
from deltavae_tf.training import strategy, workers
from tests import tiny


@pytest.fixture
def tpu(monkeypatch):
    """A fake TPU of 2 hosts with 4 cores; records how it is used."""
    calls = mock.Mock()
    calls.initialize.return_value = types.SimpleNamespace(
        num_tasks=2, num_tpus_per_task=4
    )
    cluster = tf.distribute.cluster_resolver
    monkeypatch.setattr(cluster, "TPUClusterResolver", calls.resolve)
    monkeypatch.setattr(tf.config, "experimental_connect_to_cluster", calls.connect)
    monkeypatch.setattr(tf.tpu.experimental, "initialize_tpu_system", calls.initialize)
    monkeypatch.setattr(tf.tpu.experimental, "DeviceAssignment", calls.assignment)
    monkeypatch.setattr(tf.distribute, "TPUStrategy", calls.strategy)
    return calls


@pytest.mark.parametrize("name", ["", "local"])
def test_this_machines_tpu(tpu, name):
    strategy.make(use_tpu=True, tpu_name=name, tpu_cores=8)
    tpu.resolve.assert_called_once_with(tpu="local")
    tpu.connect.assert_not_called()
    tpu.strategy.assert_called_once_with(tpu.resolve.return_value)


def test_a_named_tpu(tpu):
    strategy.make(use_tpu=True, tpu_name="big")
    tpu.resolve.assert_called_once_with(tpu="big")
    tpu.connect.assert_called_once_with(tpu.resolve.return_value)


def test_some_of_the_cores(tpu):
    strategy.make(use_tpu=True, tpu_cores=2)
    tpu.assignment.build.assert_called_once_with(
        tpu.initialize.return_value, num_replicas=2
    )
    tpu.strategy.assert_called_once_with(
        tpu.resolve.return_value,
        experimental_device_assignment=tpu.assignment.build.return_value,
    )


def test_too_many_cores(tpu):
    with pytest.raises(ValueError, match="has 8 cores. Received: tpu_num_shards=16"):
        strategy.make(use_tpu=True, tpu_cores=16)


def test_a_tpu_that_does_not_answer_is_one_line(tpu):
    tpu.resolve.side_effect = ValueError("Please provide a TPU Name\nto connect to.")
    with pytest.raises(ValueError, match="No TPU answers.*docs/tpu.md") as caught:
        strategy.make(use_tpu=True)
    assert "\n" not in str(caught.value)


def test_one_device():
    one = strategy.make(num_gpus=1)
    assert one.num_replicas_in_sync == 1 and not strategy.is_tpu(one)
    assert workers.num_workers(one) == 1 and workers.is_chief(one)
    assert workers.from_all_workers([3, 4], one).tolist() == [[3, 4]]
    workers.check_workers_agree(5, one, "They must")


class Contexts:
    """Stands for a strategy of `replicas` on `pipelines` hosts: makes their data."""

    def __init__(self, replicas, pipelines):
        self.num_replicas_in_sync = replicas
        self.pipelines = pipelines

    def distribute_datasets_from_function(self, function):
        return [
            function(
                tf.distribute.InputContext(self.pipelines, i, self.num_replicas_in_sync)
            )
            for i in range(self.pipelines)
        ]


@pytest.mark.parametrize("replicas, pipelines", [(2, 1), (4, 1), (2, 2), (8, 2)])
def test_every_replica_gets_its_part_of_each_batch(replicas, pipelines):
    data = batches.training_batches(digits.load("train"), 16, seed=0)
    hosts = strategy.distribute(data, Contexts(replicas, pipelines))
    local = replicas // pipelines
    for host in hosts:
        assert host.cardinality() == tf.data.INFINITE_CARDINALITY
        assert {t.shape[0] for t in host.element_spec.values()} == {16 // replicas}
    streams = [iter(host) for host in hosts]
    for batch in data.take(3):
        parts = [next(s)["index"] for s in streams for _ in range(local)]
        assert tf.concat(parts, 0).numpy().tolist() == batch["index"].numpy().tolist()


def test_an_evaluation_ends_for_all_at_the_same_time():
    data = batches.evaluation_batches(digits.load("test"), 8, limit=20)
    hosts = strategy.distribute(data, Contexts(4, 2))
    assert [int(host.cardinality()) for host in hosts] == [6, 6]
    assert [len(list(host)) for host in hosts] == [6, 6]


def test_a_batch_that_does_not_divide():
    data = batches.training_batches(digits.load("train"), 6, seed=0)
    with pytest.raises(ValueError, match="Received: batch_size=6, 4 replicas"):
        strategy.distribute(data, Contexts(4, 1))


def executed_graph(function, *args):
    """The nodes of a `tf.function` as they run, after Grappler."""
    context.enable_run_metadata()
    try:
        function(*args)
        graphs = context.context().export_run_metadata().partition_graphs
    finally:
        context.disable_run_metadata()
    for graph in graphs:
        yield from graph.node
        for inner in graph.library.function:
            yield from inner.node_def


@pytest.fixture
def grappler():
    """TensorFlow's optimizer of graphs, which other tests do without."""
    options = tf.config.optimizer.get_experimental_options()
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": False})
    yield
    tf.config.optimizer.set_experimental_options(options)


def test_no_sum_of_three_in_a_training_step(grappler):
    """AddN starts with whichever input's buffer is free; for two that is harmless.

    Two runs of CIFAR-10 differed after 30 to 110 steps by this alone.
    """
    strategy.make_deterministic()
    model = tiny.image_model(decoder_attention=1)
    model.optimizer.build(model.trainable_variables)
    batch = next(iter(batches.training_batches(digits.load("train"), 8, 0)))
    step = tf.function(model.train_step, autograph=False)
    sums = collections.Counter(
        node.attr["N"].i for node in executed_graph(step, batch) if node.op == "AddN"
    )
    assert sums[2] > 0, "no sum at all: the graph was not read"
    assert max(sums) == 2, sums
