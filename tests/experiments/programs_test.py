"""What a user types, on the digits: whole runs, killed runs, and one-line errors."""

import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import time

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from data import digits
from deltavae_tf.evaluation import record as records
from deltavae_tf.training import checkpoints, run_folder
from experiments.runs import load
from tests.experiments import commands as programs

ROOT = pathlib.Path(__file__).parents[2]
RUN = ["--hparams_set=digits_tiny", "--train_steps=10", "--local_eval_frequency=5"]
STEPS = [5, 10]
TERMS = (
    "distortion_nats rate_nats rate_aux_nats committed_rate_nats "
    "nelbo_bpd nelbo_aux_bpd rate_bpd rate_aux_bpd"
).split()


def start(*arguments, **kwargs):
    return subprocess.Popen(
        [sys.executable, *arguments],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **kwargs,
    )


def finish(process):
    """(stdout, stderr) of a process that has to end with status 0."""
    try:
        stdout, stderr = process.communicate(timeout=900)
    finally:
        process.kill()  # Nothing, if it has ended.
    assert process.returncode == 0, stderr[-2000:]
    return stdout, stderr


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The folder of a finished run and what it printed."""
    folder = tmp_path_factory.mktemp("runs") / "straight"
    process = start("-m", "experiments.digits", *RUN, f"--output_dir={folder}")
    stdout, _ = finish(process)
    return folder, stdout, programs.contents(folder)


@pytest.fixture(scope="module")
def commands(run):
    """What a list of commands on the finished run did, by name."""
    folder, _, _ = run
    output = f"--output_dir={folder}"
    sample = ["experiments.sample", output, "--random_seed=3"]
    nothing = folder.parent / "nothing"
    nothing.mkdir()
    untrained = folder.parent / "untrained"
    untrained.mkdir()
    shutil.copy(folder / "hparams.json", untrained)
    lines = {
        "again": ["experiments.digits", *RUN, output],
        "remove": ["python", f"os.remove({str(folder / 'evaluation.json')!r})"],
        "evaluate": ["experiments.digits", *RUN, output, "--schedule=evaluate"],
        "other": ["experiments.digits", "--hparams_set=digits", output],
        "no output_dir": ["experiments.digits", *RUN],
        "hparams_set": ["experiments.digits", "--hparams_set=digits_tny", output],
        "hparams": ["experiments.digits", *RUN, "--hparams=dropuot=0.1", output],
        "sample": [*sample, "--count=5"],
        "fewer": [*sample, "--count=3", f"--decode_to_file={folder}/fewer"],
        "help": ["experiments.sample", "--help"],
        "flag": [*sample, "--temprature=0.5"],
        "problem": ["experiments.train", "--problem=digts", output],
        "no set": ["experiments.train", output],
        "temperature": [*sample, "--temperature=0"],
        "no run": ["experiments.sample", f"--output_dir={nothing}"],
        "completion": [*sample, "--kind=completion", "--images=5,0,7", "--given=0.4"],
        "images": [*sample, "--kind=reconstruction", "--images=5,297"],
        "kind": [*sample, "--kind=completions"],
        "export": ["experiments.export", output, "--format=keras"]
        + ["--format=saved_model", f"--export_dir={folder.parent}/exported"],
        "no checkpoint": ["experiments.export", f"--output_dir={untrained}"],
        "report": ["experiments.report", f"--output_dir={folder},{folder}"]
        + [f"--html={folder.parent}/both.html"],
        "lost": [
            "python",
            f"for path in pathlib.Path({str(folder)!r}, 'samples')"
            ".glob('*-00000010.png'): path.unlink()",
        ],
        "evaluate all": ["experiments.evaluate", output, "--importance_samples=0"]
        + ["--at_steps=5", f"--twin={folder}"],
        "cut": [
            "python",
            f"cut = pathlib.Path({str(folder.parent / 'cut')!r}); "
            "(cut / 'checkpoints').mkdir(parents=True); "
            f"[shutil.copy(pathlib.Path({str(folder)!r}, name), cut / name) for name "
            "in ('hparams.json', 'flags.txt', 'checkpoints/step-00000005.npz')]",
        ],
        "evaluate fewer": ["experiments.evaluate", f"--output_dir={folder.parent}/cut"]
        + ["--importance_samples=0", "--unfinished", "--eval_examples=50"]
        + ["--reconstructions=0", f"--twin={folder}"],
        "evaluate cut": ["experiments.evaluate", f"--output_dir={folder.parent}/cut"]
        + ["--importance_samples=0", "--unfinished"],
        "evaluate at": ["experiments.evaluate", output, "--at_steps=5,7"],
        "evaluate when": ["experiments.evaluate", output, "--at_steps=5,later"],
        "record": ["experiments.record", output]
        + [f"--decode_to_file={folder.parent}/record.json", "--hardware=a toaster"],
        "no report": ["experiments.report", f"--output_dir={nothing}"],
        "no record": ["experiments.record", f"--output_dir={nothing}"]
        + [f"--decode_to_file={nothing}/record.json"],
    }
    return programs.run(lines, watched=folder)


def test_run_folder(run):
    folder, stdout, found = run
    names = {name.split("/")[0] for name in found}
    events = {name for name in names if name.startswith("events.out.tfevents")}
    assert len(events) == 1
    visible = {name for name in names - events if not name.startswith(".")}
    assert visible == {
        *("flags.txt", "hparams.json", "versions.json", "model.json", "metrics.jsonl"),
        *("checkpoints", "samples", "evaluation.json", "latents.json", "report.html"),
    }
    for step in STEPS:
        assert f"checkpoints/step-{step:08d}.npz" in found
        assert f"samples/step-{step:08d}.png" in found
        assert f"samples/reconstructions-{step:08d}.png" in found
    assert "samples/neighbors-00000010.png" in found
    assert "--hparams_set=digits_tiny\n" in (folder / "flags.txt").read_text()
    experiment, hparams = run_folder.read_identity(str(folder))
    assert (experiment, hparams["problem"]) == ("digits", "digits")
    assert json.loads((folder / "versions.json").read_text())["tensorflow"]
    assert "1,300 images" in stdout and "averaged weights" in stdout


def test_logged_names(run):
    rows = run_folder.read_metrics(str(run[0]))
    assert [row["step"] for row in rows] == STEPS
    for row in rows:
        expected = {"step", "lr", "grad_norm", "steps_per_second", *TERMS}
        expected |= {f"eval_{name}" for name in TERMS}
        assert expected <= set(row)
        floor = row["eval_committed_rate_nats"] * (1 - 1e-4)
        assert row["eval_rate_nats"] >= floor > 0
        assert row["eval_rate_min_nats"] >= floor
        assert row["rate_nats"] >= floor
        for prefix in ("", "eval_", "eval_ema_"):
            bits = row[f"{prefix}distortion_nats"] + row[f"{prefix}rate_nats"]
            bits /= 64 * np.log(2)
            assert row[f"{prefix}nelbo_bpd"] == pytest.approx(bits, rel=1e-5)


def test_evaluation(run):
    found = json.loads((run[0] / "evaluation.json").read_text())
    assert (found["step"], found["data"]["held_out"]["num_examples"]) == (10, 200)
    for weights in ("raw", "average"):
        assert set(TERMS) <= set(found["weights"][weights]["held_out"])
    assert "latents carry" in run[1].splitlines()[-1]


def test_the_same_command_again_does_nothing(run, commands):
    _, _, before = run
    assert commands["again"]["status"] == 0
    now = commands["again"]["files"]
    assert set(now) == set(before)
    changed = {name for name in now if now[name] != before[name]}
    assert changed <= {".lock", "versions.json"}  # Whose process, which command.


def test_evaluate_alone(run, commands):
    assert commands["evaluate"]["status"] == 0
    assert "evaluation.json" not in commands["remove"]["files"]
    now = commands["evaluate"]["files"]
    assert now["evaluation.json"] == run[2]["evaluation.json"]
    assert commands["evaluate"]["stdout"].splitlines()[2:] == run[1].splitlines()[2:]


@pytest.mark.parametrize(
    "name, message",
    [
        ("other", "belongs to another run"),
        ("no output_dir", "--output_dir is needed"),
        ("hparams_set", "did you mean 'digits_tiny'?"),
        ("hparams", "did you mean 'dropout'?"),
        ("flag", "did you mean --temperature?"),
        ("problem", "did you mean 'digits'"),
        ("no set", "--hparams_set is needed, or a --problem"),
        ("temperature", "--temperature must be above 0. Received: 0"),
        ("no run", "is not a run folder"),
        (
            "images",
            "from 0 to 296. Received: 5,297",
        ),
        ("kind", "should be one of"),
        ("no checkpoint", "untrained has no checkpoint"),
        ("no record", "is not a run folder"),
        ("no report", "is not a run folder"),
    ],
)
def test_an_error_is_one_line(commands, name, message):
    found = commands[name]
    assert found["status"] == 1
    assert message in found["stderr"]
    assert found["stderr"].startswith("error: ")
    assert len(found["stderr"].splitlines()) == 1
    assert found["stdout"] == ""


def test_a_refused_folder_is_untouched(commands):
    assert commands["other"]["status"] == 1
    assert commands["other"]["files"] == commands["evaluate"]["files"]


def test_sample(run, commands):
    assert commands["sample"]["status"] == 0
    path = run[0] / "samples" / "prior-auxiliary-temperature1-seed3"
    with np.load(f"{path}.npz") as found:
        drawn = found["image"]
        assert (int(found["step"]), int(found["seed"])) == (10, 3)
        assert found["latents"].shape == (1, 5, 8, 2)
    assert drawn.shape == (1, 5, 8, 8, 1) and drawn.dtype == np.uint8
    assert drawn.max() <= 16 and len(np.unique(drawn[0], axis=0)) == 5
    zoom = 96 // 8
    picture = np.asarray(Image.open(f"{path}.png"))
    first_dark = np.argmax(picture[44] < 250) // 3  # Behind the label of the row.
    assert first_dark < 40 and picture.shape[1] > 5 * 9 * zoom
    with np.load(run[0] / "fewer.npz") as found:
        np.testing.assert_array_equal(found["image"][0], drawn[0, :3])


def test_completion_of_test_images(run, commands):
    assert commands["completion"]["status"] == 0, commands["completion"]["stderr"]
    name = "completion-given0.4-temperature1-seed3.npz"
    test = digits.load("test").image[[5, 0, 7]]
    with np.load(run[0] / "samples" / name) as found:
        assert found["row_labels"].tolist() == ["original", "given", "x1", "x2"]
        assert found["column_labels"].tolist() == ["5", "0", "7"]
        drawn = found["image"].reshape(4, 3, 64)
    np.testing.assert_array_equal(drawn[0].reshape(test.shape), test)
    kept = round(0.4 * 64)
    assert (drawn[1:, :, :kept] == drawn[0, :, :kept]).all()
    assert (drawn[1, :, kept:] == 8).all()
    assert (drawn[2, :, kept:] != drawn[3, :, kept:]).any()


def test_export(run, commands):
    assert commands["export"]["status"] == 0, commands["export"]["stderr"]
    assert "Step 10, averaged weights" in commands["export"]["stdout"]
    folder = run[0].parent / "exported"
    call = tf.saved_model.load(str(folder / "saved_model")).signatures
    model = load.load(str(run[0])).model
    again = keras.models.load_model(folder / "model.keras")
    image = digits.load("test").image[:3]
    found = call["log_likelihood"](images=image, seed=0)
    expected = again(image)
    np.testing.assert_allclose(
        found["distortion_nats"], expected["distortion"], rtol=1e-4
    )
    np.testing.assert_allclose(
        model(image)["rate_aux"], found["rate_aux_nats"], rtol=1e-4
    )


def test_record(run, commands):
    assert commands["record"]["status"] == 0, commands["record"]["stderr"]
    found = json.loads((run[0].parent / "record.json").read_text())
    assert (found["schema"], found["hardware"]) == (1, "a toaster")
    (kept,) = found["runs"]
    assert (kept["experiment"], kept["step"]) == ("digits", 10)
    assert kept["hparams"]["train_steps"] == 10
    assert [row["step"] for row in kept["curve"]] == STEPS
    assert kept["training_hours"] > 0


def test_report(run, commands):
    assert commands["report"]["status"] == 0, commands["report"]["stderr"]
    assert commands["report"]["stdout"] == f"Wrote {run[0].parent}/both.html\n"
    assert "latents carry" in (run[0].parent / "both.html").read_text()
    assert "Not there" not in (run[0] / "report.html").read_text()


def test_what_a_report_lacks_is_drawn_by_the_evaluation(run, commands):
    names = [f"samples/{n}-00000010.png" for n in ("step", "reconstructions")]
    assert not set(names) & set(commands["lost"]["files"])
    assert commands["evaluate all"]["status"] == 0, commands["evaluate all"]["stderr"]
    found = commands["evaluate all"]["files"]
    for name in (*names, "samples/neighbors-00000010.png", "latents.json"):
        assert found[name] == run[2][name], name
    assert found["report.html"] != run[2]["report.html"]  # It has more numbers now.


def test_an_earlier_step_is_a_row_of_the_learning_curve(run, commands):
    folder, _, _ = run
    lines = commands["evaluate all"]["stdout"].splitlines()
    steps = [line.split(",")[0] for line in lines if line.startswith("Step ")]
    assert steps == ["Step 5", "Step 10"]
    assert f"No gain: {folder} has no record of step 5 with 200 examples." in lines
    fewer = commands["evaluate fewer"]["stdout"].splitlines()
    assert f"No gain: {folder} has no record with 50 examples." in fewer
    assert not any(line.startswith("gain") for line in fewer)
    first, last = records.learning_curve(str(folder))
    assert (first["step"], last["step"]) == (5, 10)
    assert set(first["weights"]) == {"average"}
    # Oracle: the newest of a folder that has lost the later checkpoint.
    assert commands["evaluate cut"]["status"] == 0, commands["evaluate cut"]["stderr"]
    cut = records.read(folder.parent / "cut")
    assert cut["step"] == 5
    for split, found in first["weights"]["average"].items():
        expected = cut["weights"]["average"][split]
        assert found == pytest.approx(expected, rel=1e-6), split
    assert last["weights"]["average"] != first["weights"]["average"]
    kept = json.loads((folder.parent / "record.json").read_text())["runs"][0]
    assert [row["step"] for row in kept["learning_curve"]] == [5, 10]


def test_a_step_without_a_checkpoint_is_named(commands):
    assert commands["evaluate at"]["status"] == 1
    assert (
        "steps 5, 10; training with --keep_checkpoint_max=0 keeps all. "
        in (commands["evaluate at"]["stderr"])
    )
    assert "Received: step 7" in commands["evaluate at"]["stderr"]
    assert "Received: 5,later" in commands["evaluate when"]["stderr"]


def test_help_teaches(commands):
    found = commands["help"]
    assert found["status"] == 0 and found["stderr"] == ""
    text = found["stdout"]
    assert "Samples from a trained run" in text and "--temperature" in text
    assert "sharper than it" in text and "--output_dir" in text
    assert "--worker_gpu" not in text  # It does not read that one.


@pytest.mark.slow  # Five processes that train.
def test_killed_runs_end_with_the_same_bits(tmp_path):
    straight, folder = tmp_path / "straight", tmp_path / "killed"
    command = ["-m", "experiments.digits", *RUN, "--schedule=train"]
    command += ["--train_steps=60", f"--output_dir={folder}"]
    finish(start(*command[:-1], f"--output_dir={straight}"))

    def newest():
        return max((folder / "checkpoints").glob("step-*.npz"), default=None)

    reached = []
    for _ in range(3):
        before = newest()
        process = start(*command)
        try:
            while newest() == before and process.poll() is None:
                time.sleep(0.01)
            time.sleep(random.uniform(0, 0.3))
        finally:
            process.send_signal(signal.SIGKILL)
            process.communicate()
        assert process.returncode == -signal.SIGKILL, "it was finished before the kill"
        reached.append(int(newest().stem.split("-")[1]))
    finish(start(*command))
    print("killed with checkpoints of steps", reached)

    last = "checkpoints/step-00000060.npz"
    found = checkpoints.read(str(folder / last)).arrays
    expected = checkpoints.read(str(straight / last)).arrays
    assert list(found) == list(expected)
    for key, value in expected.items():
        np.testing.assert_array_equal(found[key], value, err_msg=f"{key} {reached}")
    rows, expected = (run_folder.read_metrics(str(f)) for f in (folder, straight))
    for row in (*rows, *expected):
        del row["steps_per_second"]
    assert rows == expected
    left = [n for n in os.listdir(folder) + os.listdir(folder / "checkpoints")]
    assert not [n for n in left if n.endswith(".tmp")]
