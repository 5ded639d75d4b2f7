"""Whatever a file or a command line holds: an error of one line, and no harm.

Every loader is fed seeded random damage and hand-made attacks. Each time it must accept
or raise its own error; nothing may run (each attack would leave a mark), no file may
appear outside or inside the folder that was read, memory stays within bounds.
"""

import io
import json
import os
import pickle
import random
import tracemalloc
import zipfile

import keras
import numpy as np
import pytest

import data
from data import cifar10, fashion_mnist
from data.reading import archives, pickles
from deltavae_tf.training import checkpoints, run_folder
from tests import hostile
from tests.data import fakes, fashion_mnist_test

CASES = hostile.CASES
no_harm = hostile.no_harm

# Archives and record files.


def test_record_files(tmp_path):
    rng = random.Random(0)
    good = {
        "test_batch.bin": fakes.records("test_batch").tobytes(),
        "cifar-10-batches-py/test_batch": fakes.python2_pickle(
            fakes.records("test_batch")
        ),
    }
    count = 0
    for case in range(CASES):
        name = sorted(good)[case % 2]
        folder = tmp_path / str(case)
        path = folder / name
        path.parent.mkdir(parents=True)
        path.write_bytes(hostile.damaged(good[name], rng))
        before = hostile.listing(folder)
        count += hostile.refused(data.DataError, cifar10.load, "test", str(folder))
        assert hostile.listing(folder) == before
    assert CASES / 3 < count < CASES


@pytest.mark.parametrize("packed", [True, False])
def test_idx_files(tmp_path, monkeypatch, packed):
    """What was damaged is refused, or what is read is what was there."""
    fashion_mnist_test.pretend(monkeypatch)
    rng = random.Random(8)
    fashion_mnist_test.put(tmp_path, fashion_mnist_test.miniature(), packed)
    expected = fashion_mnist.load("train", str(tmp_path))
    good = {p: p.read_bytes() for p in sorted(tmp_path.glob("train*"))}
    count = 0
    for case in range(2 * CASES):
        path = sorted(good)[case % 2]
        path.write_bytes(hostile.damaged(good[path], rng))

        def load():
            found = fashion_mnist.load("train", str(tmp_path))
            np.testing.assert_array_equal(found.image, expected.image)
            np.testing.assert_array_equal(found.label, expected.label)

        count += hostile.refused(data.DataError, load)
        path.write_bytes(good[path])
    assert count > CASES


@pytest.mark.parametrize("where", ["value", "key", "inside"])
def test_pickles_with_gadgets(where):
    tree = {
        "value": {b"data": hostile.Gadget()},
        "key": {b"labels": [hostile.Gadget()]},
        "inside": hostile.Gadget(),
    }[where]
    for protocol in range(6):
        content = pickle.dumps(tree, protocol)
        assert hostile.refused(data.DataError, pickles.loads, content, "here")


def test_archives_that_leave_their_folder_or_explode(tmp_path):
    outside = str(tmp_path / "mark-absolute")
    names = ["../mark", "../../mark", outside, "a/../../mark", "mark\0", "/mark"]
    inside = tmp_path / "inside"
    inside.mkdir()
    for name in names:
        md5 = fakes.write_archive(inside / "x.tar.gz", fakes.tar({name: b"x"}))
        arguments = (str(inside / "x.tar.gz"), ["a"], 100, 10**6, md5)
        assert hostile.refused(data.DataError, archives.read_members, *arguments)
    md5 = fakes.write_archive(inside / "x.tar.gz", fakes.tar({"a": bytes(32 << 20)}))
    tracemalloc.reset_peak()  # The bomb was made here.
    arguments = (str(inside / "x.tar.gz"), ["a"], 100, 10**6, md5)
    assert hostile.refused(data.DataError, archives.read_members, *arguments)
    assert tracemalloc.get_traced_memory()[1] < 8 << 20
    assert hostile.listing(inside) == ["x.tar.gz"]


# Run folders.

HPARAMS = {"problem": "digits", "alpha_min": 0.5, "width": 8, "random_seed": 0}
HPARAMS |= {"eval_steps": None, "objective": "elbo", "packed": False}
IDENTITY = {"experiment": "digits", "hparams": HPARAMS}


@pytest.fixture
def folder(tmp_path):
    """A run folder with a checkpoint that fits no model: nothing need be built."""
    path = tmp_path / "run"
    run = run_folder.RunFolder(str(path))
    run.claim("digits", IDENTITY["hparams"])
    run.close()
    manager = checkpoints.CheckpointManager(
        run.checkpoints, checkpoints.fingerprint(HPARAMS)
    )
    manager.save(5, {"model/00000": np.ones([3, 2], np.float32)})
    return path


def test_claiming_a_folder_with_a_hostile_hparams_json(folder):
    rng = random.Random(2)
    for _ in range(CASES):
        content = hostile.damaged(json.dumps(IDENTITY, indent=1).encode(), rng)
        (folder / "hparams.json").write_bytes(content)
        run = run_folder.RunFolder(str(folder))
        if hostile.refused(ValueError, run.claim, "digits", IDENTITY["hparams"]):
            assert (folder / "hparams.json").read_bytes() == content
        run.close()


def test_metrics(folder):
    rng = random.Random(3)
    good = b"".join(b'{"step": %d, "loss": 1.5}\n' % i for i in range(20))
    for text in [
        b"[" * 100_000 + b"\n",
        *(hostile.damaged(good, rng) for _ in range(CASES)),
    ]:
        (folder / "metrics.jsonl").write_bytes(text)
        hostile.refused(ValueError, run_folder.read_metrics, str(folder))
        run = run_folder.RunFolder(str(folder), report=lambda line: None)
        run.claim("digits", IDENTITY["hparams"])  # Drops what is no row.
        run.close()
        for row in run_folder.read_metrics(str(folder)):
            assert type(row["step"]) is int


# Checkpoints.


def repacked(members, compression=zipfile.ZIP_STORED):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def npy_header(shape, dtype):
    text = f"{{'descr': {dtype!r}, 'fortran_order': False, 'shape': {shape}}}"
    text = text.ljust(118 - 1) + "\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()


def test_checkpoints(folder, tmp_path):
    rng = random.Random(4)
    path = folder / "checkpoints" / "step-00000005.npz"
    good = path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    header = json.loads(members["metadata.json"])
    array = members["model/00000.npy"]

    def with_header(value):
        return repacked({**members, "metadata.json": json.dumps(value)})

    def read():
        checkpoints.read(str(path))

    def with_array(content, name="model/00000.npy"):
        return repacked({"metadata.json": members["metadata.json"], name: content})

    bare = pickle.dumps(hostile.Gadget())
    attacks = {
        "nested header": repacked({**members, "metadata.json": "[" * 100_000}),
        "pickled array": with_array(npy_header((1,), "|O") + bare),
        "bare pickle": with_array(bare),
        "giant shape": with_array(npy_header((1 << 40, 1 << 20), "<f4")),
        "giant header": with_array(b"\x93NUMPY\x02\x00\xff\xff\xff\x7f" + array),
        "negative shape": with_array(npy_header((-3, -2), "<f4") + bytes(24)),
        "parent folder": with_array(array, "../../mark.npy"),
        "absolute": with_array(array, str(tmp_path / "mark.npy")),
        "bomb": repacked(
            {**members, "model/00000.npy": bytes(32 << 20)}, zipfile.ZIP_DEFLATED
        ),
    }
    tracemalloc.reset_peak()  # The bomb was made here.
    for name, content in attacks.items():
        path.write_bytes(content)
        found = hostile.refused(
            checkpoints.CheckpointError, checkpoints.read, str(path)
        )
        assert found, name
    assert tracemalloc.get_traced_memory()[1] < 40 << 20
    count = 0
    for case in range(2 * CASES):
        content = (
            with_header(hostile.mutated(header, rng))
            if case % 2
            else hostile.damaged(good, rng)
        )
        path.write_bytes(content)
        count += hostile.refused(
            checkpoints.CheckpointError, checkpoints.read, str(path)
        )
    assert count > CASES
    assert hostile.listing(folder / "checkpoints") == ["step-00000005.npz"]


# Keras's own files: `keras.saving.load_model` guards them; that it does is checked.


@pytest.fixture(scope="module")
def keras_file(tmp_path_factory):
    from deltavae_tf.models import delta_vae, image_decoder

    decoder = image_decoder.ImageDecoder(1, 4, 4, num_mixtures=1, use_latents=False)
    model = delta_vae.DeltaVAE(None, decoder, None)
    model(np.zeros([1, 2, 2, 1], np.uint8))
    path = tmp_path_factory.mktemp("keras") / "model.keras"
    model.save(path)
    keras.saving.load_model(path)
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def lambda_layer():
    layer = keras.layers.Lambda(lambda x: os.system("touch mark") or x)
    return keras.saving.serialize_keras_object(layer)


KERAS_ATTACKS = {
    "lambda": lambda config: {**config["config"], "decoder": lambda_layer()},
    "function": lambda config: {
        **config["config"],
        "decoder": {
            "module": "os",
            "class_name": "function",
            "config": "system",
            "registered_name": "system",
        },
    },  # fmt: skip
    "class": lambda config: {
        **config["config"],
        "decoder": {
            "module": "subprocess",
            "class_name": "Popen",
            "config": {"args": ["touch", "mark"]},
            "registered_name": None,
        },
    },  # fmt: skip
    "wrong types": lambda config: {**config["config"], "decoder": [1, 2]},
    "unknown argument": lambda config: {**config["config"], "decoders": 3},
}


@pytest.mark.parametrize("attack", KERAS_ATTACKS)
def test_keras_configs(attack, keras_file, tmp_path):
    config = json.loads(keras_file["config.json"])
    config["config"] = KERAS_ATTACKS[attack](config)
    path = tmp_path / "model.keras"
    path.write_bytes(repacked({**keras_file, "config.json": json.dumps(config)}))
    with pytest.raises((ValueError, TypeError, AttributeError)):
        keras.saving.load_model(path)


def test_keras_archives(keras_file, tmp_path):
    path = tmp_path / "model.keras"
    good = repacked(keras_file)
    attacks = [b"", b"PK", good[: len(good) // 2], good[:-30]]
    attacks.append(repacked({"config.json": keras_file["config.json"]}))
    bomb = {**keras_file, "config.json": b" " * (8 << 20)}  # Keras refuses above 4 GiB.
    attacks.append(repacked(bomb, zipfile.ZIP_DEFLATED))
    tracemalloc.reset_peak()  # The bomb was made here.
    for content in attacks:
        path.write_bytes(content)
        with pytest.raises((ValueError, OSError, KeyError, zipfile.BadZipFile)):
            keras.saving.load_model(path)
    path.write_bytes(
        repacked({**keras_file, "../mark": b"x", "assets/../../mark": b""})
    )
    keras.saving.load_model(path)  # Nothing unpacks them: `no_harm` looks.
