"""A text run from hyper-parameters to a folder, back, and out as a SavedModel."""

import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from absl.testing import flagsaver

from data.reading import errors
from data.text import batches as text_batches
from data.text import vocabulary
from deltavae_tf.evaluation import record as records
from deltavae_tf.evaluation import tables, verdict
from deltavae_tf.export import saved_model
from deltavae_tf.export import text as text_export
from deltavae_tf.sampling import text
from deltavae_tf.training import checkpoints, run_folder
from experiments import sample, sets
from experiments.figures import text_results
from experiments.runs import load, results
from experiments.runs import run as runs
from experiments.runs import text as text_runs
from experiments.runs.options import Options
from tests.data import text_fakes


def run_in(path, tmp, overrides="", **options):
    chosen = sets.hparams("documents_tiny", overrides)
    options = {"use_test_set": True, "progress": False, **options}
    options = Options(output_dir=str(path), tmp_dir=str(tmp), **options)
    with runs.Run(chosen, options) as run:
        run.train()
        return run, run.evaluate()


@pytest.fixture(scope="module")
def tmp(tmp_path_factory):
    return tmp_path_factory.mktemp("text")


@pytest.fixture(scope="module")
def trained(tmp):
    path = tmp / "run"
    return path, *run_in(path, tmp)


def test_evaluation(trained):
    path, run, found = trained
    held_out = found["data"]["held_out"]
    assert (found["step"], held_out["num_examples"]) == (10, 300)
    for weights in ("raw", "average"):
        numbers = records.numbers(found, weights=weights)
        assert numbers["num_tokens"] == run.data.held_out.num_tokens
        rate, floor = (numbers[f"{x}_per_token"] for x in ("rate", "committed_rate"))
        assert rate >= floor > 0.05
        assert numbers["rate_excess_min_nats"] > -1e-3
        assert 4 < numbers["nelbo_per_token"] < 8
    assert "tokens per word" in verdict.remarks(found)[0]
    table = tables.of_weights(found)
    assert "nats/token" in table[0] and table[-1][""] == "averaged weights"
    assert "nats per token" in verdict.line(found)
    assert json.loads((path / "evaluation.json").read_text()) == found


def test_logged_names(trained):
    rows = run_folder.read_metrics(str(trained[0]))
    assert [row["step"] for row in rows] == [5, 10]
    names = ["distortion_nats", "rate_nats", "rate_aux_nats", "committed_rate_nats"]
    units = ["nelbo", "nelbo_aux", "rate", "rate_aux", "committed_rate"]
    names += [f"{name}_per_token" for name in units]
    for row in rows:
        assert {p + name for name in names for p in ("", "eval_", "eval_ema_")} <= {
            *row
        }
        assert row["rate_per_token"] >= row["committed_rate_per_token"] > 0
        assert {"lr", "grad_norm", "steps_per_second"} <= {*row}


def test_samples_are_text(trained):
    path, run, _ = trained
    lines = (path / "samples" / "step-00000010.txt").read_text().splitlines()
    assert len(lines) >= 8


def test_load_gives_the_model_that_was_evaluated(trained):
    path, run, found = trained
    back = load.load(str(path))
    assert (back.hparams, back.step) == (run.hparams, 10)
    batch = next(text_batches.evaluation_batches(run.data.held_out, 4000))
    with runs.averaged(run.state):
        expected = run.model(batch)["distortion"]
    np.testing.assert_allclose(back.model(batch)["distortion"], expected, rtol=1e-5)
    assert back.data.vocabulary.fingerprint == run.data.vocabulary.fingerprint


@pytest.mark.slow
def test_stopped_and_resumed_ends_with_the_same_bits(trained, tmp):
    """Packed rows, epochs and all."""
    path = tmp / "stopped"
    run_in(path, tmp, "train_steps=5")
    run, found = run_in(path, tmp)
    straight = checkpoints.variables_to_arrays(trained[1].state.sections)
    resumed = checkpoints.variables_to_arrays(run.state.sections)
    for name, value in straight.items():
        np.testing.assert_array_equal(resumed[name], value, err_msg=name)
    assert found == trained[2]


def test_the_vocabulary_is_reused_and_belongs_to_the_run(trained, tmp, monkeypatch):
    path, run, _ = trained
    monkeypatch.setattr(vocabulary, "build", None)  # Not to be called.
    run_in(path, tmp)
    kept = (path / "vocabulary.model").read_bytes()
    monkeypatch.undo()
    other = text_fakes.small_vocabulary()
    try:
        other.save(str(path / "vocabulary.model"))
        with pytest.raises(errors.DataError, match="of another run"):
            text_runs.load_vocabulary(str(path))
        with pytest.raises(errors.DataError, match="of another run"):
            run_in(path, tmp)
    finally:
        (path / "vocabulary.model").write_bytes(kept)


@pytest.mark.parametrize(
    "overrides, message",
    [("max_length=16", "max_length"), ("packed=false", "packed")],
)
def test_another_run_is_refused(trained, tmp, overrides, message):
    with pytest.raises(ValueError, match=f"another run.*{message}"):
        run_in(trained[0], tmp, overrides)


def test_results(trained):
    kept = results.entry(str(trained[0]), "documents", "documents", curve=True)
    assert records.numbers(kept)["nelbo_per_token"] > 0
    assert kept["curve"][-1]["eval_ema_nelbo_per_token"] > 0


def decoded(path, **values):
    """The lines that `experiments.sample` writes with these flags."""
    out = os.path.join(path, "out.txt")
    values = {"output_dir": str(path), "decode_to_file": out, **values}
    with flagsaver.flagsaver(**values):
        sample.main([])
    with open(out, encoding="utf-8") as file:
        return file.read().splitlines()


def test_sample_and_interpolate(trained):
    path = trained[0]
    lines = decoded(path, kind="prior", count=3, random_seed=1)
    assert len(lines) >= 3
    again = decoded(path, kind="prior", count=3, random_seed=1, prior="training")
    assert again != lines
    lines = decoded(path, kind="interpolation", rows=2)
    assert [x for x in lines if x.startswith("====")] == [
        "==== Interpolating dimension 0 ====",
        "==== Interpolating dimension 1 ====",
    ]


def test_what_a_run_writes_as_markdown(trained):
    path, run, _ = trained
    blocks = text_results.sentences(str(path))
    assert set(blocks) == {"samples", "interpolation", "completions"}
    assert blocks["samples"].count("```text") == 4
    assert blocks["interpolation"].count("```text") == 2 * 2
    for line in text_results._BEGINNINGS:
        assert blocks["completions"].count(f"\n{line}") == 5
    with runs.averaged(run.state):
        (tokens,) = text.sample(run.model, 6)
    for line in run.data.vocabulary.decode_to_strings(tokens):
        assert line in blocks["samples"]


def test_complete_reconstruct_and_score(trained, tmp):
    path, run, _ = trained
    file = tmp / "lines.txt"
    file.write_text("The value\nAn object\n")
    lines = decoded(path, kind="completion", rows=2, decode_from_file=str(file))
    assert [x for x in lines if x.startswith("====")] == [
        "==== The value ====",
        "==== An object ====",
    ]
    assert sum(x.startswith("The value") for x in lines) == 2
    lines = decoded(path, kind="reconstruction", decode_from_file=str(file))
    assert len(lines) >= 2
    lines = decoded(path, kind="score", decode_from_file=str(file))
    assert lines[0].split("\t")[-1] == "line" and len(lines) == 3
    distortion, rate, _, committed, tokens, line = lines[1].split("\t")
    assert float(rate) >= float(committed) > 0 and line == "The value"
    assert float(distortion) > float(tokens)


@pytest.mark.parametrize(
    "content, message",
    [
        (b"", "has no line of text"),
        (b"fine\nnot \xff fine\n", "Line 2 of .* is no UTF-8"),
        (b"a\n" + b"Z" * 99, "Line 2 .*is too long"),
        (None, "needs --decode_from_file"),
    ],
)
def test_bad_files_to_decode(trained, tmp, content, message):
    file = None
    if content is not None:
        file = str(tmp / "bad.txt")
        (tmp / "bad.txt").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        decoded(trained[0], kind="completion", decode_from_file=file)


def test_interpolation_moves_one_dimension(trained):
    model = trained[1].model
    z = text.interpolated_latents(model, 1, "training", steps=5)
    assert z.shape == (5, model.max_length, 2)
    np.testing.assert_allclose(z[:, 0, 1], [-3, -1.5, 0, 1.5, 3], atol=1e-6)
    assert (z[..., 1] == z[:, :1, 1]).all() and (z[0, :, 0] == z[4, :, 0]).all()
    between = text.latents_between(model, steps=3)
    np.testing.assert_allclose(between[1], (between[0] + between[2]) / 2, atol=1e-6)
    with pytest.raises(ValueError, match=r"in \[0, 2\). Received: 2"):
        text.interpolated_latents(model, 2)


LOADER = """
import sys, json
import tensorflow as tf
import tensorflow_text
model = tf.saved_model.load(sys.argv[1])
call = {name: model.signatures[name] for name in model.signatures}
seed = tf.constant(7, tf.int64)
one = tf.constant(1.0)
text = tf.constant(["The value of x.", "An object \\u2581"])
found = {
    "sample": call["sample"](seed=seed, count=tf.constant(3), temperature=one,
                             prior=tf.constant("auxiliary"))["text"],
    "complete": call["complete"](text=text, seed=seed, temperature=one,
                                 prior=tf.constant("training"))["text"],
    "nats": call["log_likelihood"](text=text, seed=seed)["distortion_nats"],
    "num_tokens": call["encode"](text=text)["num_tokens"],
    "loc": call["encode"](text=text)["loc"][:, 0, 0],
}
found = {k: [x.decode() if isinstance(x, bytes) else float(x) for x in v.numpy()]
         for k, v in found.items()}
for bad in ({"count": tf.constant(0)}, {"prior": tf.constant("none")},
            {"temperature": tf.constant(0.0)}):
    arguments = {"seed": seed, "count": tf.constant(1), "temperature": one,
                 "prior": tf.constant("auxiliary"), **bad}
    try:
        call["sample"](**arguments)
        found["no error"] = str(bad)
    except tf.errors.InvalidArgumentError:
        pass
try:
    call["encode"](text=tf.constant(["long " * 99]))
    found["no error"] = "long"
except tf.errors.InvalidArgumentError as error:
    found["long"] = str(error)
assert not [m for m in sys.modules if m.startswith(("deltavae", "keras.src.layers."))
            and not m.startswith("keras.src")]
print(json.dumps(found))
"""


@pytest.mark.slow  # Two processes that start TensorFlow.
def test_saved_model_of_strings_in_a_process_without_this_code(trained):
    path, _, _ = trained
    program = [sys.executable, "-m", "experiments.export"]
    root = pathlib.Path(__file__).parents[2]
    done = subprocess.run(
        [*program, f"--output_dir={path}"],
        cwd=root,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "complete(text, seed, temperature, prior) -> text" in done.stdout
    done = subprocess.run(
        [sys.executable, "-c", LOADER, str(path / "saved_model")],
        cwd="/",
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    back = load.load(str(path))
    model, vocabulary = back.model, back.data.vocabulary
    lines = ["The value of x.", "An object \u2581"]
    tokens = vocabulary.encode(lines)
    assert found["num_tokens"] == tokens.row_lengths().numpy().tolist()
    rows = tokens.to_tensor(shape=[None, model.max_length]).numpy()
    model.seed = 7
    np.testing.assert_allclose(found["nats"], model(rows)["distortion"], rtol=1e-4)
    loc = model.encode(rows).distribution.loc
    np.testing.assert_allclose(found["loc"], loc[:, 0, 0], rtol=1e-3, atol=1e-5)
    expected = vocabulary.decode_to_strings(model.sample(3, "auxiliary", 1.0, 7))
    assert found["sample"] == expected
    assert [x.startswith(y) for x, y in zip(found["complete"], lines, strict=True)]
    assert "no error" not in found and "at most 32 subwords" in found["long"]
    description = json.loads(
        (path / "saved_model" / saved_model.DESCRIPTION).read_text()
    )
    assert description["priors"] == ["auxiliary", "training"]
    assert "tensorflow_text" in description["needs"]


def test_a_vocabulary_of_another_model_is_not_exported(trained, tmp):
    other = text_fakes.small_vocabulary()
    with pytest.raises(ValueError, match="vocabulary of another model.*512 ids"):
        text_export.write_saved_model(trained[1].model, other, str(tmp / "no"))
    assert not (tmp / "no").exists()


def test_embedded_text_is_packed(trained):
    """Most of a training batch is no padding."""
    batch = next(iter(trained[1].data.training_batches(0)))
    assert np.mean(batch["tokens"].numpy() > 0) > 0.8
    assert tf.TensorShape([4, 32]) == batch["tokens"].shape
