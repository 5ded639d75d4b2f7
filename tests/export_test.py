"""A SavedModel gives the model's numbers, where there is nothing but TensorFlow."""

import json
import os
import pathlib
import re
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from deltavae_tf import backend
from deltavae_tf.export import images as export
from deltavae_tf.export import saved_model
from tests import testing, tiny

ROOT = pathlib.Path(__file__).parents[1]
SHAPE, LEVELS = (8, 8, 1), 17
IMAGES = np.random.default_rng(0).integers(0, LEVELS, (4, *SHAPE)).astype("uint8")
FLOATS = IMAGES.astype("float32")
MODELS = {
    "delta": tiny.image_model,
    "plain": lambda seed: tiny.image_model(seed, alpha=(0, 0)),
    "no latents": tiny.image_decoder_alone,
}

# Runs where importing anything of ours or TFP is an error. (TensorFlow itself imports
# Keras; of our Keras classes there is nothing without our modules.)
CLIENT = """
import json, sys

class Forbidden:
    def find_spec(self, name, path=None, target=None):
        roots = ("deltavae_tf", "experiments", "data", "tests", "tf_keras",
                 "tensorflow_probability")
        if name.split(".")[0] in roots:
            raise ImportError(f"forbidden: {name}")

if sys.argv[2] == "forbid":
    sys.meta_path.insert(0, Forbidden())
exec(EXAMPLE := sys.stdin.read())
import numpy as np
images = np.random.default_rng(0).integers(0, 17, (4, 8, 8, 1)).astype("uint8")
calls = loaded.signatures
codes = calls["encode"](images=images)
outputs = {
    "drawn": drawn,
    **nats,
    **codes,
    "decoded": calls["decode"](z=codes["loc"], seed=2, temperature=0.8)["images"],
    "reconstructed": calls["reconstruct"](images=images, seed=2, temperature=1.0)[
        "images"
    ],
    "training": sample(seed=3, count=1, temperature=1.0, prior="training")["images"],
}
np.savez(sys.argv[1], **{name: value.numpy() for name, value in outputs.items()})
print(json.dumps(sorted({name.split(".")[0] for name in sys.modules})))
"""


def make(name="delta"):
    model = MODELS[name](seed=5)
    testing.randomize(model, scale=0.15)
    model._sample = backend.graph(model.decoder.sample)  # XLA would compile longer.
    return model


def exported_to(path, name):
    """Model, path and signatures of a kind of model, and what the export returned."""
    model = make(name)
    description = export.write_saved_model(model, path, details={"step": 12})
    return model, path, tf.saved_model.load(path).signatures, description


@pytest.fixture(scope="module")
def delta(tmp_path_factory):
    path = str(tmp_path_factory.mktemp("export") / "saved_model")
    return exported_to(path, "delta")


@pytest.fixture(scope="module", params=MODELS)
def exported(request, tmp_path_factory):
    """Name, model, path and signatures of each kind of model."""
    if request.param == "delta":
        return request.param, *request.getfixturevalue("delta")[:3]
    path = str(tmp_path_factory.mktemp("export") / "saved_model")
    return request.param, *exported_to(path, request.param)[:3]


def test_samples_are_the_models(exported):
    name, model, _, call = exported
    priors = dict.fromkeys(("delta", "plain"), ["auxiliary", "training"])
    for prior in priors.get(name, [None]):
        own = prior or "auxiliary"
        for seed, count, temperature in ((2**40 + 3, 3, 0.8), (-1, 1, 1.0)):
            expected = model.sample(count, own, temperature, seed)
            inputs = {"seed": seed, "count": count, "temperature": temperature}
            if prior:
                inputs["prior"] = prior
            found = call["sample"](**inputs)["images"]
            assert found.dtype == tf.uint8
            np.testing.assert_array_equal(found, expected)
    assert len(np.unique(found)) > 5


def test_nats_are_the_models(exported):
    name, model, _, call = exported
    seed = {} if name == "no latents" else {"seed": model.seed}
    found = call["log_likelihood"](images=IMAGES, **seed)
    expected = {k: v.numpy() for k, v in model(IMAGES).items()}
    sums = {"nelbo": expected["distortion"] + expected["rate"]}
    if seed:
        sums["nelbo_aux"] = expected["distortion"] + expected["rate_aux"]
    else:
        del expected["rate"], expected["rate_aux"]
    assert set(found) == {f"{k}_nats" for k in (*expected, *sums)}
    for key, value in {**expected, **sums}.items():
        np.testing.assert_allclose(found[f"{key}_nats"], value, rtol=1e-5)
    if name == "delta":
        assert np.min(found["rate_nats"]) >= model.committed_rate()
        other = call["log_likelihood"](images=IMAGES, seed=model.seed + 1)
        assert (other["distortion_nats"] != found["distortion_nats"]).numpy().all()


def test_signatures(exported):
    name, _, path, call = exported
    expected = {"sample", "log_likelihood"}
    if name != "no latents":
        expected |= {"encode", "decode", "reconstruct"}
    assert set(call) == expected
    description = json.loads(pathlib.Path(path, saved_model.DESCRIPTION).read_text())
    assert set(description["signatures"]) == expected and description["step"] == 12
    for signature, function in call.items():
        told = description["signatures"][signature]
        assert set(told["inputs"]) == set(function.structured_input_signature[1])
        assert set(told["outputs"]) == set(function.structured_outputs)
        for entry in (*told["inputs"].values(), *told["outputs"].values()):
            assert entry["meaning"]
        for key, spec in function.structured_outputs.items():
            assert spec.shape[0] is None
            assert told["outputs"][key]["shape"] == spec.shape.as_list()
    assert call["sample"].structured_outputs["images"].shape[1:] == SHAPE


def test_a_process_with_tensorflow_alone(delta, tmp_path):
    model, path, _, _ = delta
    imported = run_client(sys.executable, path, tmp_path / "found.npz", "forbid")
    assert "tensorflow" in imported
    assert not {"deltavae_tf", "tensorflow_probability", "tf_keras"} & set(imported)
    check_client(model, tmp_path / "found.npz")


def run_client(python, path, found, mode, cwd=None):
    """Runs the example of docs/export.md, and more; returns what was imported."""
    text = (ROOT / "docs" / "export.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    example = example.replace("/tmp/cifar10/saved_model", path)
    process = subprocess.run(
        [python, "-c", CLIENT, str(found), mode],
        input=example,
        capture_output=True,
        text=True,
        cwd=cwd,
    )
    assert process.returncode == 0, process.stderr[-2000:]
    assert "(4, 8, 8, 1)" in process.stdout
    return json.loads(process.stdout.splitlines()[-1])


def check_client(model, path):
    posterior = model.encode(IMAGES).distribution
    with np.load(path) as found:
        drawn = model.sample(4, "auxiliary", seed=1)
        np.testing.assert_array_equal(found["drawn"], drawn)
        np.testing.assert_array_equal(
            found["training"], model.sample(1, "training", seed=3)
        )
        np.testing.assert_allclose(found["loc"], posterior.loc, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(found["scale"], posterior.scale, rtol=1e-4)
        np.testing.assert_array_equal(
            found["reconstructed"], model.reconstruct(IMAGES, seed=2)
        )
        np.testing.assert_array_equal(
            found["decoded"], model.sample_data(posterior.loc, 4, 0.8, seed=2)
        )
        nats = found["distortion_nats"] + found["rate_aux_nats"]
        np.testing.assert_allclose(found["nelbo_aux_nats"], nats, rtol=1e-6)


@pytest.mark.slow
def test_an_environment_with_tensorflow_alone(delta, tmp_path):
    """What a client has: a fresh environment, `pip install tensorflow`."""
    model, path, _, _ = delta
    folder = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    install = ["install", "-q", f"tensorflow=={tf.__version__}"]
    subprocess.run([folder / "bin" / "pip", *install], check=True)
    environment = {**os.environ, "PYTHONPATH": ""}
    run_client(folder / "bin" / "python", path, tmp_path / "a.npz", "", cwd=tmp_path)
    check_client(model, tmp_path / "a.npz")
    shown = subprocess.run(
        [folder / "bin" / "saved_model_cli", "show", "--dir", path, "--all"],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    for text in ("signature_def['sample']", "inputs['temperature']", "DT_UINT8"):
        assert text in shown
    assert "outputs['nelbo_aux_nats']" in shown
    inputs = {"seed": np.int64(3), "count": np.int32(1), "temperature": np.float32(1)}
    for name, value in {**inputs, "prior": np.array(b"training")}.items():
        np.save(tmp_path / f"{name}.npy", value)
    files = [f"{name}={name}.npy" for name in (*inputs, "prior")]
    subprocess.run(
        [folder / "bin" / "saved_model_cli", "run", "--dir", path, "--tag_set=serve"]
        + ["--signature_def=sample", "--outdir=.", f"--inputs={';'.join(files)}"],
        env=environment,
        cwd=tmp_path,
        check=True,
    )
    drawn = np.load(tmp_path / "images.npy")
    np.testing.assert_array_equal(drawn, model.sample(1, "training", seed=3))


@pytest.mark.parametrize(
    "change, message",
    [
        ({"count": 0}, "`count` must be above 0. Received: 0"),
        ({"count": -2}, "`count` must be above 0. Received: -2"),
        ({"temperature": 0.0}, "`temperature` must be above 0. Received: 0"),
        ({"temperature": float("nan")}, "`temperature` must be above 0. Received: nan"),
        (
            {"prior": "uax"},
            "`prior` must be one of .*auxiliary.*training.* Received: uax",
        ),
    ],
)
def test_values_out_of_range_are_refused_in_the_graph(delta, change, message):
    inputs = {"seed": 1, "count": 2, "temperature": 1.0, "prior": "auxiliary", **change}
    with pytest.raises(tf.errors.InvalidArgumentError) as error:
        delta[2]["sample"](**inputs)
    assert re.search(message, re.sub(r"\] \[", " ", str(error.value)))


@pytest.mark.parametrize("name", ["encode", "reconstruct", "log_likelihood"])
def test_levels_out_of_range_are_refused_in_the_graph(delta, name):
    call = delta[2][name]
    inputs = {"images": IMAGES.copy(), "seed": 1, "temperature": 1.0}
    inputs = {k: inputs[k] for k in call.structured_input_signature[1]}
    inputs["images"][1, 2, 3] = 17
    # A number that uint8 would wrap to 5, and an image in [0, 1], too.
    wrapped = IMAGES.astype("int64")
    wrapped[0, 1, 2] = 261
    for images in (inputs["images"], wrapped, -1.0 * IMAGES, IMAGES / 16):
        with pytest.raises(
            tf.errors.InvalidArgumentError,
            match="`images` must be 0 to 16, in integers",
        ):
            call(**{**inputs, "images": images})


@pytest.mark.parametrize(
    "name, inputs, message",
    [
        ("encode", {"images": FLOATS[:, :7]}, r"\[4,7,8,1\].* \[\?,8,8,1\]"),
        ("encode", {"images": FLOATS[0]}, r"\[8,8,1\].* \[\?,8,8,1\]"),
        ("encode", {"images": FLOATS[:0]}, r"number of images` must be above 0.*\[0\]"),
        (
            "decode",
            {"z": np.zeros((0, 8, 2), "float32"), "seed": 1, "temperature": 1.0},
            r"number of z` must be above 0.*\[0\]",
        ),
        ("encode", {"images": IMAGES}, "a float tensor.*uint8"),
        (
            "decode",
            {"z": np.zeros((1, 8, 3), "float32"), "seed": 1, "temperature": 1.0},
            r"\[1,8,3\].* \[\?,8,2\]",
        ),
    ],
)
def test_inputs_of_another_size_or_type_are_refused(delta, name, inputs, message):
    inputs = {k: tf.constant(v) for k, v in inputs.items()}
    if "seed" in inputs:
        inputs["seed"] = tf.cast(inputs["seed"], tf.int64)
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        delta[2][name](**inputs)


def test_keras_file(delta, tmp_path):
    model, _, call, _ = delta
    path = str(tmp_path / "model.keras")
    export.write_keras(model, path)
    code = (
        "import sys, keras, deltavae_tf.models, numpy as np\n"
        "model = keras.models.load_model(sys.argv[1], safe_mode=True)\n"
        "assert not model.compiled\n"
        "np.savez(sys.argv[3], **model(np.load(sys.argv[2])))\n"
    )
    np.save(tmp_path / "images.npy", IMAGES)
    files = [path, str(tmp_path / "images.npy"), str(tmp_path / "terms.npz")]
    subprocess.run([sys.executable, "-c", code, *files], check=True, cwd=ROOT)
    nats = call["log_likelihood"](images=IMAGES, seed=model.seed)
    with np.load(files[-1]) as found:
        for name in ("distortion", "rate", "rate_aux"):
            np.testing.assert_allclose(found[name], nats[f"{name}_nats"], rtol=1e-5)


def test_weights_file(delta, tmp_path):
    path = str(tmp_path / "model.weights.h5")
    export.write_weights(delta[0], path)
    again = tiny.image_model()
    again.load_weights(path)
    for one, other in zip(again.weights, delta[0].weights, strict=True):
        np.testing.assert_array_equal(one, other)
    assert os.listdir(tmp_path) == ["model.weights.h5"]
    with pytest.raises(ValueError, match=r"must end in .weights.h5. Received.*\.h5"):
        export.write_weights(delta[0], str(tmp_path / "model.h5"))


def test_a_failed_export_leaves_the_old_one(delta, tmp_path, monkeypatch):
    model, path, _, _ = delta
    folder = pathlib.Path(path).parent
    before = sorted(os.listdir(folder)), os.stat(path)

    def fail(module, path, **kwargs):
        pathlib.Path(path, "variables").mkdir(parents=True)
        raise OSError("No space left on device")

    monkeypatch.setattr(tf.saved_model, "save", fail)
    with pytest.raises(OSError, match="No space"):
        export.write_saved_model(model, path)
    assert (sorted(os.listdir(folder)), os.stat(path)) == before


def test_other_models_are_refused():
    class Other:
        decoder = None

    with pytest.raises(ValueError, match="ImageDecoder. Received: NoneType"):
        export.ImageSignatures(Other())


def test_an_export_to_a_folder_whose_name_has_characters_of_patterns(
    delta, tmp_path, monkeypatch
):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "run [1]").mkdir()
    for _ in range(2):  # The second replaces the first.
        export.write_saved_model(delta[0], "~/run [1]/saved_model")
    path = tmp_path / "run [1]" / "saved_model"
    assert os.listdir(path.parent) == ["saved_model"]
    assert (path / saved_model.DESCRIPTION).exists()
    found = saved_model.load("~/run [1]/saved_model").signatures["encode"](
        images=IMAGES
    )
    expected = delta[2]["encode"](images=IMAGES)
    np.testing.assert_array_equal(found["loc"], expected["loc"])
    export.write_weights(delta[0], "~/run [1]/model.weights.h5")
    assert len(os.listdir(path.parent)) == 2
