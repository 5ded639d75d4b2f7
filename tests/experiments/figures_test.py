"""Tables and points from results: nothing is dropped silently, nothing is claimed."""

import json

import numpy as np
import pytest

from experiments import hparams, sweeps
from experiments.figures import (
    measured,
    points,
    rate_distortion,
    results_table,
    text_results,
)


def row(setting, seed, rate, **changes):
    chosen = hparams.hparams("digits_sweep", "method=beta_vae,beta=0.1")
    split = {
        "distortion_bits": 100.0 + seed, "rate_bits": rate, "rate_aux_bits": rate / 2,
        "committed_rate_bits": 0.0, "nelbo_bpd": 2.0, "nelbo_aux_bpd": 1.9,
        "nelbo_bpd_stderr": 0.1, "nelbo_aux_bpd_stderr": 0.1, "num_examples": 297,
        "data": "digits/test",
    }  # fmt: skip
    return {
        "name": f"{setting}-seed{seed}", "setting": setting, "seed": seed,
        "hparams": chosen.to_dict(), "steps": 400, "training_images": 1500,
        "parameters": 7, "data_note": "", "weights": "average", "test": split,
        "train": split, "latents": {"probe_accuracy": 0.5}, **changes,
    }  # fmt: skip


def sweep(*rows, failed=()):
    return {"sweep": "x", "runs": list(rows), "failed": dict(failed), "hardware": "h"}


def test_points_are_means_over_seeds_and_tell_what_is_left_out():
    found = sweep(
        row("a", 0, 4.0),
        row("a", 1, 6.0),
        row("b", 0, float("nan")),
        failed={"c-seed0": "not finite at step 3"},
    )
    (point,), left_out = points.of_sweep(found)
    assert point.label == "beta-VAE" and point.num_seeds == 2
    assert point.mean("rate_bits") == 5.0
    assert point.deviation("rate_bits") == pytest.approx(np.sqrt(2))
    assert any("b-seed0" in x and "not finite" in x for x in left_out)
    assert "c-seed0: not finite at step 3" in left_out
    table = results_table.sweep_table(found)
    assert "5.00 +- 1.41" in table and "Left out: c-seed0" in table


def test_bad_results(tmp_path):
    path = tmp_path / "x.json"
    with pytest.raises(FileNotFoundError, match="is not there"):
        points.read(str(path))
    for content, message in (
        ("{", "is no JSON"),
        ('{"a": 1}', "has no 'runs'"),
        ('{"runs": []}', "has no runs"),
    ):
        path.write_text(content)
        with pytest.raises(ValueError, match=message):
            points.read(str(path))
    with pytest.raises(ValueError, match="no measured run"):
        points.read(str(tmp_path))
    path.unlink()
    with pytest.raises(ValueError, match="no .json file"):
        measured.read_all(tmp_path)


def test_sweeps_of_one_figure_have_the_same_data_and_length(tmp_path):
    def write(name, *rows):
        path = tmp_path / name
        path.write_text(json.dumps(sweep(*rows, failed={f"of {name}": "diverged"})))
        return str(path)

    one = write("one", row("a", 0, 4.0), row("a", 1, 6.0))
    two = write("two", row("b", 0, 5.0))
    found = points.read_together([one, two])
    chosen, left_out = points.of_sweep(found)
    assert [point.setting for point in chosen] == ["a", "b"]
    assert left_out == ["of one: diverged", "of two: diverged"]
    assert rate_distortion.title(found, "test") == (
        "digits/test, 297 images; 400 steps, 1 or 2 seeds"
    )
    title = rate_distortion.title(points.read(two), "test")
    assert title.endswith("400 steps, 1 seed")
    with pytest.raises(ValueError, match="Of one run there are several: b-seed0"):
        points.read_together([one, two, two])
    other = write("other", row("c", 0, 5.0, steps=300))
    with pytest.raises(
        ValueError, match="c-seed0 and a-seed0 do not belong.*300 steps"
    ):
        points.read_together([one, other])
    with pytest.raises(ValueError, match="--results is needed"):
        points.read_together([])


def record(name, data, note=""):
    value = dict.fromkeys(
        ("nelbo_bpd", "nelbo_aux_bpd", "nelbo_bpd_stderr", "rate_bpd", "rate_aux_bpd"),
        2.345,
    )
    return {
        "hparams": hparams.hparams(name).to_dict(),
        "evaluation": {
            **value, "data": data, "note": note, "num_examples": 1, "step": 9,
        },
        "hardware": "h",
    }  # fmt: skip


@pytest.mark.parametrize(
    "data, note, shown",
    [
        ("imagenet32/valid", "", True),
        ("imagenet32_box/valid", "50,000 images: the box-filtered set", False),
        ("imagenet32/valid", "7 of 49,999 images", False),
    ],
)
def test_only_the_papers_data_stands_beside_the_paper(tmp_path, data, note, shown):
    content = record("imagenet32_best", data, note)
    (tmp_path / "a.json").write_text(json.dumps(content))
    (tmp_path / "b.json").write_text("[]")
    (tmp_path / "c.json").write_text('{"sweep": "x", "runs": []}')
    (tmp_path / "d.json").write_text("{")
    found, left_out = measured.read_all(tmp_path)
    assert left_out[:2] == [f"{x}.json: not a result of images" for x in "bc"]
    assert left_out[2].startswith("d.json: no JSON") and len(left_out) == 3
    assert ("2.345" in results_table.table1(found)) == shown
    content["hparams"]["decoder_layers"] = 3  # No row of the paper's any more.
    (tmp_path / "a.json").write_text(json.dumps(content))
    found, _ = measured.read_all(tmp_path)
    assert "2.345" not in results_table.table1(found)
    assert "2.345" in results_table.other_sizes(found)


def test_text_table_has_averaged_weights_of_a_model_and_its_twins(tmp_path):
    values = {"nelbo_per_token": 4.5, "nelbo_aux_per_token": 4.25}
    values |= {"rate_per_token": 0.5, "committed_rate_per_token": 0.125}
    values |= {"rate_aux_per_token": 0.0625, "nelbo_per_token_stderr": 0.03125}
    values |= {"nelbo_aux_per_word": 6.5, "nelbo_aux_bits_per_character": 2.5}
    evaluation = {f"ema_{name}": value for name, value in values.items()}
    evaluation |= dict.fromkeys(values, 9.875)
    evaluation |= {"data": "documents/test", "note": "n", "num_examples": 3, "step": 7}
    evaluation |= {"num_tokens": 1234, "tokens_per_word": 1.75}
    chosen = hparams.hparams("documents").to_dict() | {"training_sentences": 5}
    chosen["random_seed"] = 0
    content = {"evaluation": evaluation, "hparams": chosen, "hardware": "h"}
    for name in ("d", "d_no_latents"):
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    with pytest.raises(FileNotFoundError, match="d_standard_normal.json"):
        text_results.table(str(tmp_path), "d")
    evaluation["ema_rate_per_token"] = 0.75
    (tmp_path / "d_standard_normal.json").write_text(json.dumps(content))
    found = text_results.table(str(tmp_path), "d")
    rows = [line.split(" | ") for line in found.splitlines()[2:5]]
    numbers = ["4.500 +- 0.031", "4.250", "0.0625", "6.500", "2.500 |"]
    assert [row[:3] + row[4:] for row in rows] == [
        [f"| {name}", *numbers[:2], *numbers[2:]]
        for name in ("delta-VAE", "latent-free twin", "plain VAE")
    ]
    assert [row[3] for row in rows] == ["0.5000 (0.1250)"] * 2 + ["0.7500 (0.1250)"]
    assert "3 sentences of documents/test (n), 1,234 tokens, 1.750 a word" in found


def test_blocks_are_replaced_between_their_marks(tmp_path):
    path = tmp_path / "r.md"
    path.write_text("a\n<!-- generated: t -->\nold\n<!-- end -->\nb\n")
    for _ in range(2):
        results_table.replace_blocks(path, {"t": "new"})
        assert path.read_text() == (
            "a\n<!-- generated: t -->\n\nnew\n\n<!-- end -->\nb\n"
        )
    with pytest.raises(ValueError, match="must have marks.*Received: t"):
        results_table.replace_blocks(path, {"u": "new"})


def test_sweeps():
    for name in ("figure4", "table3", "table6", "collapse", "digits", "cifar10_small"):
        for _, setting, _ in sweeps.sweep(name).runs([0]):
            setting.hparams()  # Every setting is a valid one.
    runs = sweeps.sweep("table3").runs([0, 5])
    assert [run[0] for run in runs] == [
        "independent-seed0", "temporal-seed0", "independent-seed5", "temporal-seed5"
    ]  # fmt: skip
    with pytest.raises(ValueError, match="'figure5'; did you mean 'figure4'"):
        sweeps.sweep("figure5")
