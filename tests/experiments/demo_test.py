"""The demo, in seconds: what it prints and what it leaves."""

import json
import math

import numpy as np
import pytest
from PIL import Image

from experiments.figures import readme
from tests.experiments import commands as programs

TINY = "encoder_width=8,encoder_filter=8,decoder_width=8,decoder_filter=8,"
TINY += "train_steps=4,eval_every=4,decay_steps=60,num_mixtures=2,auxiliary_units=4"
NAMES = ["plain VAE", "delta-VAE", "decoder alone"]


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo") / "demo"
    line = ["experiments.demo", f"--output_dir={folder}", f"--hparams={TINY}"]
    return folder, programs.run({"demo": line, "again": line})


@pytest.mark.slow  # A minute: two models are trained, compiled and sampled from.
def test_demo(shown):
    folder, found = shown
    assert found["demo"]["status"] == 0, found["demo"]["stderr"][-2000:]
    results = json.loads((folder / "results.json").read_text())
    assert [r["name"] for r in results] == NAMES
    vae, delta, alone = results
    names = """
      name committed_bits rate_bits aux_rate_bits bpd bpd_aux distortion_bits
      probe_accuracy reconstruction_agreement
    """.split()
    assert all(set(names) <= set(r) for r in results)
    assert vae["committed_bits"] == 0 < delta["committed_bits"] <= delta["rate_bits"]
    for model in (vae, delta):
        bits = model["distortion_bits"] + model["aux_rate_bits"]
        assert model["bpd_aux"] == pytest.approx(bits / 196, rel=1e-5)
        assert 0 <= model["reconstruction_agreement"] <= 1
    assert alone["rate_bits"] == 0 and alone["probe_accuracy"] is None
    assert math.isclose(alone["bpd"], alone["bpd_aux"])
    record = json.loads((folder / "record.json").read_text())
    assert [run["setting"] for run in record["runs"]] == NAMES
    assert "seconds" not in record  # The second time it trained nothing.
    (folder / "demo.json").write_text(json.dumps({**record, "seconds": 61}))
    shown = readme.demo(str(folder))
    assert f"| {delta['bpd_aux']:.3f} |" in shown and shown.count("\n") == 4
    picture = np.asarray(Image.open(folder / "fashion.png").convert("L"))
    assert picture.shape[1] > 10 * 14 * 5 and (picture < 128).mean() > 0.05
    text = found["demo"]["stdout"]
    assert all(name in text for name in NAMES) and "collapse" in text
    # Again it trains nothing and says the same.
    assert found["again"]["status"] == 0
    assert (
        found["again"]["stdout"] == text and "steps/s" not in found["again"]["stderr"]
    )
