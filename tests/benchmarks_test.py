"""The benchmark runs at a tiny size and writes what the README cites; no time is
asserted."""

import json
import subprocess
import sys

import numpy as np
import pytest

from benchmarks import evaluation, exported, likelihood, ours, pixel_cnn, speed, timing
from data import cifar10
from data.images import splits

SIZE = (8, 8, 3)
TINY_PEER = {"dropout_p": 0.0, "num_resnet": 1, "num_hierarchies": 1}
TIMES = {"median_s", "min_s", "max_s", "repeats"}


def fake_split(name, **unused):
    rng = np.random.default_rng(0)
    index = np.arange(8, dtype=np.int32)
    images = rng.integers(0, 256, (8, *SIZE), dtype=np.uint8)
    return splits.Split(images, index % 3, index, f"cifar10/{name}")


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    path = tmp_path_factory.mktemp("benchmark") / "speed.json"
    arguments = ["--models", "tiny", "--image_size", "8", "--repeats", "2"]
    arguments += ["--peer_repeats", "1", "--passes", "1", "--output", str(path)]
    arguments += ["--batch_sizes", "1", "2", "--train_batch_size", "2"]
    arguments += ["--minutes", "0.001", "--num_test", "4", "--data_dir", "here"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(speed, "PEER", TINY_PEER)
        patch.setattr(cifar10, "load", fake_split)
        speed.main([*arguments, "--parts", "sampling", "training"])
        speed.main([*arguments, "--parts", "likelihood"])
    return json.loads(path.read_text())


@pytest.mark.slow
def test_sampling(results):
    found = results["sampling"]["tiny"]
    for batch in ("batch_1", "batch_2"):
        row = found[batch]
        for name in ("cached", "forward", "naive", "peer"):
            assert TIMES <= set(row[name]), name
            assert 0 < row[name]["min_s"] <= row[name]["median_s"] <= row[name]["max_s"]
        for name in ("cached_over_forward", "naive_over_cached", "peer_over_cached"):
            assert row[name]["min"] <= row[name]["median"] <= row[name]["max"], name
        assert row["naive"]["extrapolated_from"] == "1 passes"
    # Batch 1 of the peer is run in full.
    assert "extrapolated_from" not in found["batch_1"]["peer"]
    assert "extrapolated_from" in found["batch_2"]["peer"]
    peer = found["peer"]
    assert peer["num_unmasked"] < peer["num_parameters"]


@pytest.mark.slow
def test_training(results):
    found = results["training"]["tiny"]["batch_2"]
    for name in ("latent_free", "delta", "peer", "peer_unmasked"):
        assert TIMES <= set(found[name]) and found[name]["num_parameters"] > 0
    assert {"peer_over_latent_free", "peer_unmasked_over_delta"} <= set(found)
    size = found["latent_free"]["num_parameters"]
    for count, other in (("num_parameters", "peer"), ("num_unmasked", "peer_unmasked")):
        assert size / 2 < found[other][count] < 2 * size


@pytest.mark.slow
def test_likelihood(results):
    found = results["likelihood"]["tiny"]
    assert {"latent_free", "delta", "pixel_cnn"} <= set(found)
    for name in ("latent_free", "delta", "pixel_cnn"):
        entry = found[name]
        assert 4 < entry["bits_per_dim"] < 20 and entry["stderr"] > 0
        assert entry["steps"] >= 1 and entry["clock"] == "wall"
        assert "first 4 of 8 images" in entry["data"]


@pytest.mark.slow
def test_the_file_says_where_it_was_measured(results):
    for part in ("sampling", "training", "likelihood"):
        measured = results[part]["tiny"]["measured"]
        assert measured["hardware"] and measured["versions"]["tensorflow"]
        assert measured["image_shape"] == list(SIZE)


@pytest.mark.slow
def test_cache_bytes_against_the_formula(results):
    h, layers, a, d = 16, 1, 2, 8
    height, width, channels = SIZE
    attention = 2 * h * (height * width + width + height)  # Pixels, a row, memory.
    convolutions = layers * (width + 1) * h + (width + 1) * (channels + 1)
    expected = 4 * (a * attention + convolutions)
    assert results["sampling"]["tiny"]["cache_bytes_per_image"] == expected
    decoder = ours.make("tiny", SIZE).decoder
    assert ours.cache_bytes(decoder, d) == expected


@pytest.mark.slow
def test_filters_for_finds_the_number_that_has_so_many_parameters():
    peer = pixel_cnn.PixelCNN(SIZE, 6, **TINY_PEER)
    assert peer.num_unmasked < 0.8 * peer.num_parameters
    assert pixel_cnn.filters_for(peer.num_parameters, SIZE, **TINY_PEER) == 6
    assert pixel_cnn.filters_for(peer.num_unmasked, SIZE, True, **TINY_PEER) == 6


def test_ratio_and_extrapolation():
    slow, fast = timing.summary([8.0, 4.0, 6.0]), timing.summary([1.0, 2.0, 2.0])
    assert timing.ratio(slow, fast) == {"median": 3.0, "min": 2.0, "max": 8.0}
    whole = timing.scaled(fast, 10, "3 passes")
    assert whole["median_s"] == 20.0 and whole["extrapolated_from"] == "3 passes"
    assert timing.sentence(whole) == "20 s (extrapolated) [10, 20]"


def test_the_learning_rate_rises_then_falls_to_nothing():
    rates = [likelihood.learning_rate(2.0, used) for used in np.linspace(0, 1, 41)]
    top = int(np.argmax(rates))
    assert 0 < rates[0] < 0.5 and rates[top] == pytest.approx(2.0) and top == 2
    assert np.all(np.diff(rates[top:]) < 0) and rates[-1] == pytest.approx(0.0)
    assert likelihood.learning_rate(2.0, 1.3) == pytest.approx(0.0)


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--parts", "likelihood"], "needs --data_dir"),
        (["--repeats", "0"], "--repeats must be at least 1. Received: 0"),
        (["--batch_sizes", "0"], "batch sizes must be at least 1"),
        (["--models", "huge"], "invalid choice: 'huge'"),
    ],
)
def test_bad_arguments(arguments, message, capsys):
    with pytest.raises(SystemExit):
        speed.parse(arguments)
    assert message in capsys.readouterr().err


@pytest.mark.slow
def test_an_exported_run_is_timed_both_ways(tmp_path, capsys):
    run = tmp_path / "run"
    flags = ["--hparams_set=digits_tiny", f"--output_dir={run}", "--train_steps=2"]
    train = [sys.executable, "-m", "experiments.digits", "--schedule=train", *flags]
    subprocess.run(train, check=True, capture_output=True, cwd=exported.ROOT)
    to = ["--output", str(tmp_path / "exported.json"), "--repeats", "1"]
    exported.main(["--output_dir", str(run), "--batch_sizes", "1", "3", *to])
    found = json.loads((tmp_path / "exported.json").read_text())
    for kind in ("graph", "xla"):
        assert TIMES <= set(found[kind]["batch_3"]) and found[kind]["load_s"] > 0
    assert found["graph_over_xla_batch_1"]["median"] > 0 and found["hardware"]
    assert found["same_images_batch_3"] == "2 of 2 draws"
    assert "xla, batch 3: " in capsys.readouterr().out
    with pytest.raises(SystemExit, match="export failed: error: .*nothing"):
        exported.main(["--output_dir", str(tmp_path / "nothing")])


@pytest.mark.slow
def test_every_part_of_an_evaluation_is_timed(tmp_path, capsys):
    to = ["--examples", "20", "--rounds", "1", "--output", str(tmp_path / "e.json")]
    evaluation.main(["--hparams_set", "digits_tiny", *to])
    found = json.loads((tmp_path / "e.json").read_text())
    counts = [found[f"{k}_examples"] for k in ("held_out", "training")]
    assert counts == [20, 20] and found["reconstructions"] == 20
    parts = dict(found["seconds"])
    assert parts.pop("all") == pytest.approx(sum(parts.values())) and len(parts) == 5
    assert min(parts.values()) > 0 and len(found["forward_ms_an_example"]) == 4
    assert "likelihood of the training examples: " in capsys.readouterr().out


def test_an_evaluation_of_text_is_not_timed(capsys):
    with pytest.raises(SystemExit):
        evaluation.main(["--hparams_set", "documents_tiny"])
    assert "documents_tiny is not a set of images" in capsys.readouterr().err
