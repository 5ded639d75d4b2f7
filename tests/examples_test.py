"""The examples of docstrings and pages run and print what they say."""

import doctest
import re

import keras
import numpy as np
import pytest
import tensorflow as tf

import deltavae_tf
from deltavae_tf import backend, objectives
from tests import pages

WITH_EXAMPLES = (
    *("AR1", "DeltaVAE", "ImageDecoder", "ImageEncoder", "TextVAE"),
    *("BetaVAE", "ELBO", "FreeBits", "GECO", "KLAnnealing", "from_preset"),
)
# Names that a reader of an example knows: the public ones, NumPy and TFP.
NAMES = {name: getattr(deltavae_tf, name) for name in WITH_EXAMPLES}
NAMES |= {
    name: getattr(deltavae_tf, name)
    for name in ("LSTMPrior", "SegmentedAR1", "TextDecoder", "TextEncoder")
}
NAMES |= {"np": np, "tfd": backend.tfd}


def failures(name):
    """What the example of a public class printed where it should print another thing;
    None if it has no example."""
    text = getattr(deltavae_tf, name).__doc__
    examples = doctest.DocTestParser().get_doctest(text, dict(NAMES), name, None, 0)
    if "Example:" not in text or not examples.examples:
        return None
    found = []
    doctest.DocTestRunner(verbose=False).run(examples, out=found.append)
    return "".join(found)


@pytest.mark.parametrize("name", WITH_EXAMPLES)
def test_example_runs(name):
    assert failures(name) == ""


def test_every_objective_has_one():
    names = {
        name
        for name, value in vars(objectives).items()
        if isinstance(value, type) and issubclass(value, objectives.Objective)
    }
    assert names - {"Objective"} <= set(WITH_EXAMPLES)


def test_every_public_example_is_run():
    found = (getattr(deltavae_tf, name) for name in deltavae_tf.__all__)
    told = {
        x.__name__ for x in found if "Example:" in (getattr(x, "__doc__", "") or "")
    }
    assert told == set(WITH_EXAMPLES)


# Pages whose code other tests run, or these here do.
ELSEWHERE = {"docs/your-own-model.md", "docs/your-own-files.md", "docs/export.md"}
HERE = {"docs/choose-a-rate.md", "README.md"}


def test_every_page_with_code_is_run():
    paths = [*pages.ROOT.glob("*.md"), *(pages.ROOT / "docs").rglob("*.md")]
    found = {str(p.relative_to(pages.ROOT)) for p in paths if pages.blocks(p)}
    assert found == ELSEWHERE | HERE


def test_choosing_a_rate():
    path = pages.ROOT / "docs" / "choose-a-rate.md"
    pages.run(path)
    rows = re.findall(r"^\| (\.\d+) \|(.*)\|$", path.read_text("utf-8"), re.M)
    assert len(rows) == 6
    for alpha, cells in rows:
        rates = [
            deltavae_tf.committed_rate([float(alpha)], n) / np.log(2)
            for n in (8, 14, 28, 32)
        ]
        assert [cell.strip() for cell in cells.split("|")] == [
            f"{r:.2f}" for r in rates
        ]


def test_the_readmes_model(monkeypatch):
    """As it stands; on a few images that are narrow, and not compiled: quick."""
    images = np.random.default_rng(0).integers(0, 256, (16, 28, 1), "uint8")
    data = ((images, None), (images, None))
    monkeypatch.setattr(keras.datasets.fashion_mnist, "load_data", lambda: data)
    keras.config.disable_interactive_logging()  # No progress among what is printed.
    tf.config.run_functions_eagerly(True)
    try:
        names = pages.run(pages.ROOT / "README.md")
    finally:
        tf.config.run_functions_eagerly(False)
        keras.config.enable_interactive_logging()
    assert names["drawn"].shape == (16, 28, 1, 1)
    assert names["prior"].committed_rate() == pytest.approx(70, rel=1e-5)


def test_a_page_that_prints_another_thing_is_seen(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("```python\nx = 3\nprint(x)  # 3\n```\n\n```bash\nls\n```\n")
    assert pages.run(page)["x"] == 3
    page.write_text("```python\nprint(3)  # 4\n```\n")
    with pytest.raises(AssertionError, match="page.md"):
        pages.run(page)


def test_the_reference_has_every_public_name():
    found = []
    for page in (pages.ROOT / "docs" / "reference").glob("*.md"):
        found += re.findall(r"^::: deltavae_tf\.(\w+)$", page.read_text("utf-8"), re.M)
    wanted = {*deltavae_tf.__all__} - {"__version__"}
    assert sorted(x for x in found if x in wanted) == sorted(wanted)  # Each once.


def test_a_wrong_example_is_seen(monkeypatch):
    monkeypatch.setattr(deltavae_tf.ELBO, "__doc__", "Example:\n  >>> 1 + 1\n  3\n")
    assert "Got:\n    2" in failures("ELBO")
    monkeypatch.setattr(deltavae_tf.ELBO, "__doc__", "No example.")
    assert failures("ELBO") is None
