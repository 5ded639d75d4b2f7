"""A run becomes a preset, and programs use it at once."""

import json

import pytest

from deltavae_tf.presets import loading
from experiments import sets
from experiments.runs import run as runs
from experiments.runs.options import Options
from tests.experiments import commands

# Has the files that are verified remembered, and tells which they were.
WATCH = """
from deltavae_tf.presets import files
real, files.seen = files._sha256, []
files._sha256 = lambda path: (files.seen.append(os.path.basename(path)), real(path))[1]
"""
TOLD = """
from deltavae_tf.presets import files
print(*sorted(files.seen), flush=True)
"""


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """(a folder, what each command did in it)."""
    folder = tmp_path_factory.mktemp("preset")
    run, made = f"--output_dir={folder}/run", f"{folder}/made"
    preset = ["experiments.preset", run, "--examples=64"]
    chosen = sets.hparams("digits_tiny", "train_steps=2")
    options = Options(output_dir=f"{folder}/run", progress=False, write_samples=False)
    with runs.Run(chosen, options) as trained:
        trained.train()
        trained.evaluate()
    sample = ["experiments.sample", "--count=2"]
    lines = {
        "no run": ["experiments.preset", "--name=tiny", f"--output_dir={folder}/no"],
        "wrong name": [*preset, "--name=../up"],
        "make": [*preset, "--name=tiny", f"--to={made}"],
        "watch": ["python", WATCH],
        "draw": [
            *("experiments.sample", f"--preset={made}", "--kind=reconstruction"),
            *("--rows=1", "--columns=2", f"--decode_to_file={folder}/drawn"),
        ],
        "verified": ["python", TOLD],
        "unknown": [*sample, "--preset=fashion_mnist_41"],
        "both": [*sample, "--preset=fashion_mnist_14", run],
        "raw": [*sample, "--preset=fashion_mnist_14", "--raw_weights"],
    }
    return folder, commands.run(lines)


def test_a_preset_is_made_with_its_card(done):
    folder, found = done
    assert found["make"]["status"] == 0, found["make"]["stderr"]
    card = loading.card(folder / "made")
    record = json.loads((folder / "run" / "evaluation.json").read_text())
    told = record["weights"]["average"]["held_out"]["nelbo_bpd"]
    assert card["numbers"]["nelbo_bpd"] == pytest.approx(told, rel=1e-5)
    assert (card["name"], card["steps"], card["weights"]) == ("tiny", 2, "average")
    assert card["precision"] == "float16" and "by 0.000" in card["precision_note"]
    assert set(card["files"]) == {"hparams.json", "model.json", "weights.npz"}


def test_the_run_folder_itself_is_read_too(done):
    folder, _ = done
    one = loading.from_preset(folder / "made").trainable_variables
    other = loading.from_preset(folder / "run").trainable_variables
    assert all(abs(a - b).numpy().max() < 1e-2 for a, b in zip(one, other, strict=True))


def test_a_preset_is_drawn_from_at_once(done):
    folder, found = done
    assert found["draw"]["status"] == 0, found["draw"]["stderr"]
    assert (folder / "drawn.png").exists() and (folder / "drawn.npz").exists()
    assert not (folder / "made" / "samples").exists()
    told = found["verified"]["stdout"].split()
    assert told == ["hparams.json", "model.json", "weights.npz"]  # Each of them once.


@pytest.mark.parametrize(
    "name, told",
    [
        ("no run", "evaluation.json, not there"),
        ("wrong name", "--name must be small letters"),
        ("unknown", "did you mean 'fashion_mnist_14'?"),
        ("both", "Either --output_dir is needed"),
        ("raw", "A preset has one set of weights"),
    ],
)
def test_what_cannot_be_is_one_line(done, name, told):
    found = done[1][name]
    lines = [x for x in found["stderr"].splitlines() if x.startswith("error: ")]
    assert found["status"] == 1 and len(lines) == 1 and told in lines[0]
