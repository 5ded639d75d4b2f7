"""The decoder in PyTorch is ours, and the benchmark refuses to time another."""

import json

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from benchmarks import torch_decoder, torch_peer  # noqa: E402

SIZE = (8, 8, 3)


@pytest.fixture(scope="module")
def pair():
    model = torch_peer.make("tiny", SIZE)
    images = np.random.default_rng(1).integers(0, 256, (2, *SIZE), "uint8")
    return model, torch_peer.translated("tiny", model), images


def test_they_are_the_same_model(pair):
    apart = torch_peer.compare(*pair)
    torch_peer.check(apart)
    assert apart["log_likelihood"] < 1e-5 and apart["gradient"] < 1e-4


@pytest.mark.slow
def test_each_weight_counts(pair):
    """Any one that is moved is found out."""
    model, decoder, images = pair
    for name, parameter in decoder.named_parameters():
        before = parameter.detach().clone()
        with torch.no_grad():
            parameter += 0.1 * torch.randn(parameter.shape)
        apart = torch_peer.compare(model, decoder, images)
        if not name.endswith("key.bias"):  # It adds the same to each logit.
            with pytest.raises(ValueError, match="Ours and PyTorch's differ"):
                torch_peer.check(apart)
        with torch.no_grad():
            parameter.copy_(before)
    torch_peer.check(torch_peer.compare(model, decoder, images))


def test_a_weight_that_is_left_out_is_an_error(pair):
    model, decoder, _ = pair
    weights = torch_peer.weights_of(model)
    del weights["norm/gamma"]
    with pytest.raises(ValueError, match="No weights for .*norm.weight"):
        torch_decoder.copy_weights(decoder, weights)


@pytest.mark.slow
def test_the_program(tmp_path, capsys):
    path = tmp_path / "found.json"
    sizes = ["--image_size", "8", "--batch_size", "2", "--rounds", "1"]
    torch_peer.main(
        [*sizes, "--models", "tiny", "--pixels", "64", "--output", str(path)]
    )
    found = json.loads(path.read_text())
    row = found["step"]["tiny"]
    assert row["differences"]["float32"]["log_likelihood"] < 1e-4
    for dtype in torch_peer.DTYPES:
        for name in ("ours", "torch_eager", "torch_compiled"):
            assert row[f"{name}_{dtype}"]["median_s"] > 0
        assert row[f"ours_over_torch_{dtype}"]["median"] > 0
    row = found["attention"]["pixels_64"]
    assert row["ours_over_torch_both_bfloat16"]["median"] > 0
    assert "ours_over_torch_float32" in capsys.readouterr().out
