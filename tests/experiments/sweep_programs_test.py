"""Sweeps, and what reads them and their runs: the programs as a user types them."""

import copy
import json
import pathlib

import numpy as np
import pytest
from PIL import Image

from deltavae_tf.presets import loading
from deltavae_tf.training import run_folder
from experiments.runs import results
from experiments.sets import sweeps
from tests.experiments import commands as programs

NAMES = ["delta_vae-seed0", "autoregressive-seed0"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("sweep")
    (path / "empty").mkdir()
    (path / "empty_results").mkdir()
    text = path / "text_run"
    text.mkdir()
    content = {"experiment": "documents", "hparams": {"problem": "documents"}}
    (text / "hparams.json").write_text(json.dumps(content))
    (path / "nothing.json").write_text('{"runs": [], "sweep": "x"}')
    return path


@pytest.fixture(scope="module")
def commands(folder):
    """What a list of commands did, by name; each sees what those before it left."""
    sweep = ["experiments.sweep", "--sweep=digits_tiny"]
    sweep += [
        "--train_examples=50",
        "--eval_examples=40",
        "--reconstructions=8",
        "--hardware=a toaster",
    ]
    runs, half, some = folder / "runs", folder / "half", folder / "some"
    whole = [*sweep, f"--output_dir={runs}", f"--results={folder}/whole.json"]
    of_half = [*sweep, f"--output_dir={half}", f"--results={folder}/half.json"]
    run = f"--output_dir={runs}/delta_vae-seed0"
    alone = f"--output_dir={runs}/autoregressive-seed0"
    measured = half / NAMES[1] / "evaluation.json"
    when = f"print(os.stat('{runs}/{NAMES[0]}/evaluation.json').st_mtime_ns)"
    when = ["python", when]
    ten = f"p = pathlib.Path('{half}/{NAMES[1]}/hparams.json'); t = p.read_text(); "
    ten += """p.write_text(t.replace('"train_steps": 5,', '"train_steps": 10,'))"""
    unfinished = f"--output_dir={half}/{NAMES[1]}"
    other = f"--output_dir={folder}/text_run"
    auxiliary = f"--output_dir={folder}/auxiliary"
    evaluate = ["experiments.evaluate", "--importance_samples=4"]
    evaluate += [
        "--importance_examples=30",
        "--train_examples=50",
        "--reconstructions=8",
    ]
    tsne = ["experiments.figures.tsne", "--images=40", f"--figure={folder}/tsne.png"]
    train = "experiments.auxiliary_prior"
    more = [train, "--train_steps=40", "--hparams=learning_rate=0.01"]
    source = f"--warm_start_from={runs}/delta_vae-seed0"
    figure = "experiments.figures.rate_distortion"
    to = f"--figure={folder}/figure.png"
    lines = {
        "list": ["experiments.sweep", "--list"],
        "unknown sweep": [*whole, "--sweep=digits_tny"],
        "index": [*whole, "--index=2"],
        "negative index": [*whole, "--index=-1"],
        "seeds": [*whole, "--seeds=0,0"],
        "one by index": [*whole, "--index=1"],
        "none measured": [*of_half, "--collect"],
        "unstable": [*sweep, f"--output_dir={folder}/unstable", "--index=1"]
        + ["--hparams=learning_rate=1e30"],
        "half": [*of_half, "--index=1", "--hparams=train_steps=5"],
        "damage": ["python", f"pathlib.Path('{measured}').write_text('{{')"],
        "damaged measurement": [*of_half, "--index=1"],
        "remove": ["python", f"os.remove('{measured}')"],
        "to go on": ["python", ten],
        "unfinished evaluate": [*evaluate, unfinished],
        "unfinished probe": ["experiments.linear_probe", unfinished],
        "unfinished tsne": [*tsne, unfinished],
        "unfinished source": [train, unfinished.replace("output_dir", "warm_start_from")
                              , auxiliary],
        "as it is": [*evaluate, unfinished, "--unfinished"],
        "unfinished figure": [figure, f"--results={half}", to],
        "whole": whole,
        "another sweep": [*whole, "--hparams=dropout=0.1"],
        "when": when,
        "again": whole,
        "when after": when,
        "resumed": [*of_half, "--index=1"],
        "collected": [*of_half, "--collect"],
        "no results": [figure, to],
        "nothing": [figure, f"--results={folder}/nothing.json", to],
        "empty folder": [figure, f"--results={folder}/empty", to],
        "no figure name": [figure, f"--results={folder}/whole.json"],
        "twice": [figure, f"--results={folder}/whole.json,{folder}/half.json", to],
        "figure": [figure, f"--results={folder}/whole.json", to],
        "figure of folder": [figure, f"--results={runs}", "--split=train", to],
        "probe figure": ["experiments.figures.probe", f"--results={folder}/whole.json"]
        + [f"--figure={folder}/probe.png"],
        "figure 1": ["experiments.figures.committed_rate"]
        + [f"--figure={folder}/figure1.png"],
        "tables": ["experiments.figures.results_table", f"--results_dir={folder}"],
        "no tables": ["experiments.figures.results_table"]
        + [f"--results_dir={folder}/empty_results"],
        "evaluate": [*evaluate, run],
        "evaluate raw": [*evaluate, run, "--raw_weights", "--importance_samples=0"]
        + ["--reconstructions=0"],
        "evaluate alone": [*evaluate, alone],
        "evaluate other": [*evaluate, other],
        "evaluate empty": [*evaluate, f"--output_dir={folder}/empty"],
        "samples": [*evaluate, run, "--importance_samples=6"],
        "linear probe": ["experiments.linear_probe", run, "--train_examples=60"],
        "probe alone": ["experiments.linear_probe", alone],
        "probe other": ["experiments.linear_probe", other],
        "tsne": [*tsne, run],
        "tsne alone": [*tsne, alone],
        "tsne other": [*tsne, other],
        "auxiliary": [*more, source, auxiliary],
        "auxiliary alone": [train, alone.replace("output_dir", "warm_start_from")
                            , auxiliary],
        "auxiliary without": [train, auxiliary],
        "auxiliary again": [*more, source, auxiliary],
        "auxiliary anew": [*more[:2], source, f"--output_dir={folder}/anew"]
        + ["--hparams=learning_rate=0.01,auxiliary_covariance=full"],
        "auxiliary of a preset": [train, "--preset=digits", "--train_steps=2"]
        + [f"--output_dir={folder}/of_preset", "--hparams=auxiliary_units=8"],
        "auxiliary of both": [train, source, "--preset=digits", auxiliary],
        "auxiliary and decoder": [train, source, f"--output_dir={folder}/wider"]
        + ["--hparams=decoder_width=24"],
        "auxiliary of another": [train, source, run],
        "some": ["python", f"import shutil; shutil.copytree('{runs}', '{some}'); "
                           f"os.remove('{some}/{NAMES[1]}/evaluation.json')"],
        "figure of some": [figure, f"--results={some}", to],
    }  # fmt: skip
    return programs.run(lines)


@pytest.mark.parametrize(
    "name, message",
    [
        ("unknown sweep", "'digits_tny'; did you mean 'digits_tiny'?"),
        ("index", "in [0, 2): the sweep 'digits_tiny' has 2 runs. Received: 2"),
        ("negative index", "--index must be in [0, 2)"),
        ("seeds", "--seeds must be different integers, such as 0,1,2. Received: 0,0"),
        ("none measured", "No run of 'digits_tiny' is measured"),
        ("damaged measurement", "evaluation.json is no JSON"),
        ("another sweep", "autoregressive-seed0 holds another run. Name another"),
        ("unfinished evaluate", "is not finished. Train on, or take it as it is"),
        ("unfinished probe", "is not finished. Train on, or take it as it is"),
        ("unfinished tsne", "is not finished. Train on, or take it as it is"),
        ("unfinished source", "is not finished. Train on, or take it as it is"),
        ("unfinished figure", "must have a run with latents: there is no rate"),
        ("no results", "--results is needed"),
        ("nothing", "nothing.json is no results file"),
        ("empty folder", "empty has no measured run"),
        ("no figure name", "--figure must name a .png file. Received: None"),
        ("twice", "several of autoregressive-seed0"),
        ("no tables", "empty_results has no results: no .json file"),
        ("evaluate other", "has no integer 'random_seed'"),
        ("evaluate empty", "is not a run folder"),
        ("samples", "--importance_samples must be a power of two. Received: 6"),
        ("probe alone", "is a decoder alone: it has no latents to probe"),
        ("probe other", "needs classes"),
        ("tsne alone", "must hold a model with latents to show"),
        ("tsne other", "has no integer 'random_seed'"),
        ("auxiliary alone", "A decoder alone has no auxiliary prior to train"),
        ("auxiliary without", "--warm_start_from (the folder of a trained run) or"),
        ("auxiliary of another", "belongs to another run"),
        ("auxiliary of both", "or --preset, and --output_dir"),
        ("auxiliary and decoder", "stay as they are: of what makes the model only"),
    ],
)  # fmt: skip
def test_errors_are_one_line(commands, name, message):
    found = commands[name]
    assert found["status"] == 1, found
    last = found["stderr"].splitlines()[-1]
    assert last.startswith("error: ") and message in last
    assert "Traceback" not in found["stderr"]


def names_of(found):
    return [run["name"] for run in found["runs"]]


def read(*parts):
    return json.loads(pathlib.Path(*parts).read_text())


def test_one_by_index_alone_writes_no_results(commands):
    found = commands["one by index"]
    assert found["status"] == 0, found["stderr"]
    assert f"Not measured yet, so no results: {NAMES[0]}\n" in found["stdout"]
    assert "digits_tiny: for tests" in commands["list"]["stdout"]


def test_a_sweep_trains_what_is_left_and_ends_in_one_file(folder, commands):
    first, again = commands["whole"], commands["again"]
    assert first["status"] == again["status"] == 0, first["stderr"]
    # One was done already: it is skipped, and the file has it too.
    assert first["stderr"].count("step 10/10") == 1
    found = read(folder, "whole.json")
    assert names_of(found) == NAMES and found["failed"] == {}
    assert (found["schema"], found["hardware"]) == (1, "a toaster")
    for run in found["runs"]:
        training, held_out = (run["data"][k] for k in ("training", "held_out"))
        numbers = run["weights"]["average"]
        assert (run["steps"], numbers["held_out"]["num_examples"]) == (10, 40)
        assert training["num_examples"] == 1500
        assert numbers["training"]["num_examples"] == 50
        assert "297" in str(held_out["num_examples"]) or "297" in held_out["note"]
        assert run["hparams"]["problem"] == "digits" and run["training_hours"] > 0
    delta, alone = (run["weights"]["average"]["held_out"] for run in found["runs"])
    assert delta["rate_nats"] >= delta["committed_rate_nats"] * (1 - 1e-4) > 1
    assert alone["rate_nats"] == 0 and "probe_accuracy" not in alone
    # The decoder alone was there when the delta-VAE was measured.
    gain = (alone["distortion_nats"] - delta["distortion_nats"]) / delta[
        "rate_aux_nats"
    ]
    assert delta["gain"] == pytest.approx(gain, rel=1e-3) and "gain" not in alone
    # Rates and distortion are those of the run's own evaluation of these images.
    bits = (delta["distortion_nats"] + delta["rate_nats"]) / np.log(2)
    assert delta["nelbo_bpd"] == pytest.approx(bits / 64, rel=1e-5)


def test_what_is_finished_is_not_trained_again(commands):
    assert "steps/s" in commands["whole"]["stderr"]
    assert "steps/s" not in commands["again"]["stderr"]
    # Nor measured again.
    assert int(commands["when"]["stdout"]) == int(commands["when after"]["stdout"])
    assert commands["again"]["stdout"].count("latents") == 2
    assert commands["again"]["stdout"] == commands["whole"]["stdout"]


def test_what_is_half_done_is_resumed_and_ends_the_same(folder, commands):
    assert commands["resumed"]["status"] == 0, commands["resumed"]["stderr"]
    # As the sweeps wrote them: later programs measure more of the same runs.
    one, other = (
        run["weights"]["average"]
        for name in ("half.json", "whole.json")
        for run in read(folder, name)["runs"]
        if run["name"] == NAMES[1]
    )
    assert one == other
    rows = run_folder.read_metrics(str(folder / "half" / NAMES[1]))
    assert [row["step"] for row in rows] == [5, 10]


def test_what_is_not_measured_is_named(folder, commands):
    assert commands["collected"]["status"] == 0, commands["collected"]["stderr"]
    found = read(folder, "half.json")
    assert names_of(found) == NAMES[1:]
    assert found["failed"] == {NAMES[0]: "not measured yet"}
    tables = commands["tables"]
    assert tables["status"] == 0, tables["stderr"]
    assert f"Left out: half.json, {NAMES[0]}: not measured yet" in tables["stdout"]
    assert "Left out: nothing.json: " in tables["stdout"]
    assert "not reproduced yet" in tables["stdout"]


def test_a_run_measured_before_its_twin_tells_its_gain_too():
    def row(setting, distortion, rate, seed=0, **more):
        numbers = {"distortion_nats": distortion, "rate_aux_nats": rate, **more}
        weights = {"average": {"held_out": numbers}}
        return {"setting": setting, "seed": seed, "weights": weights}

    found = [
        row("delta_vae", 90.0, 20.0),
        row("delta_vae", 90.0, 20.0, seed=1),  # Its decoder alone is not measured.
        row("told already", 90.0, 20.0, gain=0.25),
        row("collapsed", 100.0, 1e-6),
        row("fewer", 90.0, 20.0, num_examples=7),  # Of other examples.
        row("wider", 80.0, 10.0),  # With a decoder alone of its own.
        row("autoregressive", 100.0, 0.0),
        row("autoregressive_wider", 84.0, 0.0),
    ]
    twins = dict.fromkeys(
        ("delta_vae", "told already", "collapsed", "fewer"), "autoregressive"
    )
    results.add_gains(found, {**twins, "wider": "autoregressive_wider"})
    gains = [run["weights"]["average"]["held_out"].get("gain") for run in found]
    assert gains == [0.5, None, 0.25, None, None, 0.4, None, None]


def test_a_row_of_a_learning_curve_is_compared_after_as_many_steps():
    def run(setting, *rows):
        curve = [
            {
                "step": step,
                "weights": {
                    "average": {
                        "held_out": {"distortion_nats": nats, "rate_aux_nats": rate}
                    }
                },
            }
            for step, nats, rate in rows
        ]
        weights = copy.deepcopy(curve[-1]["weights"])
        return {
            "setting": setting, "seed": 0, "weights": weights, "learning_curve": curve
        }  # fmt: skip

    found = [
        run("delta_vae", (5, 80.0, 10.0), (7, 78.0, 10.0), (10, 70.0, 10.0)),
        run("autoregressive", (5, 85.0, 0.0), (10, 72.0, 0.0)),
    ]
    results.add_gains(found, {"delta_vae": "autoregressive"})
    rows = [row["weights"] for row in found[0]["learning_curve"]]
    gains = [row["average"]["held_out"].get("gain") for row in rows]
    assert gains == [0.5, None, 0.2]
    assert found[0]["weights"]["average"]["held_out"]["gain"] == 0.2


def test_each_run_comes_after_its_decoder_alone():
    settings = [
        sweeps.Setting("delta_vae", "digits_tiny"),
        sweeps.Setting("wider", "digits_tiny", twin="alone_wider"),
        sweeps.Setting("alone_wider", "digits_tiny", "method=autoregressive"),
        sweeps.Setting("autoregressive", "digits_tiny", "method=autoregressive"),
    ]
    made = sweeps.Sweep("made", "for this test", tuple(settings))
    assert made.twins == {"delta_vae": "autoregressive", "wider": "alone_wider"}
    names = [run[0] for run in sweeps.after_twins(made.runs([3, 1]))]
    expected = ["autoregressive", "delta_vae", "alone_wider", "wider"]
    assert names == [f"{n}-seed{seed}" for seed in (3, 1) for n in expected]


def test_a_figure_of_what_there_is_names_the_rest(commands):
    shown = commands["figure of some"]
    assert shown["status"] == 0, shown["stderr"]
    assert f"Left out: {NAMES[1]}: not finished: it has no" in shown["stdout"]


def test_a_run_that_is_not_finite_is_told_and_not_measured(folder, commands):
    found = commands["unstable"]
    assert found["status"] == 0, found["stderr"]
    assert "autoregressive-seed0: failed: " in found["stdout"]
    assert f"so no results: {NAMES[0]}\n" in found["stdout"]
    assert not (folder / "unstable" / NAMES[1] / "evaluation.json").exists()


@pytest.mark.parametrize(
    "name, file_name",
    [
        ("figure", "figure.png"),
        ("figure of folder", "figure.png"),
        ("probe figure", "probe.png"),
        ("figure 1", "figure1.png"),
        ("tsne", "tsne.png"),
    ],
)
def test_figures_are_drawn(folder, commands, name, file_name):
    assert commands[name]["status"] == 0, commands[name]["stderr"]
    picture = np.asarray(Image.open(folder / file_name).convert("L"))
    assert picture.shape[1] == 1350 and (picture < 128).mean() > 0.002
    left_out = [x for x in commands[name]["stdout"].splitlines() if "Left out" in x]
    expected = (
        ["Left out: autoregressive: no latents"] if name == "probe figure" else []
    )
    assert left_out == expected


def test_evaluate(folder, commands):
    assert commands["evaluate"]["status"] == 0, commands["evaluate"]["stderr"]
    assert commands["evaluate raw"]["status"] == 0, commands["evaluate raw"]["stderr"]
    found = read(folder, "runs", NAMES[0], "evaluation.json")
    weights = found["weights"]
    agreement = "reconstruction_agreement"
    assert agreement in weights["average"]["held_out"]
    assert agreement not in weights["raw"]["held_out"]
    raw, average = (weights[k]["held_out"] for k in ("raw", "average"))
    assert raw["num_examples"] == average["num_examples"] == 297
    assert raw["nelbo_bpd"] != average["nelbo_bpd"]
    for value in (raw, average):
        assert value["nelbo_bpd_stderr"] > 0 < value["nelbo_aux_bpd_stderr"]
        saved = (value["rate_nats"] - value["rate_aux_nats"]) / np.log(2)
        assert value["nelbo_bpd"] - value["nelbo_aux_bpd"] == pytest.approx(
            saved / 64, rel=1e-3
        )
    assert average["importance_examples"] == 30
    for name in ("importance_bpd", "importance_aux_bpd"):
        bounds = [average[f"{name}_k{k}"] for k in (1, 2, 4)]
        assert bounds[0] > bounds[1] > bounds[2]
    assert weights["average"]["training"]["units"] == 16
    assert 0 <= average["probe_accuracy"] <= 1
    text = commands["evaluate"]["stdout"]
    assert "Step 10, digits/test" in text and "active units" in text
    assert "linear probe" in text and "latents carry" in text
    assert commands["as it is"]["status"] == 0, commands["as it is"]["stderr"]
    assert "Step 5, digits/test" in commands["as it is"]["stdout"]
    assert commands["evaluate alone"]["status"] == 0
    alone = read(folder, "runs", NAMES[1], "evaluation.json")["weights"]["average"]
    assert "units" not in alone["training"]
    assert not [k for k in alone["held_out"] if k.startswith("importance")]
    assert "decoder alone, without latents" in commands["evaluate alone"]["stdout"]


def test_linear_probe(folder, commands):
    assert commands["linear probe"]["status"] == 0, commands["linear probe"]["stderr"]
    text = commands["linear probe"]["stdout"]
    assert "60 training images" in text and "of 297 images of digits/test" in text


def test_the_auxiliary_prior_alone_is_trained(folder, commands):
    assert commands["auxiliary"]["status"] == 0, commands["auxiliary"]["stderr"]
    before, after = (
        read(folder, name, "evaluation.json")["weights"]["average"]["held_out"]
        for name in (f"runs/{NAMES[0]}", "auxiliary")
    )
    for name in ("distortion_nats", "rate_nats"):
        assert after[name] == pytest.approx(before[name], rel=1e-6)
    assert after["rate_aux_nats"] < before["rate_aux_nats"] - 0.7
    anew = commands["auxiliary anew"]
    assert anew["status"] == 0, anew["stderr"]
    other = read(folder, "anew", "evaluation.json")["weights"]["average"]["held_out"]
    for name in ("distortion_nats", "rate_nats"):
        assert other[name] == pytest.approx(before[name], rel=1e-6)
    assert 0 < other["rate_aux_nats"] != pytest.approx(after["rate_aux_nats"], rel=1e-3)
    again = commands["auxiliary again"]
    assert again["status"] == 0
    assert again["stdout"] == commands["auxiliary"]["stdout"]


def test_a_presets_auxiliary_prior_starts_anew(folder, commands):
    found = commands["auxiliary of a preset"]
    assert found["status"] == 0, found["stderr"]
    numbers = read(folder, "of_preset", "evaluation.json")["weights"]["average"]
    card = loading.card(loading.folder_of("digits"))
    for name in ("distortion_nats", "rate_nats"):
        expected = pytest.approx(card["numbers"][name], rel=1e-5)
        assert numbers["held_out"][name] == expected
