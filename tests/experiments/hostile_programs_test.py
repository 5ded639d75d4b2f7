"""Hostile hyper-parameters, flags and run folders, as programs read them.

As in `tests/hostile_input_test.py`: an error of one line, and no harm.
"""

import json
import random

import numpy as np
import pytest

from deltavae_tf.training import checkpoints, run_folder
from experiments import build, flags, program, sets
from experiments.runs import load
from tests import hostile

CASES = hostile.CASES
no_harm = hostile.no_harm

HPARAMS = sets.hparams("digits_tiny")
IDENTITY = {
    "experiment": "digits",
    "hparams": {**HPARAMS.to_dict(), "random_seed": 0, "eval_use_test_set": False},
}


@pytest.fixture
def folder(tmp_path):
    """A run folder with a checkpoint that fits no model: nothing need be built."""
    path = tmp_path / "run"
    run = run_folder.RunFolder(str(path))
    run.claim("digits", IDENTITY["hparams"])
    run.close()
    manager = checkpoints.CheckpointManager(
        run.checkpoints, checkpoints.fingerprint(HPARAMS.architecture())
    )
    manager.save(5, {"model/00000": np.ones([3, 2], np.float32)})
    return path


def test_hparams_json(folder, monkeypatch):
    """Of mutated files some are valid sets; those fail where the model is built."""

    def built(*_):
        raise ValueError("The model would be built now")

    monkeypatch.setattr(build, "model", built)
    rng = random.Random(1)
    path = folder / "hparams.json"
    good = json.dumps(IDENTITY)
    texts = [json.dumps(hostile.mutated(IDENTITY, rng)).encode() for _ in range(CASES)]
    texts += [hostile.damaged(good.encode(), rng) for _ in range(CASES)]
    texts += [b"", b"null", b"[]", b"{", b"[" * 100_000, b"1" * 10_000, b"\xff\xfe"]
    texts += [b'{"a":' * 50_000, good.encode() + b" " * (3 << 20)]
    before = hostile.listing(folder)
    for text in texts:
        path.write_bytes(text)
        assert hostile.refused(
            (ValueError, FileNotFoundError), load.load, str(folder)
        ), text
        assert hostile.listing(folder) == before


# Flags and hyper-parameters.


@pytest.mark.parametrize("name", ["digits_tiny", "documents_tiny"])
def test_hyper_parameters_as_text(name):
    rng = random.Random(5)
    names = [*sets.hparams(name).to_dict(), "", "__class__", "x" * 999]
    values = [
        "1",
        "-1",
        "0.5",
        "nan",
        "1e999",
        "none",
        "true",
        "=",
        ",",
        "\0",
        "9" * 99,
    ]
    count = 0
    for _ in range(5 * CASES):
        parts = [f"{rng.choice(names)}={rng.choice(values)}" for _ in range(2)]
        text = rng.choice([",", ";", ",,"]).join(parts)
        count += hostile.refused(ValueError, sets.hparams, name, text)
    assert count > CASES


def test_flags(tmp_path, capsys):
    rng = random.Random(6)
    defined = flags.FLAGS.flags_by_module_dict()["experiments.flags"]
    values = ["", "1", "-1", "x" * 5000, "\0", "é\n", "../..", "9" * 400, "nan", "1e9"]
    recursive = tmp_path / "flagfile"
    recursive.write_text(f"--flagfile={recursive}\n--trian_steps=1\n")
    lines = [["--flagfile=/nonexistent"], [f"--flagfile={recursive}"], ["--=1"], ["--"]]
    for _ in range(CASES):
        name = rng.choice(defined).name
        lines.append([f"--{rng.choice([name, name[1:]])}={rng.choice(values)}"])
    for line in lines:
        saved = {f.name: f.value for f in defined}
        try:
            program._parse(["program", *line], ())
        except SystemExit as error:
            assert error.code in (0, 1)
            text = capsys.readouterr().err
            *warnings, last = text.splitlines()  # The warnings are absl's.
            assert last.startswith("error: ") and "Traceback" not in text, text
            assert all(line.startswith("Warning: Hit circular") for line in warnings)
        finally:
            for f in defined:
                f.value = saved[f.name]
