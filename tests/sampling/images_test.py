"""Samples in batches of one size, and their pictures."""

import numpy as np
import pytest
from PIL import Image

from deltavae_tf.sampling import images
from tests import tiny


def test_any_count_in_batches_of_one_size():
    model = tiny.image_model()
    parts = list(images.sample(model, 5, seed=2, batch_size=2))
    assert [len(part) for part in parts] == [2, 2, 1]
    whole = next(images.sample(model, 5, seed=2, batch_size=64))
    np.testing.assert_array_equal(np.concatenate(parts), whole)
    with pytest.raises(ValueError, match="at least 1. Received: 0"):
        next(images.sample(model, 0))


@pytest.mark.parametrize("channels", [1, 3])
def test_grid(channels):
    tiles = np.stack([np.full((4, 6, channels), level) for level in (0, 2, 4)])
    picture = images.grid(tiles, columns=2, num_levels=5, zoom=2)
    assert picture.shape == (2 * (4 + 1 + 4), 2 * (6 + 1 + 6), 3)
    assert picture.dtype == np.uint8
    assert (picture[:8, :12] == 0).all()  # First tile.
    assert (picture[:8, 14:] == 128).all()  # Second: 2 of 4 levels, rounded.
    assert (picture[10:, :12] == 255).all()  # Third.
    assert (picture[8:10] == 255).all()  # Gap.


def test_labeled_grid():
    tiles = np.full((2, 3, 4, 6, 1), 4)
    tiles[1, 2] = 0
    labels = (["top", "a longer label"], ["1", "2", "3"])
    picture = images.labeled_grid(tiles, *labels, "a title", num_levels=5, zoom=2)
    plain = images.labeled_grid(tiles, ["", ""], ["", "", ""], num_levels=5, zoom=2)
    black = (plain == 0).all(-1)
    assert black.sum() == (4 * 2) * (6 * 2)  # The one dark tile.
    rows, columns = np.nonzero(black)
    assert rows.min() == 44 + 5 * 2 and columns.min() == 12 + 2 * 7 * 2
    # The same tiles, and ink in the title's line, above and at the left of them.
    left = picture.shape[1] - plain.shape[1]
    assert left > 60
    np.testing.assert_array_equal(picture[44:, left + 12 :], plain[44:, 12:])
    for part in (picture[:22], picture[22:44, left + 12 :], picture[44:, :left]):
        assert part.min() < 100


def test_write_png(tmp_path):
    picture = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    images.write_png(tmp_path / "a.png", picture)
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "a.png")), picture)
