"""Tables and points from results: nothing is dropped silently, nothing is claimed."""

import copy
import dataclasses
import json
import pathlib
import types

import numpy as np
import pytest

from deltavae_tf import units
from deltavae_tf.errors import UserError
from deltavae_tf.evaluation import metric
from experiments import sets
from experiments.figures import (
    blocks,
    information_runs,
    points,
    power_law,
    results,
    results_table,
    sweep_table,
    text_results,
)
from experiments.sets import sweeps

RESULTS = pathlib.Path(__file__).parents[2] / "experiments" / "results"


def nats(bits):
    return float(units.nats(bits))


def row(setting, seed, rate, **changes):
    chosen = sets.hparams("digits_sweep", "method=beta_vae,beta=0.1")
    split = {
        "distortion_nats": nats(100.0 + seed), "rate_nats": nats(rate),
        "rate_aux_nats": nats(rate / 2), "rate_above_delta_nats": nats(rate),
        "committed_rate_nats": 0.0, "nelbo_bpd": 2.0, "nelbo_aux_bpd": 1.9,
        "nelbo_bpd_stderr": 0.1, "nelbo_aux_bpd_stderr": 0.1, "num_examples": 297,
    }  # fmt: skip
    about = {"name": "digits/test", "note": "", "num_examples": 297}
    training = {"name": "digits/train", "note": "", "num_examples": 1500}
    return {
        "name": f"{setting}-seed{seed}", "setting": setting, "seed": seed,
        "training_hours": 0.1, "steps": 400, "git_commit": "c",
        "schema": 1, "experiment": "x", "step": 400, "random_seed": seed,
        "hparams": chosen.to_dict(), "model": {"parameters": 7},
        "data": {"problem": "digits", "kind": "images", "held_out": about,
                 "training": training},
        "weights": {"average": {
            "held_out": {**split, "probe_accuracy": 0.5},
            "training": {**split, "units": 64,
                         "mutual_information_nats": nats(rate / 3),
                         "mutual_information_limit_nats": nats(10.55)},
        }}, **changes,
    }  # fmt: skip


def content(*rows, failed=()):
    return {
        "schema": 1, "meaning": "m", "hardware": "h", "versions": {},
        "runs": list(rows), "failed": dict(failed),
    }  # fmt: skip


def sweep(*rows, failed=(), source="x.json"):
    """The `Results` of rows, not checked."""
    runs = [results.Run(source, "h", r) for r in rows]
    return results.Results(source, "m", "h", runs, dict(failed))


def test_points_are_means_over_seeds_and_tell_what_is_left_out():
    found = sweep(
        row("a", 0, 4.0),
        row("a", 1, 6.0),
        row("b", 0, float("nan")),
        failed={"c-seed0": "not finite at step 3"},
    )
    (point,), left_out = points.of(found)
    assert point.label == "beta-VAE" and point.num_seeds == 2
    assert point.mean("rate_nats") == pytest.approx(nats(5.0))
    assert point.deviation("rate_nats") == pytest.approx(nats(np.sqrt(2)))
    assert any("b-seed0" in x and "not finite" in x for x in left_out)
    assert "c-seed0: not finite at step 3" in left_out
    table = sweep_table.table(found)
    assert "5.00 +- 1.41" in table and "Left out: c-seed0" in table


def test_a_new_metric_has_its_column(monkeypatch):
    metric.metrics()
    monkeypatch.setattr(metric, "_MEASUREMENTS", dict(metric._MEASUREMENTS))
    one = row("a", 0, 4.0)
    one["weights"]["average"]["held_out"]["strange"] = 0.25
    assert "oddity" not in sweep_table.table(sweep(one))
    new = metric.Metric("strange", title="oddity", form="{:.0f}", factor=100.0)
    metric.register(new)(lambda context: None)
    header, _, line = sweep_table.table(sweep(one)).splitlines()[:3]
    cells = [[c.strip() for c in x.split("|")] for x in (header, line)]
    assert dict(zip(*cells, strict=True))["oddity"] == "25"


def test_bad_results(tmp_path):
    path = tmp_path / "x.json"
    with pytest.raises(UserError, match="x.json, not there"):
        results.read(str(path))
    damaged = row("a", 0, 4.0)
    damaged["weights"]["average"]["held_out"]["rate_nats"] = "4"
    for text, message in (
        ("{", "is no JSON"),
        ("[]", "it must be an object"),
        ('{"a": 1}', "its 'schema' must be 1. Received: None"),
        ('{"schema": 1}', "it has no list of 'runs'"),
        ('{"schema": 1, "runs": []}', "it has no runs"),
        ('{"schema": 1, "runs": [], "failed": 1}', "'failed' must be an object"),
        ('{"schema": 1, "runs": [1]}', "A run of .* it must be an object"),
        (json.dumps(content(damaged)), "'rate_nats' of average, held_out must be"),
        (
            json.dumps(content(row("a", 0, 4.0, name=7))),
            "must have 'name'. Received: 7",
        ),
        (json.dumps(content(row("a", 0, 4.0, schema=2))), "its 'schema' must be 1"),
    ):
        path.write_text(text)
        with pytest.raises(UserError, match=message):
            results.read(str(path))
    with pytest.raises(UserError, match="no measured run"):
        results.read(str(tmp_path))
    path.unlink()
    with pytest.raises(UserError, match="no .json file"):
        results.read_all(tmp_path)


def test_a_folder_of_runs_and_one_of_them(tmp_path):
    for name, seed in (("a-seed0", 0), ("a-seed1", 1), ("b-seed0", 0)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "hparams.json").write_text("{}")
        if name != "b-seed0":
            record = row("other", seed, 4.0, name="other")
            (tmp_path / name / "evaluation.json").write_text(json.dumps(record))
    found = results.read(tmp_path)
    assert [(r.name, r.setting, r.seed) for r in found.runs] == [
        ("a-seed0", "a", 0), ("a-seed1", "a", 1)
    ]  # fmt: skip
    assert found.failed == {"b-seed0": "not finished: it has no evaluation.json"}
    (one,) = results.read(tmp_path / "a-seed1").runs
    assert one.row == found.runs[1].row


def test_sweeps_of_one_figure_have_the_same_data_and_length(tmp_path):
    def write(name, *rows):
        path = tmp_path / name
        path.write_text(json.dumps(content(*rows, failed={f"of {name}": "diverged"})))
        return str(path)

    one = write("one", row("a", 0, 4.0), row("a", 1, 6.0))
    two = write("two", row("b", 0, 5.0))
    found = results.read_together([one, two])
    chosen, left_out = points.of(found)
    assert [point.setting for point in chosen] == ["a", "b"]
    assert left_out == ["of one: diverged", "of two: diverged"]
    assert points.title(found) == "digits/test, 297 images; 400 steps, 1 or 2 seeds"
    assert points.title(results.read(two)).endswith("400 steps, 1 seed")
    assert points.title(found, "training").startswith("digits/train, 297 images; ")
    with pytest.raises(UserError, match="Received: several of b-seed0"):
        results.read_together([one, two, two])
    other = write("other", row("c", 0, 5.0, step=300))
    with pytest.raises(UserError, match="c-seed0 and a-seed0 do not belong.*300 steps"):
        results.read_together([one, other])
    any_length = results.read_together([one, other], any_length=True)
    assert [run.steps for run in any_length.runs] == [400, 400, 300]
    assert "; 300 to 400 steps of " in sweep_table.table(any_length)
    fewer = row("d", 0, 5.0)
    fewer["weights"]["average"]["training"]["num_examples"] = 296
    with pytest.raises(UserError, match="do not belong.*296 of digits/train"):
        results.read_together([one, write("fewer", fewer)], any_length=True)
    with pytest.raises(UserError, match="--results is needed"):
        results.read_together([])


def test_labels_and_styles_say_every_part():
    def of(set_name, changes=""):
        return sets.hparams(set_name, changes).to_dict()

    plain, delta = of("digits_sweep", "method=vae"), of("digits_sweep")
    other = of("digits_sweep", "method=vae,encoder=non_causal")
    both = of("digits_sweep", "objective=beta,beta=0.1")
    assert points.label(plain) == "VAE" and points.label(delta) == "delta-VAE"
    assert points.label(other) == "VAE, non-causal"
    assert points.label(both) == "delta-VAE, beta-VAE"
    alone = of("digits_sweep", "method=autoregressive")
    assert points.label(alone) == "decoder alone"
    styles = [points.style(h) for h in (plain, delta, other, both)]
    assert len({json.dumps(found, sort_keys=True) for found in styles}) == 4
    assert styles[2] == {**styles[0], "markerfacecolor": "none"}


def test_annealed_runs_keep_the_color_of_their_family():
    def style(changes, annealed):
        objective = "objective=kl_annealing,anneal_steps=9" if annealed else ""
        changes = ",".join(filter(None, (changes, objective)))
        return points.style(sets.hparams("digits_sweep", changes).to_dict())

    families = (
        "",
        "prior=standard_normal",
        "prior=standard_normal,posterior=independent_delta",
    )
    plain, annealed = ([style(f, a) for f in families] for a in (False, True))
    assert len({found["color"] for found in annealed}) == 3
    assert len({found["marker"] for found in annealed}) == 1
    for family in (0, 2):
        assert annealed[family]["color"] == plain[family]["color"]
        assert annealed[family]["marker"] != plain[family]["marker"]


def record(name, data, note=""):
    found = row(name, 0, 1.0)
    found["hparams"] = sets.hparams(name).to_dict()
    found["data"]["problem"] = found["hparams"]["problem"]
    found["data"]["held_out"] = {"name": data, "note": note, "num_examples": 1}
    names = ("nelbo_bpd", "nelbo_aux_bpd", "nelbo_bpd_stderr", "rate_bpd")
    numbers = dict.fromkeys((*names, "rate_aux_bpd"), 2.345)
    found["weights"]["average"]["held_out"].update(numbers)
    return found


@pytest.mark.parametrize(
    "data, note, shown",
    [
        ("imagenet32/valid", "", True),
        ("imagenet32_box/valid", "50,000 images: the box-filtered set", False),
        ("imagenet32/valid", "7 of 49,999 images", False),
    ],
)
def test_only_the_papers_data_stands_beside_the_paper(tmp_path, data, note, shown):
    def runs():
        files, left_out = results.read_all(tmp_path)
        return [run for file in files for run in file.runs], left_out

    one = record("imagenet32_best", data, note)
    (tmp_path / "a.json").write_text(json.dumps(content(one)))
    (tmp_path / "b.json").write_text("[]")
    (tmp_path / "c.json").write_text('{"schema": 1, "runs": []}')
    (tmp_path / "d.json").write_text("{")
    (tmp_path / "e.json").write_text(
        json.dumps(content(one, failed={"f": "not finite at step 3"}))
    )
    found, left_out = runs()
    (tmp_path / "e.json").unlink()
    for line, name, why in zip(
        left_out, "bcde", ("an object", "no runs", "no JSON", "f: not fin"), strict=True
    ):
        assert line.startswith(f"{name}.json") and why in line
    found, _ = runs()
    assert ("2.345" in results_table.table1(found)) == shown
    one["hparams"]["decoder_layers"] = 3  # No row of the paper's any more.
    (tmp_path / "a.json").write_text(json.dumps(content(one)))
    found, _ = runs()
    assert "2.345" not in results_table.table1(found)
    assert "2.345" in results_table.other_sizes(found)


def test_text_table_has_averaged_weights_of_a_model_and_its_twins(tmp_path):
    values = {"nelbo_per_token": 4.5, "nelbo_aux_per_token": 4.25}
    values |= {"rate_per_token": 0.5, "committed_rate_per_token": 0.125}
    values |= {"rate_aux_per_token": 0.0625, "nelbo_per_token_stderr": 0.03125}
    values |= {"nelbo_aux_per_word": 6.5, "nelbo_aux_bits_per_character": 2.5}
    raw = dict.fromkeys(values, 9.875)
    values |= {"num_tokens": 1234, "tokens_per_word": 1.75, "num_examples": 3}
    chosen = row("d", 0, 1.0)
    chosen["hparams"] = sets.hparams("documents").to_dict()
    chosen["data"] = {
        "problem": "documents", "kind": "text",
        "held_out": {"name": "documents/test", "note": "n", "num_examples": 3},
        "training": {"name": "documents/train", "note": "", "num_examples": 5},
    }  # fmt: skip
    chosen["weights"] = {
        "raw": {"held_out": raw, "training": {}},
        "average": {"held_out": values, "training": {}},
    }
    for name in ("d", "d_no_latents"):
        (tmp_path / f"{name}.json").write_text(json.dumps(content(chosen)))
    with pytest.raises(UserError, match="d_standard_normal.json, not there"):
        text_results.table(str(tmp_path), "d")
    other = copy.deepcopy(chosen)
    other["weights"]["average"]["held_out"]["rate_per_token"] = 0.75
    (tmp_path / "d_standard_normal.json").write_text(json.dumps(content(other)))
    found = text_results.table(str(tmp_path), "d")
    header, _, *rows = (
        line.strip("| ").split(" | ") for line in found.splitlines()[:5]
    )
    assert header == [
        "nats/token", "nats/token (aux)", "committed", "rate", "aux rate",
        "nats/word (aux)", "bits/character (aux)",
    ]  # fmt: skip
    for cells, name in zip(
        rows, ("delta-VAE", "latent-free twin", "plain VAE"), strict=True
    ):
        rate = "0.7500" if name == "plain VAE" else "0.5000"
        numbers = [
            "4.500 +- 0.031",
            "4.250",
            "0.1250",
            rate,
            "0.0625",
            "6.500",
            "2.500",
        ]
        assert cells == [name, *numbers]
    assert "3 sentences (n), 1,234 tokens, 1.750 a word" in found
    assert "trained on 5 sentences" in found and "averaged weights" in found


def test_the_committed_results_are_read_whole():
    found, left_out = results.read_all(RESULTS)
    assert all(line.startswith("speed.json") for line in left_out)
    assert len(found) >= 11
    for file in found:
        for run in file.runs:
            assert {run.hparams[role] for role in ("prior", "posterior", "objective")}
            assert points.label(run.hparams)
            if run.row["git_commit"].endswith("-dirty"):
                assert "-dirty" in file.meaning, file.source


def test_the_frontier_of_a_prior_is_drawn_above_its_delta(monkeypatch):
    (point,), _ = points.of(sweep(row("a", 0, 4.0)))
    prior = information_runs.prior_of(point)
    np.testing.assert_array_equal(prior.alpha, np.zeros(8))  # beta-VAE's N(0, I).
    assert prior.event_shape[0] == 8  # 64 units of 8 channels.
    information = pytest.importorskip("deltavae_tf.distributions.information")
    monkeypatch.setattr(
        information, "information_at_rate", lambda rate, alpha, n: 2 * rate + n
    )
    above, carried = information_runs.frontier(prior, nats(10.0), [0.5, 2.0])
    assert above[0] == pytest.approx(0.25) and above[-1] == pytest.approx(4.0)
    np.testing.assert_allclose(carried, 2 * (above + 10) + units.bits(8))
    strange = types.SimpleNamespace(hparams={"prior": "ar1", "latent_channels": 0},
                                    values={})  # fmt: skip
    assert information_runs.prior_of(strange) is None


def test_blocks_are_replaced_between_their_marks(tmp_path):
    path = tmp_path / "r.md"
    path.write_text("a\n<!-- generated: t -->\nold\n<!-- end -->\nb\n")
    for _ in range(2):
        blocks.replace(path, {"t": "new"})
        assert path.read_text() == (
            "a\n<!-- generated: t -->\n\nnew\n\n<!-- end -->\nb\n"
        )
    with pytest.raises(UserError, match="must have marks.*Received: t"):
        blocks.replace(path, {"u": "new"})


def test_sweeps():
    for name in ("figure4", "table3", "table6", "collapse", "digits", "cifar10_small"):
        for _, setting, _ in sweeps.find(name).runs([0]):
            setting.hparams()  # Every setting is a valid one.
    runs = sweeps.find("table3").runs([0, 5])
    assert [run[0] for run in runs] == [
        "independent-seed0", "temporal-seed0", "independent-seed5", "temporal-seed5"
    ]  # fmt: skip
    with pytest.raises(UserError, match="'figure5'; did you mean 'figure4'"):
        sweeps.find("figure5")


def test_a_power_law_finds_what_made_its_numbers():
    rng = np.random.default_rng(0)
    steps = np.repeat([1000, 2000, 4000], 3)
    parameters = np.tile([4e4, 1e5, 3e5], 3)
    values = 3.0 * steps**0.25 * parameters**-0.5
    exact = power_law.fit("rate_aux_nats", steps, parameters, values)
    np.testing.assert_allclose(exact.coefficients, [np.log(3.0), 0.25, -0.5], rtol=1e-9)
    assert exact.deviation < 1e-9
    assert exact.at(1e5, 1e7)[0] == pytest.approx(3.0 * 1e5**0.25 * 1e7**-0.5)
    # Oracle: draws of the noise, and how much their fits and forecasts differ.
    fits = [
        power_law.fit("rate_aux_nats", steps, parameters, values * np.exp(noise))
        for noise in 0.1 * rng.normal(size=(3000, 9))
    ]
    spread = np.std([f.coefficients for f in fits], axis=0)
    errors = np.sqrt(np.mean([f.errors**2 for f in fits], axis=0))
    np.testing.assert_allclose(errors, spread, rtol=0.05)
    far = np.log([f.at(1e5, 1e7)[0] for f in fits])
    said = np.sqrt(np.mean([f.at(1e5, 1e7)[1] ** 2 for f in fits]))
    assert said == pytest.approx(np.hypot(np.std(far), 0.1), rel=0.05)


@pytest.mark.parametrize(
    "steps, parameters, values",
    [
        ([1, 2, 4], [1, 2, 3], [1.0, 1.0, 1.0]),
        ([1, 2, 4, 8], [5, 5, 5, 5], [1.0, 2.0, 3.0, 4.0]),
        ([1, 2, 4, 8], [1, 2, 1, 2], [1.0, 2.0, 0.0, 4.0]),
    ],
    ids=["three", "one size", "not positive"],
)
def test_too_little_for_a_power_law_is_refused(steps, parameters, values):
    with pytest.raises(UserError, match="needs four positive numbers or more"):
        power_law.fit("gain", steps, parameters, values)


def test_learning_curves_have_a_row_for_each_step():
    run = row("delta_vae", 0, 20.0)
    early = copy.deepcopy(run["weights"])
    early["average"]["held_out"]["nelbo_bpd"] = 4.5
    run["learning_curve"] = [
        {"step": 100, "weights": early},
        {"step": 400, "weights": run["weights"]},
    ]
    file = results.Results("sweep_x.json", "x", "a toaster", [], {})
    assert sweep_table.curves(file) is None
    runs = [results.Run("sweep_x.json", "a toaster", run)]
    lines = sweep_table.curves(dataclasses.replace(file, runs=runs)).splitlines()
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]
    assert cells[0][:3] == ["setting", "step", "epochs"]
    assert "committed bits" not in cells[0]
    batch_size = run["hparams"]["batch_size"]
    epochs = [f"{step * batch_size / 1500:.1f}" for step in (100, 400)]
    assert [c[:3] for c in cells[2:]] == [
        ["`delta_vae`", "100", epochs[0]], ["`delta_vae`", "400", epochs[1]]
    ]  # fmt: skip
    bound = cells[0].index("bits/dim")
    assert [c[bound] for c in cells[2:]] == ["4.500", "2.000"]
