"""Every kind of grid: which z each image is of, and what stays the same."""

import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from deltavae_tf import backend, noise
from deltavae_tf.sampling import images, traversals
from tests import testing, tiny

LEVELS, SEED = 17, 4
ORIGINALS = np.random.default_rng(0).integers(0, LEVELS, (3, 8, 8, 1))


def make(build=tiny.image_model):
    model = build(seed=1)
    testing.randomize(model, scale=0.15)
    model._sample = backend.graph(model.decoder.sample)  # XLA would compile longer.
    return model


@pytest.fixture(scope="module")
def model():
    return make()


@pytest.fixture(scope="module")
def without_latents():
    return make(tiny.image_decoder_alone)


def draw(model, **kwargs):
    return traversals.Traversals(model, seed=SEED, batch_size=4, **kwargs)


def assert_decoded(model, grid, numbers, first_row=0, temperature=1.0):
    """The images, from `first_row` on, are of their latents and numbers."""
    z = grid.latents[first_row:]
    assert np.isnan(grid.latents[:first_row]).all() and np.isfinite(z).all()
    z = z.reshape(-1, *z.shape[2:])
    numbers = ops.convert_to_tensor(np.ravel(numbers), "int32")
    expected = model.sample_data(z, len(z), temperature, SEED, numbers)
    found = grid.images[first_row:].reshape(expected.shape)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("prior", ["auxiliary", "training"])
def test_samples_are_those_of_the_model(model, prior):
    seen = []
    grid = draw(model, prior=prior, temperature=0.8, progress=seen.append)
    grid = grid.samples(2, 3)
    expected = model.sample(6, prior, 0.8, SEED)
    np.testing.assert_array_equal(grid.images.reshape(expected.shape), expected)
    assert seen == [4, 2]
    assert grid.row_labels == ["0", "3"] and grid.column_labels == ["+0", "+1", "+2"]
    other = draw(
        model, prior="auxiliary" if prior == "training" else "training", temperature=0.8
    )
    assert (other.samples(2, 3).images != grid.images).any()


def test_decodings_of_one_z_are_a_column(model):
    grid = draw(model).decodings(3, 2)
    np.testing.assert_array_equal(grid.latents[1:], grid.latents[:1].repeat(2, axis=0))
    np.testing.assert_array_equal(
        grid.latents[0], model.sample_latents(2, "auxiliary", seed=SEED)
    )
    assert_decoded(model, grid, np.arange(6))
    assert len(np.unique(grid.images[:, 0], axis=0)) == 3


def test_interpolation_starts_and_ends_at_the_prior(model):
    ends = ops.convert_to_numpy(model.sample_latents(4, "training", seed=SEED))
    for path, weight in (("linear", 0.5), ("spherical", 0.5**0.5)):
        grid = draw(model, prior="training").interpolation(3, 2, path)
        np.testing.assert_allclose(grid.latents[0], ends[:2], atol=1e-6)
        np.testing.assert_allclose(grid.latents[2], ends[2:], atol=1e-6)
        middle = weight * (ends[:2] + ends[2:])
        np.testing.assert_allclose(grid.latents[1], middle, rtol=1e-5, atol=1e-6)
        assert_decoded(model, grid, [[0, 1]] * 3)  # One noise for a column.
    assert grid.row_labels == ["t=0.00", "t=0.50", "t=1.00"]
    assert grid.column_labels == ["z1-z3", "z2-z4"]


def test_daydream_alternates(model):
    grid = draw(model).daydream(3, 2)
    np.testing.assert_array_equal(
        grid.latents[0], model.sample_latents(2, "auxiliary", seed=SEED)
    )
    assert_decoded(model, grid, np.arange(6))
    for row in (1, 2):
        z = model.sample_posterior(
            grid.images[row - 1], SEED, tf.constant([2 * row, 2 * row + 1])
        )
        np.testing.assert_allclose(grid.latents[row], z, rtol=1e-4, atol=1e-5)


def test_reconstruction(model):
    grid = draw(model).reconstruction(ORIGINALS, 2, names=["a", "b", "c"])
    np.testing.assert_array_equal(grid.images[0], ORIGINALS)
    np.testing.assert_array_equal(
        grid.images[1], model.reconstruct(ORIGINALS, seed=SEED)
    )
    assert_decoded(model, grid, np.arange(6), first_row=1)
    assert (grid.latents[1] != grid.latents[2]).all()
    assert grid.row_labels == ["original", "z1", "z2"]
    assert grid.column_labels == ["a", "b", "c"]


@pytest.mark.parametrize("latents", [True, False])
def test_completion_is_exact(model, without_latents, latents):
    model = model if latents else without_latents
    num_given = 27  # Ends inside of a row.
    grid = draw(model).completion(ORIGINALS, num_given, rows=2, fill=5)
    occluded = ORIGINALS.copy()
    occluded[:, 3, 3:] = occluded[:, 4:] = 5
    np.testing.assert_array_equal(grid.images[0], ORIGINALS)
    np.testing.assert_array_equal(grid.images[1], occluded)
    z, both = None, np.concatenate([occluded] * 2)
    numbers = tf.range(6)
    if latents:  # The posterior knows the occluded image alone.
        z = model.sample_posterior(both, SEED, numbers)
        np.testing.assert_allclose(
            grid.latents[2:].reshape(z.shape), z, rtol=1e-4, atol=1e-5
        )
        z = grid.latents[2:].reshape(z.shape)
    naive = images.naive_sample(
        model.decoder,
        z,
        noise.sample_keys(SEED, numbers, 6, noise.Purpose.DATA),
        given=both,
        num_given=num_given,
    )
    np.testing.assert_array_equal(grid.images[2:].reshape(naive.shape), naive)
    # So what is occluded has no influence.
    other = np.where(np.arange(64).reshape(8, 8, 1) < num_given, ORIGINALS, 16)
    again = draw(model).completion(other, num_given, rows=2, fill=5)
    np.testing.assert_array_equal(again.images[1:], grid.images[1:])
    assert grid.row_labels == ["original", "given", "x1", "x2"]


def test_without_latents(without_latents):
    kinds = draw(without_latents)
    grid = kinds.samples(1, 2)
    assert grid.latents is None
    np.testing.assert_array_equal(grid.images[0], without_latents.sample(2, seed=SEED))
    for kind in ("decodings", "interpolation", "daydream"):
        with pytest.raises(ValueError, match=f"no latents: there is no {kind}"):
            getattr(kinds, kind)(2, 2)
    with pytest.raises(ValueError, match="no latents: there is no reconstruction"):
        kinds.reconstruction(ORIGINALS)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda k: k.samples(0, 2), "`rows` must be at least 1. Received: 0"),
        (lambda k: k.decodings(2, -1), "`columns` must be at least 1. Received: -1"),
        (lambda k: k.interpolation(1, 2), "`rows` must be at least 2. Received: 1"),
        (lambda k: k.interpolation(2, 2, "strait"), "`path` must be one of.*'strait'"),
        (lambda k: k.reconstruction(ORIGINALS[0]), r"columns, 8, 8, 1.*\[8, 8, 1\]"),
        (lambda k: k.reconstruction(ORIGINALS + 0.5), "integers in.*float64"),
        (lambda k: k.reconstruction(ORIGINALS + 9), r"in \[0, 16\]. Received: int64"),
        (lambda k: k.completion(ORIGINALS, 65), "0 to 64 pixels. Received: 65"),
        (lambda k: k.completion(ORIGINALS, 3, fill=17), "`fill` must be 0 to 16"),
    ],
)
def test_bad_input(model, call, message):
    with pytest.raises(ValueError, match=message):
        call(draw(model))


def test_bad_arguments(model):
    with pytest.raises(ValueError, match="`prior` must be one of.*'uax'"):
        draw(model, prior="uax").samples(1, 1)
    with pytest.raises(ValueError, match="above 0. Received: 0"):
        draw(model, temperature=0)
