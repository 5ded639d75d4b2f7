"""One kind of addition, one file: each as a user would write it, outside the project.

The folder `usr` holds a data set, a prior, a posterior, an objective, an encoder,
a decoder, a metric, an hparams set, a sweep, a figure, a file each; programs take
them up with --t2t_usr_dir and nothing else is touched. The files are those that
docs/your-own-files.md shows.
"""

import json
import pathlib
import re

import numpy as np
import pytest
from PIL import Image

from tests.experiments import commands as programs

ROOT = pathlib.Path(__file__).parents[2]


def examples():
    """{file name: code} of the examples in docs/your-own-files.md."""
    text = (ROOT / "docs" / "your-own-files.md").read_text()
    blocks = re.findall(r"`(my_\w+\.py)`[^\n]*\n+```python\n(.*?)```", text, re.DOTALL)
    return dict(blocks)


@pytest.fixture(scope="module")
def usr(tmp_path_factory):
    folder = tmp_path_factory.mktemp("additions") / "usr"
    folder.mkdir()
    for name, code in examples().items():
        (folder / name).write_text(code)
    return folder


@pytest.fixture(scope="module")
def commands(usr):
    user = f"--t2t_usr_dir={usr}"
    out, results = usr.parent / "runs", usr.parent / "results.json"
    sweep = ["experiments.sweep", user, "--sweep=my_sweep", f"--output_dir={out}"]
    sweep += [f"--results={results}", "--train_examples=20", "--reconstructions=4"]
    run = f"--output_dir={out}/mine-seed0"
    return programs.run({
        "help": ["experiments.train", user, "--registry_help"],
        "metric help": ["experiments.evaluate", user, "--metric_help"],
        "train": ["experiments.train", user, "--hparams_set=my_set",
                  f"--output_dir={usr.parent}/run"],
        "sweep": sweep,
        "evaluate": ["experiments.evaluate", user, run, "--importance_samples=0",
                     "--reconstructions=4"],
        "without": ["experiments.evaluate", run],
        "figure": ["experiments.figures.rate_distortion", user,
                   f"--results={results}", f"--figure={usr.parent}/figure.png"],
        "my figure": ["my_figure", user, f"--results={results}",
                      f"--figure={usr.parent}/mine.png"],
    }, path=[usr])  # fmt: skip


def test_the_page_shows_each_kind():
    kinds = "dataset prior posterior objective encoder decoder metric sweep figure"
    assert set(examples()) >= {f"my_{kind}.py" for kind in kinds.split()}
    for name, code in examples().items():
        assert len(code.splitlines()) <= 40, name


def test_all_are_in_registry_help(commands):
    assert commands["help"]["status"] == 0, commands["help"]["stderr"]
    text = commands["help"]["stdout"]
    for name in (
        *("my_stripes", "my_prior", "my_posterior", "my_objective", "my_encoder"),
        *("my_decoder", "my_set"),
    ):
        assert any(line.split()[:1] == [name] for line in text.splitlines()), name
    assert "my_weight: float = 1.0" in text  # A field that it declares.
    assert "my_brightness" in commands["metric help"]["stdout"]


def test_they_train(commands, usr):
    assert commands["train"]["status"] == 0, commands["train"]["stderr"]
    hparams = json.loads((usr.parent / "run" / "hparams.json").read_text())["hparams"]
    for role in ("prior", "posterior", "objective", "encoder", "decoder"):
        assert hparams[role] == f"my_{role}"
    assert hparams["problem"] == "my_stripes"


def test_the_metric_is_in_the_record_and_the_table(commands, usr):
    assert commands["evaluate"]["status"] == 0, commands["evaluate"]["stderr"]
    assert "my brightness" in commands["evaluate"]["stdout"]
    path = usr.parent / "runs" / "mine-seed0" / "evaluation.json"
    numbers = json.loads(path.read_text())["weights"]["average"]["held_out"]
    assert 0 < numbers["my_brightness"] < 4


def test_they_are_in_a_sweep_and_its_results(commands, usr):
    assert commands["sweep"]["status"] == 0, commands["sweep"]["stderr"]
    found = json.loads((usr.parent / "results.json").read_text())
    assert {run["setting"] for run in found["runs"]} == {"mine", "theirs"}


@pytest.mark.parametrize("name, file", [("figure", "figure"), ("my figure", "mine")])
def test_they_are_in_a_plot(commands, usr, name, file):
    assert commands[name]["status"] == 0, commands[name]["stderr"]
    picture = np.asarray(Image.open(usr.parent / f"{file}.png").convert("L"))
    assert (picture < 128).mean() > 0.002


def test_a_run_says_what_it_misses_without_them(commands):
    found = commands["without"]
    assert found["status"] == 1
    assert "no data set of that name" in found["stderr"]
