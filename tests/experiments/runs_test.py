"""A run from hyper-parameters to a folder, and back."""

import numpy as np
import pytest

from data import digits
from data.images import batches
from deltavae_tf.evaluation import likelihood
from deltavae_tf.evaluation import record as records
from deltavae_tf.training import checkpoints
from experiments import sets
from experiments.runs import load, results
from experiments.runs import run as runs
from experiments.runs.options import Options


def run_in(path, overrides="", train=True, **options):
    chosen = sets.hparams("digits_tiny", overrides)
    arguments = {"progress": False, "write_samples": False, **options}
    arguments = Options(output_dir=str(path), **arguments)
    with runs.Run(chosen, arguments) as run:
        if train:
            run.train()
        return run, run.evaluate()


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "run"
    return path, *run_in(path, use_test_set=True)


@pytest.mark.parametrize("use_average", [True, False])
def test_load_gives_the_model_that_was_evaluated(trained, use_average):
    path, run, found = trained
    back = load.load(str(path), use_average)
    assert (back.hparams, back.step) == (run.hparams, 10)
    assert back.weights == ("average" if use_average else "raw")
    data = batches.evaluation_batches(digits.load("test"), 64)
    again = likelihood.Evaluator(back.model)(data, likelihood.BitsPerDim(64))
    kept = found["weights"][back.weights]["held_out"]
    assert len(again) > 8
    for name, value in again.items():
        np.testing.assert_allclose(kept[name], value, rtol=1e-5)


def test_evaluation_is_of_the_whole_test_split(trained):
    path, _, found = trained
    held_out = found["data"]["held_out"]
    assert (held_out["name"], held_out["num_examples"]) == ("digits/test", 297)
    raw, average = (records.numbers(found, weights=w) for w in ("raw", "average"))
    assert raw["rate_nats"] >= raw["committed_rate_nats"] > 0
    assert average["nelbo_bpd"] != raw["nelbo_bpd"]
    assert records.read(str(path)) == found and not records.is_full(found)


def test_without_the_test_set_training_images_are_held_out(tmp_path):
    run, found = run_in(tmp_path / "run", "train_steps=1")
    data = run.data
    assert (len(data.training), len(data.held_out)) == (1300, 200)
    held_out = found["data"]["held_out"]
    assert held_out["name"] == "digits/train" and "last 200" in held_out["note"]
    assert not set(data.training.index) & set(data.held_out.index)


def test_warm_start_takes_weights_only(trained, tmp_path):
    path, before, _ = trained
    run, _ = run_in(
        tmp_path / "run",
        "train_steps=1,learning_rate=1e-9",
        use_test_set=True,
        warm_start_from=str(path),
    )
    assert int(run.model.steps) == 1
    pairs = zip(
        run.model.trainable_variables, before.model.trainable_variables, strict=True
    )
    for one, other in pairs:
        np.testing.assert_allclose(one, other, atol=1e-6)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"overrides": "decoder_width=16"}, "decoder_width=16, the folder holds 8"),
        ({"seed": 1}, "random_seed=1, the folder holds 0"),
        ({"use_test_set": False}, "eval_use_test_set=False"),
    ],
)
def test_another_run_is_refused(trained, change, message):
    path, _, _ = trained
    with pytest.raises(ValueError, match=message):
        run_in(path, **{"use_test_set": True, **change})


def test_more_steps_are_not_another_run(trained):
    path, _, _ = trained
    chosen = sets.hparams("digits_tiny", "train_steps=12")
    options = Options(
        output_dir=str(path), use_test_set=True, progress=False, write_samples=False
    )
    with runs.Run(chosen, options) as run:
        assert run.train() == 12


def test_nothing_to_evaluate_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="no checkpoint to evaluate"):
        run_in(tmp_path / "run", train=False)
    with pytest.raises(ValueError, match="has no checkpoint"):
        load.load(str(tmp_path / "run"))


def test_a_foreign_checkpoint_is_refused(trained, tmp_path):
    path, _, _ = trained
    with pytest.raises(checkpoints.CheckpointError, match="does not fit"):
        run_in(tmp_path / "run", "decoder_layers=3", warm_start_from=str(path))


def test_results(trained):
    path, run, found = trained
    kept = results.entry(str(path), "digits-seed0", "digits", curve=True)
    assert kept["hparams"]["decoder_width"] == run.hparams.decoder_width
    assert kept["weights"] == records.rounded(found["weights"])
    assert kept["training_hours"] > 0 and kept["curve"][-1]["step"] >= 10
    assert kept["curve"][-1]["eval_ema_nelbo_bpd"] > 0


def test_a_run_of_the_first_version_is_told_from_a_strange_one(trained, tmp_path):
    (tmp_path / "hparams.json").write_text(
        '{"experiment": "digits", "hparams": {"problem": "digits", "method": "vae"}}'
    )
    with pytest.raises(ValueError, match="experiments.convert"):
        load.load(str(tmp_path))
