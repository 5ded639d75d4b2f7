"""Batches without TensorFlow are tf.data's, to the bit."""

import numpy as np
import pytest

from data.images import orders, resident, splits
from data.reading import errors

tf = pytest.importorskip("tensorflow")
batches = pytest.importorskip("data.images.batches")


def make_split(size=11):
    number = np.arange(size)
    return splits.Split(
        image=np.broadcast_to(number[:, None, None, None], [size, 2, 3, 1]).astype(
            "u1"
        ),
        label=(number % 4).astype("int32"),
        index=(100 + number).astype("int32"),
        name="toy/train",
    )


@pytest.mark.parametrize("seed", [(0, 0), (5, 7), (-3, 2**40 + 1), (2**62 + 9, 3)])
def test_random_numbers_are_tensorflows(seed):
    theirs = tf.constant(seed, tf.int64)
    folded = tf.random.experimental.stateless_fold_in(theirs, 77, alg="philox")
    assert list(orders.fold_in(seed, 77)) == folded.numpy().tolist()
    for size in (1, 2, 5, 1000):
        shuffled = tf.random.experimental.stateless_shuffle(
            tf.range(size), seed=theirs, alg="philox"
        )
        np.testing.assert_array_equal(orders.permutation(size, seed), shuffled)


@pytest.mark.parametrize("seed, start", [(0, 0), (3, 1), (-1, 7), (2**40, 10**9)])
def test_training_batches_are_tf_datas(seed, start):
    split = make_split()
    ours = resident.training_batches(split, 4, seed, start)
    positions, columns = np.concatenate([ours.take(1), ours.take(5)]), ours.columns()
    theirs = batches.training_batches(split, 4, seed, start).as_numpy_iterator()
    for row in positions:
        for name, value in next(theirs).items():
            np.testing.assert_array_equal(columns[name][row], value)


@pytest.mark.parametrize("batch_size, limit", [(4, None), (11, None), (3, 5), (20, 2)])
def test_evaluation_batches_are_tf_datas(batch_size, limit):
    split = make_split()
    theirs = list(
        batches.evaluation_batches(split, batch_size, limit).as_numpy_iterator()
    )
    ours = resident.evaluation_batches(split, batch_size, limit)
    assert len(ours) == len(theirs)
    for one, other in zip(ours, theirs, strict=True):
        assert one.keys() == other.keys()
        for name, value in other.items():
            np.testing.assert_array_equal(one[name], value)
            assert one[name].dtype == value.dtype


@pytest.mark.parametrize("size", [0, 12])
def test_impossible_batch_sizes_are_errors(size):
    with pytest.raises(errors.DataError, match=f"Received: {size}"):
        resident.training_batches(make_split(), size, 0)


def test_images_on_disk_are_an_error():
    class Streamed:
        name = "imagenet32/train"

    with pytest.raises(errors.DataError, match="must fit into memory"):
        resident.training_batches(Streamed(), 4, 0)
