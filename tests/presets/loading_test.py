"""A preset gives back what was put into it, or says in one line why not."""

import json
import pathlib
import shutil

import keras
import numpy as np
import pytest

import deltavae_tf
from data import fashion_mnist_demo
from deltavae_tf import errors, units
from deltavae_tf.models import config_file
from deltavae_tf.presets import files, loading
from deltavae_tf.training import checkpoints
from tests import tiny

IMAGES = np.random.default_rng(0).integers(0, 17, (4, 8, 8, 1)).astype("uint8")
BUNDLED = "fashion_mnist_14"


@pytest.fixture(scope="module")
def model():
    return tiny.image_model()


@pytest.fixture(scope="module")
def half(model, tmp_path_factory):
    """The folder of a preset in half precision."""
    folder = tmp_path_factory.mktemp("presets") / "tiny"
    arrays = checkpoints.variables_to_arrays({"model": model.weights})
    halved = {
        key: value.astype(np.float16) if value.dtype.kind == "f" else value
        for key, value in arrays.items()
    }
    card = {"steps": 10, "weights": "average"}
    files.write(folder, config_file.of(model, "abc"), halved, 10, card)
    return folder


@pytest.fixture(scope="module")
def run(model, tmp_path_factory):
    """A run folder: two checkpoints, the newer with an average of sevens."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    manager = checkpoints.CheckpointManager(folder / "checkpoints", "abc")
    checkpoints.write_json(folder / "model.json", config_file.of(model, "abc"))
    arrays = checkpoints.variables_to_arrays({"model": model.weights})
    manager.save(1, {key: np.zeros_like(value) for key, value in arrays.items()})
    average = {
        f"average/{i:05d}": np.full(variable.shape, 7, np.float32)
        for i, variable in enumerate(model.trainable_variables)
    }
    manager.save(2, {**arrays, **average, "optimizer/00000": np.zeros(3, np.float32)})
    return folder


@pytest.fixture
def copy(half, tmp_path):
    """A copy of the preset that a test may damage."""
    return pathlib.Path(shutil.copytree(half, tmp_path / "copy"))


def test_a_preset_is_the_model_up_to_half_precision(model, half):
    found = deltavae_tf.DeltaVAE.from_preset(half)
    assert type(found) is deltavae_tf.DeltaVAE and not found.compiled
    pairs = zip(found.weights, model.weights, strict=True)
    for one, other in pairs:
        assert one.dtype == other.dtype
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-7)
    one, other = found(IMAGES), model(IMAGES)
    np.testing.assert_allclose(one["distortion"], other["distortion"], rtol=1e-3)
    with pytest.raises(errors.UserError, match="no TextVAE.*Received: a DeltaVAE"):
        deltavae_tf.TextVAE.from_preset(half)
    with pytest.raises(errors.UserError, match="Received: use_average=False"):
        deltavae_tf.from_preset(half, use_average=False)


def test_a_run_folder_gives_its_newest_weights(model, run):
    for found in deltavae_tf.from_preset(run).trainable_variables:
        assert (np.asarray(found) == 7).all()
    raw = deltavae_tf.from_preset(run, use_average=False)
    for one, other in zip(raw.weights, model.weights, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_run_without_weights_or_configuration_says_so(run, tmp_path):
    (tmp_path / "new").mkdir()
    shutil.copy(run / "model.json", tmp_path / "new")
    assert "has no checkpoint: train first" in refusal(tmp_path / "new")
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "hparams.json").write_text("{}")
    assert "a run of an earlier version" in refusal(tmp_path / "old")
    other = shutil.copytree(run, tmp_path / "other")
    text = (run / "model.json").read_text().replace('"abc"', '"xyz"')
    (tmp_path / "other" / "model.json").write_text(text)
    with pytest.raises(errors.UserError, match="another experiment: fingerprint abc"):
        deltavae_tf.from_preset(other)


def refusal(name):
    """The one line that says why a preset cannot be had."""
    with pytest.raises(errors.UserError) as caught:
        deltavae_tf.from_preset(name)
    line = str(caught.value)
    assert "\n" not in line and "Received: " in line and len(line) < 800
    return line


def test_an_unknown_name_names_the_nearest():
    line = refusal("fashion_mnist_41")
    assert f"did you mean '{BUNDLED}'?" in line and "'fashion_mnist_41'" in line
    assert "There is no folder of this name" in refusal("/nowhere/at_all")


@pytest.mark.parametrize("name", ["weights.npz", "model.json"])
def test_a_changed_byte_is_seen(copy, name):
    content = bytearray((copy / name).read_bytes())
    content[len(content) // 2] ^= 1
    (copy / name).write_bytes(content)
    assert f"Received: a {name} of another checksum" in refusal(copy)
    (copy / name).unlink()
    assert f"restore it from where it came. Received: no {name}" in refusal(copy)


@pytest.mark.parametrize(
    "damage, told",
    [
        (lambda card: card.update(format=2), "format 2; this version"),
        (lambda card: card.pop("files"), "'files'"),
        (lambda card: card["files"].pop("weights.npz"), "no entry of the model"),
        (lambda card: card["files"].update({"../x": {}}), "."),
        (lambda card: card["files"]["model.json"].update(bytes=10**9), "6,000,000"),
        (lambda card: card["files"]["model.json"].update(sha256="0"), "'model.json'"),
        (lambda card: card.update(more="x" * 200_000), "longer than"),
    ],
)
def test_a_damaged_card_is_refused(copy, damage, told):
    card = json.loads((copy / "card.json").read_text())
    damage(card)
    (copy / "card.json").write_text(json.dumps(card))
    assert told in refusal(copy)


def test_a_card_that_is_no_json_is_refused(copy):
    (copy / "card.json").write_text("{")
    assert "is no card of a preset" in refusal(copy)


def of_class(module, name, registered=None, **config):
    """Keras's form of an object of a class."""
    return {
        **{"module": module, "class_name": name},
        **{"config": config, "registered_name": registered},
    }


LAMBDA = {"class_name": "__lambda__", "config": {"value": "x"}}


@pytest.mark.parametrize(
    "encoder, told",
    [
        (of_class("os", "system"), "os.system is no class of Keras"),
        (of_class("antigravity", "Anti", "own>Anti"), "antigravity.Anti is no class"),
        (of_class("deltavae_tf.training.loop", "State"), "is no class of Keras"),
        (of_class("deltavae_tf.models.nothing", "X"), "No module named"),
        (of_class("keras.layers", "Lambda", function=LAMBDA), "__lambda__"),
        (of_class("keras.utils", "get_file", origin="x"), "not a modeling function"),
        (of_class("keras", 3), "must be text"),
        (LAMBDA, "__lambda__"),
        (None, "go together"),
    ],
)
def test_a_class_of_elsewhere_is_refused(model, encoder, told):
    content = config_file.of(model)
    content["model"]["config"]["encoder"] = encoder
    with pytest.raises(errors.UserError, match="of no use. Received: ") as caught:
        config_file.make(content)
    assert told in str(caught.value) and "\n" not in str(caught.value)


def test_a_configuration_that_is_none_is_refused(tmp_path):
    path = tmp_path / "model.json"
    wrong = ["{", "[]", '{"format": 1, "fingerprint": 1, "model": {}}', "[" * 100_000]
    for text in [*wrong, '{"format": 9}', '"' + "x" * (5 << 20) + '"']:
        path.write_text(text)
        with pytest.raises(errors.UserError, match="is no configuration of a model"):
            config_file.read(path)
    with pytest.raises(errors.UserError, match="No such file"):
        config_file.read(tmp_path / "none.json")


def test_a_part_that_cannot_be_written_down_is_named():
    class Encoder(keras.layers.Layer):
        def __init__(self, function):
            super().__init__()
            self.function = function

        def call(self, x):
            return x, x

    decoder = deltavae_tf.ImageDecoder(1, 8, 16, num_mixtures=2)
    model = deltavae_tf.DeltaVAE(
        Encoder(lambda x: x), decoder, deltavae_tf.AR1([0.5], 8)
    )
    with pytest.raises(errors.UserError, match="each needs a `get_config`"):
        config_file.of(model)


def test_too_large_a_preset_is_refused_and_nothing_is_written(model, tmp_path):
    large = {"model/00000": np.zeros(2_000_000, np.float32)}
    with pytest.raises(errors.UserError, match="at most 6,000,000 bytes"):
        files.write(tmp_path / "large", config_file.of(model), large, 1, {})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", loading.names())
def test_what_comes_with_the_library_is_whole(name):
    card = loading.card(name)
    told = {"data", "steps", "training_hours", "hardware", "numbers", "intended_use"}
    assert told | {"limits", "license", "precision"} <= set(card)
    assert card["name"] == name and "/tmp" not in json.dumps(card)


def test_the_bundled_weights_do_what_their_card_says():
    model = deltavae_tf.from_preset(BUNDLED)
    images = fashion_mnist_demo.load("test").image[:100]
    terms = model.predict(images, batch_size=50, verbose=0)
    total = np.mean(terms["distortion"] + terms["rate_aux"])
    told = loading.card(BUNDLED)["numbers"]["nelbo_aux_bpd"]
    assert abs(units.bits_per_dim(total, 14 * 14) - told) < 0.15
