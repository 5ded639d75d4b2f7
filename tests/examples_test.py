"""The examples of docstrings run and print what they say."""

import doctest

import numpy as np
import pytest

import deltavae_tf
from deltavae_tf import backend, objectives

WITH_EXAMPLES = (
    *("AR1", "DeltaVAE", "ImageDecoder", "ImageEncoder", "TextVAE"),
    *("BetaVAE", "ELBO", "FreeBits", "GECO", "KLAnnealing"),
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


def test_a_wrong_example_is_seen(monkeypatch):
    monkeypatch.setattr(deltavae_tf.ELBO, "__doc__", "Example:\n  >>> 1 + 1\n  3\n")
    assert "Got:\n    2" in failures("ELBO")
    monkeypatch.setattr(deltavae_tf.ELBO, "__doc__", "No example.")
    assert failures("ELBO") is None
