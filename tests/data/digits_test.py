"""Tests of the embedded digits."""

import numpy as np
import pytest
from sklearn import datasets

import data
from data import digits


def test_splits_are_the_whole_data_set_once():
    bunch = datasets.load_digits()
    splits = [digits.load(name) for name in ("train", "test")]
    assert [len(split) for split in splits] == [1500, 297]
    assert [split.name for split in splits] == ["digits/train", "digits/test"]
    index = np.concatenate([split.index for split in splits])
    assert sorted(index) == list(range(1797))
    for split in splits:
        np.testing.assert_array_equal(split.image[..., 0], bunch.images[split.index])
        np.testing.assert_array_equal(split.label, bunch.target[split.index])


def test_images_have_the_stated_shape_and_levels():
    split = digits.load("test")
    assert split.image.shape[1:] == digits.IMAGE_SHAPE
    assert split.image.dtype == np.uint8
    assert set(np.unique(split.image)) == set(range(digits.NUM_LEVELS))


def test_every_class_is_in_both_splits():
    for name, least in (("train", 130), ("test", 20)):
        counts = np.bincount(digits.load(name).label, minlength=10)
        assert len(counts) == len(digits.CLASS_NAMES) == 10
        assert counts.min() >= least


def test_split_is_the_documented_one():
    assert digits.load("train").index[:5].tolist() == [1081, 1707, 927, 713, 262]


def test_unknown_split():
    with pytest.raises(data.DataError, match="'train' or 'test'. Received: valid"):
        digits.load("valid")
