"""The examples of docs/your-own-model.md run, in their order."""

import numpy as np
import pytest

from deltavae_tf import backend, errors
from tests import pages


@pytest.fixture(scope="module")
def names():
    """What the page's code defines."""
    path = pages.ROOT / "docs" / "your-own-model.md"
    assert len(pages.blocks(path)) == 5
    return pages.run(path)


def test_the_model_learns_and_draws(names):
    loss = names["history"].history["loss"]
    assert loss[-1] < loss[0]
    drawn = np.asarray(names["drawn"])
    assert drawn.shape == (3, 6) and drawn.min() >= 0 and drawn.max() < 5
    two = np.asarray(names["model"].sample(2, seed=1, first=1))
    np.testing.assert_array_equal(two, drawn[1:])


def test_the_prior_is_the_normal_that_it_says(names):
    prior = names["WideNormal"](2.0, 4, 2)
    loc, scale = np.full((1, 4, 2), 0.5, "f"), np.full((1, 4, 2), 0.3, "f")
    kl = np.log(2 / 0.3) + (0.3**2 + 0.5**2) / (2 * 2.0**2) - 0.5
    np.testing.assert_allclose(prior.rate(loc, scale, loc), [8 * kl], rtol=1e-5)
    z = np.asarray(names["wide"].sample_latents(2000, seed=3))
    assert abs(z.std() - 2) < 0.05


def test_the_objective_is_what_it_says(names):
    x, wide = names["x"][:4], names["wide"]
    terms = {k: np.asarray(v) for k, v in wide(x).items()}
    loss = wide.evaluate(x, batch_size=4, verbose=0, return_dict=True)["loss"]
    expected = np.mean(terms["distortion"] + 0.5 * np.sqrt(terms["rate"]))
    assert loss == pytest.approx(expected, rel=1e-4)


def test_what_the_page_says_is_refused(names):
    model, x = names["model"], names["x"]
    for wrong in (x + 5, x - 1, x.astype("float32")):
        with pytest.raises(errors.UserError, match="Received"):
            model.fit(wrong, verbose=0)
    with pytest.raises(errors.UserError, match="temperature"):
        model.sample(2, temperature=0.5)
    assert backend.name in ("tensorflow", "jax")
