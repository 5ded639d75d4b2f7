"""Deterministic means that no sum depends on timing."""

import collections

import tensorflow as tf
from tensorflow.python.eager import context

from data import batches, digits
from deltavae_tf.training import strategy
from experiments import build, hparams


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


def test_no_sum_of_three_in_a_training_step():
    """AddN starts with whichever input's buffer is free; for two that is harmless.

    Two runs of CIFAR-10 differed after 30 to 110 steps by this alone.
    """
    strategy.make_deterministic()
    chosen = hparams.hparams("digits_tiny", "decoder_attention=1")
    model = build.image_model(chosen, digits.IMAGE_SHAPE, digits.NUM_LEVELS)
    model.optimizer.build(model.trainable_variables)
    batch = next(iter(batches.training_batches(digits.load("train"), 8, 0)))
    step = tf.function(model.train_step, autograph=False)
    sums = collections.Counter(
        node.attr["N"].i for node in executed_graph(step, batch) if node.op == "AddN"
    )
    assert sums[2] > 0, "no sum at all: the graph was not read"
    assert max(sums) == 2, sums
