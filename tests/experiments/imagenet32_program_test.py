"""ImageNet 32x32 as a user runs it, from archives of the true layout."""

import json

import numpy as np
import pytest

from deltavae_tf.training import checkpoints, run_folder
from tests.data import imagenet32_test
from tests.experiments import commands as programs

OTHER_SET = "from data import imagenet32; imagenet32.NUM_EXAMPLES_BOX['valid'] = 7"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("imagenet32")
    for split in imagenet32_test.COUNT:
        imagenet32_test.write_split(path, split)
    (path / "results").mkdir()
    return path


@pytest.fixture(scope="module")
def commands(folder):
    program = ["experiments.imagenet32", "--hparams_set=imagenet32_tiny"]
    program += ["--train_steps=4", "--local_eval_frequency=2", "--eval_steps=1"]
    program += [f"--data_dir={folder}", "--eval_use_test_set"]
    straight, resumed = (f"--output_dir={folder}/{n}" for n in ("straight", "resumed"))
    box = f"--output_dir={folder}/box"
    return programs.run({
        "straight": [*program, straight],
        "half": [*program, resumed, "--train_steps=2", "--schedule=train"],
        "resumed": [*program, resumed],
        "no classes": ["experiments.linear_probe", straight, f"--data_dir={folder}"],
        "as the other set": ["python", OTHER_SET],
        "other set": [*program, box, "--train_steps=2"],
        "record": ["experiments.record", box,
                   f"--decode_to_file={folder}/results/box.json"],
        "tables": ["experiments.figures.results_table",
                   f"--results_dir={folder}/results"],
        "no archive": [*program, f"--data_dir={folder}/box", straight],
    })  # fmt: skip


def test_it_trains_evaluates_and_prints_the_sizes(folder, commands):
    found = commands["straight"]
    assert found["status"] == 0, found["stderr"]
    lines = found["stdout"].splitlines()
    assert lines[0] == "imagenet32/train: 23 images (23 of 1,281,149 images)"
    assert lines[1] == "imagenet32/valid: 7 images (7 of 49,999 images)"
    assert "Step 4, 7 images of imagenet32/valid (7 of 49,999 images):" in lines
    evaluation = json.loads((folder / "straight" / "evaluation.json").read_text())
    assert evaluation["data"]["held_out"]["num_examples"] == 7
    rows = run_folder.read_metrics(str(folder / "straight"))
    assert [row["step"] for row in rows] == [2, 4]
    assert (folder / "straight" / "samples" / "step-00000004.png").exists()


def test_resumed_it_ends_with_the_same_bits(folder, commands):
    assert commands["resumed"]["status"] == 0, commands["resumed"]["stderr"]
    one, other = (
        checkpoints.read(str(folder / name / "checkpoints" / "step-00000004.npz"))
        for name in ("straight", "resumed")
    )
    assert one.arrays.keys() == other.arrays.keys()
    for name, value in one.arrays.items():
        np.testing.assert_array_equal(value, other.arrays[name], err_msg=name)


def test_the_box_filtered_set_is_named_and_never_beside_the_paper(folder, commands):
    found = commands["other set"]
    assert found["status"] == 0, found["stderr"]
    note = "(7 images: the box-filtered set of image-net.org, not the paper's)"
    assert f"imagenet32_box/valid: 7 images {note}" in found["stdout"]
    assert f"Step 2, 7 images of imagenet32_box/valid {note}:" in found["stdout"]
    assert commands["record"]["status"] == 0, commands["record"]["stderr"]
    tables = commands["tables"]["stdout"]
    rows = [line for line in tables.splitlines() if "imagenet32_box" in line]
    assert len(rows) == 1 and note in rows[0] and rows[0].startswith("| `box`")


@pytest.mark.parametrize(
    "name, message",
    [
        ("no archive", "ImageNet 32x32's train images must be in `data_dir`"),
        ("no classes", "needs classes"),
    ],
)
def test_errors(commands, name, message):
    assert commands[name]["status"] == 1
    last = commands[name]["stderr"].splitlines()[-1]
    assert last.startswith("error: ") and message in last
