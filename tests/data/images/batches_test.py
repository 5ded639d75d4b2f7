"""Tests of the batch contract: order, resume, shards, exact evaluation."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

import data
from data.images import batches, splits

NUM_EXAMPLES = 11


def make_split(num_examples=NUM_EXAMPLES):
    """A split whose image, label and index all say which example it is."""
    number = np.arange(num_examples)
    image = np.broadcast_to(number[:, None, None, None], [num_examples, 2, 3, 1])
    return splits.Split(
        image=image.astype(np.uint8),
        label=(number % 4).astype(np.int32),
        index=(100 + number).astype(np.int32),
        name="toy/train",
    )


def take(dataset, count):
    return list(itertools.islice(dataset.as_numpy_iterator(), count))


def indices(dataset, count):
    """[count, B] int array of the examples' indices, from 0."""
    return np.stack([batch["index"] for batch in take(dataset, count)]) - 100


def test_training_batch_keeps_an_example_together():
    for batch in take(batches.training_batches(make_split(), 4, seed=0), 5):
        number = batch["index"] - 100
        np.testing.assert_array_equal(batch["image"][:, 1, 2, 0], number)
        np.testing.assert_array_equal(batch["label"], number % 4)
        np.testing.assert_array_equal(batch["mask"], np.ones(4))


@pytest.mark.parametrize("kind", ["training", "evaluation"])
def test_batches_have_static_shapes(kind):
    if kind == "training":
        dataset = batches.training_batches(make_split(), 4, seed=0)
        assert dataset.cardinality() == tf.data.INFINITE_CARDINALITY
    else:
        dataset = batches.evaluation_batches(make_split(), 4)
        assert dataset.cardinality() == 3
    spec = {k: (v.shape, v.dtype) for k, v in dataset.element_spec.items()}
    assert spec == {
        "image": ([4, 2, 3, 1], tf.uint8),
        "label": ([4], tf.int32),
        "index": ([4], tf.int32),
        "mask": ([4], tf.float32),
    }


def test_epoch_is_a_permutation_and_the_next_another():
    dataset = batches.training_batches(make_split(12), 4, seed=3)
    epochs = indices(dataset, 12).reshape(4, 12)
    for epoch in epochs:
        assert sorted(epoch) == list(range(12))
    assert len({tuple(epoch) for epoch in epochs}) == 4


def test_no_example_twice_in_an_epoch_that_drops_a_remainder():
    epochs = indices(batches.training_batches(make_split(), 4, seed=0), 40)
    epochs = epochs.reshape(20, 8)
    assert all(len(set(epoch)) == 8 for epoch in epochs)
    assert set(epochs.ravel()) == set(range(NUM_EXAMPLES))  # nobody is left out


def test_order_is_a_function_of_the_seed():
    def order(seed):
        return indices(batches.training_batches(make_split(), 4, seed=seed), 6).tolist()

    assert order(0) == order(0)
    assert order(0) != order(1)
    # Were the seed added to the epoch, seed 1 would be seed 0 an epoch later.
    assert order(0)[2:4] != order(1)[:2]


def test_epochs_do_not_resemble_each_other():
    """Neighbors of one epoch are no likelier to be neighbors in the next."""
    dataset = batches.training_batches(make_split(250), 250, seed=0)
    steps = np.diff(indices(dataset, 40), axis=1)
    adjacent = np.mean(np.abs(steps) == 1) * 250 / 2  # 1 for uniform permutations
    assert abs(adjacent - 1) < 0.05 * 3


# 2 batches an epoch: before, at and after the ends of epochs.
@pytest.mark.parametrize("start_step", [1, 2, 3, 4, 7])
def test_resume_equals_the_tail(start_step):
    whole = take(batches.training_batches(make_split(), 4, seed=5), 10)
    resumed = batches.training_batches(make_split(), 4, seed=5, start_step=start_step)
    for expected, actual in zip(
        whole[start_step:], take(resumed, 10 - start_step), strict=True
    ):
        for key in expected:
            np.testing.assert_array_equal(actual[key], expected[key])


def test_resume_far_into_a_run_is_at_once():
    step = 3 * 10**9 + 1
    far = batches.training_batches(make_split(), 4, seed=5, start_step=step)
    before = batches.training_batches(make_split(), 4, seed=5, start_step=step - 1)
    np.testing.assert_array_equal(indices(far, 3), indices(before, 4)[1:])


@pytest.mark.parametrize("batch_size", [1, 2, 3, 5, 7, 11, 20])
def test_evaluation_sees_each_example_once_in_order(batch_size):
    found = list(
        batches.evaluation_batches(make_split(), batch_size).as_numpy_iterator()
    )
    index = np.concatenate([b["index"] for b in found])
    mask = np.concatenate([b["mask"] for b in found])
    assert set(mask) <= {0.0, 1.0}
    np.testing.assert_array_equal(index[mask == 1] - 100, np.arange(NUM_EXAMPLES))
    np.testing.assert_array_equal(mask[:NUM_EXAMPLES], np.ones(NUM_EXAMPLES))


def test_masked_mean_does_not_depend_on_the_batch_size():
    values = []
    for batch_size in (2, 3, 5, 7):
        total = count = 0.0
        for b in batches.evaluation_batches(make_split(), batch_size):
            value = tf.cast(b["image"][:, 0, 0, 0], tf.float32) ** 2
            total += float(tf.reduce_sum(value * b["mask"]))
            count += float(tf.reduce_sum(b["mask"]))
        values.append(total / count)
    assert values == [np.mean(np.arange(NUM_EXAMPLES) ** 2)] * 4


def test_limit_is_a_prefix():
    found = take(batches.evaluation_batches(make_split(), 4, limit=6), 9)
    assert [b["mask"].sum() for b in found] == [4, 2]
    assert (found[1]["index"] - 100)[:2].tolist() == [4, 5]
    assert found[1]["image"][:2, 0, 0, 0].tolist() == [4, 5]
    assert found[1]["label"][:2].tolist() == [0, 1]
    assert make_split().first(6).note == "first 6 of 11 images"
    assert make_split().first(99).note == ""


def test_distribution_is_told_not_to_shard_again():
    for dataset in (
        batches.training_batches(make_split(), 4, seed=2),
        batches.evaluation_batches(make_split(), 4),
    ):
        policy = dataset.options().experimental_distribute.auto_shard_policy
        assert policy == tf.data.experimental.AutoShardPolicy.OFF


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"batch_size": 12}, r"at most the number of examples, 11. Received: 12"),
        ({"batch_size": 0}, r"`batch_size` must be at least 1. Received: 0"),
        ({"start_step": -1}, r"`start_step` must be >= 0. Received: -1"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(data.DataError, match=message):
        batches.training_batches(
            make_split(), **{"batch_size": 4, "seed": 0, **arguments}
        )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image": np.zeros([2, 3, 3, 1], np.float32)}, "`image` must be uint8"),
        ({"image": np.zeros([2, 9], np.uint8)}, r"rank 4. Received: uint8 \(2, 9\)"),
        ({"label": np.zeros([2], np.int64)}, "`label` must be int32"),
        ({"label": np.zeros([3], np.int32)}, r"lengths \[2, 3, 2\]"),
        ({"index": np.zeros([2], np.int32)}, "unique. Received: 1 values for 2"),
    ],
)
def test_bad_splits(change, message):
    good = {
        "image": np.zeros([2, 3, 3, 1], np.uint8),
        "label": np.zeros([2], np.int32),
        "index": np.arange(2, dtype=np.int32),
    }
    with pytest.raises(data.DataError, match=message):
        splits.Split(**{**good, **change}, name="toy/train")


def test_empty_split_and_bad_limit():
    with pytest.raises(data.DataError, match="not empty"):
        make_split(0)
    with pytest.raises(data.DataError, match="`limit` must be at least 1. Received: 0"):
        batches.evaluation_batches(make_split(), 4, limit=0)


def test_hold_out_divides_the_split():
    split = make_split()
    kept, held = split.hold_out(4)
    assert (len(kept), len(held)) == (7, 4)
    np.testing.assert_array_equal(np.concatenate([kept.index, held.index]), split.index)
    np.testing.assert_array_equal(held.image, split.image[-4:])
    assert held.note == "the last 4 training images"
    for count in (0, len(split)):
        with pytest.raises(data.DataError, match="`count` must be in"):
            split.hold_out(count)
