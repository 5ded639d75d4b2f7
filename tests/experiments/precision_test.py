"""dtype=auto: what is measured decides, once, and the run stays what it is."""

import numpy as np
import pytest

from deltavae_tf import errors
from deltavae_tf.training import run_folder
from experiments import build, sets
from experiments.runs import load, precision
from experiments.runs import run as runs
from experiments.runs.options import Options


def trained(path, dtype, train_steps=2):
    chosen = sets.hparams("digits_tiny", f"dtype={dtype},train_steps={train_steps}")
    options = Options(output_dir=str(path), progress=False, write_samples=False)
    with runs.Run(chosen, options) as run:
        run.train()
        return run.hparams, [np.array(v) for v in run.model.weights]


def measured(monkeypatch, wide, half):
    """Lets the trial find these seconds; returns the list of its calls."""
    calls = []

    def seconds(hparams, spec):
        calls.append(spec)
        return dict(zip(precision.DTYPES, (wide, half), strict=True))

    monkeypatch.setattr(precision, "_seconds_of_a_step", seconds)
    return calls


@pytest.mark.parametrize(
    "wide, half, dtype",
    [
        (1.0, 0.5, "mixed_bfloat16"),
        (1.0, 1.5, "float32"),
        (1.0, 0.99, "float32"),  # Not worth its rounding.
    ],
)
def test_the_quicker_one_is_taken(wide, half, dtype):
    seconds = {"float32": wide, "mixed_bfloat16": half}
    assert precision.quicker(seconds) == dtype


def test_a_run_goes_on_as_it_began(monkeypatch, tmp_path):
    calls = measured(monkeypatch, wide=1.0, half=0.5)
    hparams, _ = trained(tmp_path, "auto")
    assert hparams.dtype == "mixed_bfloat16" and len(calls) == 1
    assert calls[0]["image"] == ((8, 8, 8, 1), "uint8")
    _, held = run_folder.read_identity(str(tmp_path))
    assert held["dtype"] == "mixed_bfloat16"
    assert load.load(str(tmp_path)).model.decoder.compute_dtype == "bfloat16"

    # Another machine would choose otherwise; the run is what it is.
    calls = measured(monkeypatch, wide=1.0, half=2.0)
    hparams, _ = trained(tmp_path, "auto", train_steps=3)
    assert hparams.dtype == "mixed_bfloat16" and not calls


def test_a_trial_on_this_machine_changes_nothing_else(tmp_path, caplog):
    caplog.set_level("INFO", logger="absl")  # Another test may have made it quiet.
    hparams, weights = trained(tmp_path / "auto", "auto")
    assert hparams.dtype in precision.DTYPES
    (line,) = [m for m in caplog.messages if m.startswith("dtype=auto")]
    assert line.startswith(f"dtype=auto: {hparams.dtype} (a step takes ")
    assert "ms in float32 and" in line and "ms in mixed_bfloat16" in line
    _, expected = trained(tmp_path / "named", hparams.dtype)
    for one, other in zip(weights, expected, strict=True):
        np.testing.assert_array_equal(one, other)


def test_with_an_accelerator_nothing_is_measured(monkeypatch):
    calls = measured(monkeypatch, 1.0, 2.0)
    monkeypatch.setattr("deltavae_tf.backend.accelerators", lambda: ["NVIDIA H200"])
    hparams = sets.hparams("digits_tiny", "dtype=auto")
    assert precision.chosen(hparams, {}).dtype == "mixed_bfloat16" and not calls


def test_a_model_without_a_run_has_to_name_one():
    with pytest.raises(errors.UserError, match="name float32 or mixed_bfloat16"):
        build.model(sets.hparams("digits_tiny", "dtype=auto"))


def test_a_damaged_folder_is_told(tmp_path):
    (tmp_path / "hparams.json").write_text("{")
    hparams = sets.hparams("digits_tiny", "dtype=auto")
    with pytest.raises(errors.UserError, match="damaged"):
        precision.recorded(hparams, str(tmp_path))
