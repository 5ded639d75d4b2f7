"""Checkpoints: whole, or refused with a reason; never half, never lost."""

import errno
import importlib.util
import io
import json
import os
import pathlib
import random
import shutil
import signal
import struct
import subprocess
import sys
import textwrap
import time
import zipfile

import keras
import ml_dtypes
import numpy as np
import pytest

from deltavae_tf.training import checkpoints

ROOT = str(pathlib.Path(__file__).parents[2])
METADATA = {"paths": {"model/00000": "dense/kernel"}, "seed": 3}


def make_arrays(step, size=200):
    generator = np.random.default_rng(step)
    return {
        "model/00000": generator.normal(size=[size, 3]).astype("float32"),
        "model/00001": np.float32(step),
        "model/00002": np.zeros([0, 2], "float32"),
        "optimizer/00000": np.int64(step),
    }


def assert_arrays(found, expected):
    assert list(found) == list(expected)
    for key, value in expected.items():
        assert found[key].dtype == value.dtype, key
        np.testing.assert_array_equal(found[key], value)


class Manager(checkpoints.CheckpointManager):
    """A manager whose reports are collected."""

    def __init__(self, directory, fingerprint="aaaa", keep_max=20):
        self.reports = []
        super().__init__(str(directory), fingerprint, keep_max, self.reports.append)


@pytest.fixture
def manager(tmp_path):
    manager = Manager(tmp_path)
    for step in (1000, 2000, 3000):
        manager.save(step, make_arrays(step), METADATA)
    return manager


def names(folder):
    return sorted(os.listdir(folder))


def damage(manager, step, how):
    path = manager.path(step)
    data = bytearray(pathlib.Path(path).read_bytes())
    pathlib.Path(path).write_bytes(how(data))
    return path


def flip(offset, bit=0):
    def how(data):
        data[offset] ^= 1 << bit
        return data

    return how


def test_round_trip(manager, tmp_path):
    found = Manager(tmp_path).restore_latest(like=make_arrays(0))
    assert (found.step, found.metadata) == (3000, METADATA)
    assert found.path == str(tmp_path / "step-00003000.npz")
    assert_arrays(found.arrays, make_arrays(3000))
    found.arrays["model/00000"][:] = 0  # They are the caller's own.
    assert manager.steps() == [1000, 2000, 3000]
    assert manager.reports == []


def test_numpy_opens_it(manager):
    with np.load(manager.path(1000), allow_pickle=False) as file:
        np.testing.assert_array_equal(
            file["model/00000"], make_arrays(1000)["model/00000"]
        )


def test_empty_folder(tmp_path):
    assert Manager(tmp_path / "new").restore_latest() is None


@pytest.mark.parametrize("keep_max, kept", [(2, [3, 4]), (0, [1, 2, 3, 4]), (1, [4])])
def test_prunes_old_ones(tmp_path, keep_max, kept):
    manager = Manager(tmp_path, keep_max=keep_max)
    for step in (1, 2, 3, 4):
        manager.save(step, make_arrays(step))
    assert manager.steps() == kept


def test_prune_keeps_and_does_not_count_unusable_ones(tmp_path):
    manager = Manager(tmp_path, keep_max=2)
    Manager(tmp_path, "bbbb").save(50, make_arrays(50))
    for step in (10, 20, 30):
        manager.save(step, make_arrays(step))
    damage(manager, 30, flip(-400))
    manager.save(40, make_arrays(40))
    # 10 was pruned when 30 was still whole; of 20, 30, 40, 50 two are whole.
    assert manager.steps() == [20, 30, 40, 50]


def test_prune_never_takes_the_new_one(manager):
    manager.keep_max = 1
    manager.save(500, make_arrays(500))
    assert manager.steps() == [500]


DAMAGE = {
    "truncated": lambda data: data[: len(data) // 2],
    "half the metadata": lambda data: data[:80],
    "empty": lambda data: b"",
    "text": lambda data: b"hello",
    "bit in an array": flip(1500),
    "zeroed block": lambda data: data[:512] + bytes(512) + data[1024:],
    "last byte missing": lambda data: data[:-1],
}


@pytest.mark.parametrize("how", DAMAGE.values(), ids=DAMAGE)
def test_damaged_is_skipped_and_said(manager, how):
    path = damage(manager, 3000, how)
    before = pathlib.Path(path).read_bytes()
    found = manager.restore_latest()
    assert_arrays(found.arrays, make_arrays(2000))
    assert len(manager.reports) == 1
    assert "step-00003000.npz (damaged" in manager.reports[0]
    assert f"Using {manager.path(2000)} instead" in manager.reports[0]
    assert pathlib.Path(path).read_bytes() == before


def test_two_damaged(manager):
    damage(manager, 3000, DAMAGE["truncated"])
    damage(manager, 2000, DAMAGE["bit in an array"])
    assert manager.restore_latest().step == 1000
    assert ["00003000" in r for r in manager.reports] == [True, False]


def test_none_usable_is_an_error(manager):
    for step in manager.steps():
        damage(manager, step, DAMAGE["truncated"])
    before = names(manager.directory)
    with pytest.raises(checkpoints.CheckpointError) as error:
        manager.restore_latest()
    assert "None of the 3 checkpoints" in str(error.value)
    assert names(manager.directory) == before


def test_another_experiments_checkpoint(manager, tmp_path):
    Manager(tmp_path, "bbbb").save(4000, make_arrays(4000))
    assert manager.restore_latest().step == 3000
    assert (
        "of another experiment: fingerprint bbbb, expected aaaa" in manager.reports[0]
    )
    # Without a fingerprint any experiment's is read: a warm start.
    assert checkpoints.read(manager.path(4000)).step == 4000


def test_another_format(manager):
    rewrite(manager.path(3000), header={"format": 99})
    assert manager.restore_latest().step == 2000
    assert "format 99; this version reads format 1" in manager.reports[0]


def test_renamed(manager):
    shutil.copy(manager.path(1000), manager.path(4000))
    assert manager.restore_latest().step == 3000
    assert "renamed: it holds step 1000" in manager.reports[0]


def rewrite(path, header=None, members=None, drop=(), compression=zipfile.ZIP_STORED):
    """Writes the file anew with right CRCs: what an attacker or a bug would leave."""
    with zipfile.ZipFile(path) as archive:
        held = {name: archive.read(name) for name in archive.namelist()}
    values = {**json.loads(held["metadata.json"]), **(header or {})}
    held = {**held, "metadata.json": json.dumps(values).encode(), **(members or {})}
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in held.items():
            if name not in drop:
                archive.writestr(name, data)


def npy(array, allow_pickle=False):
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=allow_pickle)
    return stream.getvalue()


class Evil:
    def __reduce__(self):
        return (pathlib.Path("/tmp/deltavae_tf_was_here").touch, ())


def huge_npy():
    """A header that declares 64 TiB, without the data."""
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        stream, {"descr": "<f4", "fortran_order": False, "shape": (2**44,)}
    )
    return stream.getvalue()


FORGED = {
    "no metadata": {"drop": ["metadata.json"]},
    "an array less": {"drop": ["model/00001.npy"]},
    "an array more": {"members": {"model/00009.npy": npy(np.zeros(3))}},
    "another shape": {"members": {"model/00001.npy": npy(np.zeros(3, "float32"))}},
    "another dtype": {"members": {"model/00001.npy": npy(np.float64(3))}},
    "objects": {
        "members": {"model/00001.npy": npy(np.array([Evil()], object), True)},
    },
    "declared objects": {
        "header": {"arrays": {"model/00001": [[1], "object"]}},
        "members": {"model/00001.npy": npy(np.array([Evil()], object), True)},
        "drop": ["model/00000.npy", "model/00002.npy", "optimizer/00000.npy"],
    },
    "huge array": {
        "header": {"arrays": {"model/00001": [[2**44], "float32"]}},
        "members": {"model/00001.npy": huge_npy()},
        "drop": ["model/00000.npy", "model/00002.npy", "optimizer/00000.npy"],
    },
    "zip bomb": {
        "members": {"model/00000.npy": bytes(50_000_000)},
        "compression": zipfile.ZIP_DEFLATED,
    },
    "metadata no object": {"members": {"metadata.json": b"[1, 2]"}},
    "metadata no JSON": {"members": {"metadata.json": b"{"}},
    "metadata lacks a field": {"members": {"metadata.json": b'{"format": 1}'}},
}


@pytest.mark.parametrize("forgery", FORGED.values(), ids=FORGED)
def test_forged_is_refused(manager, forgery):
    rewrite(manager.path(3000), **forgery)
    assert manager.restore_latest().step == 2000
    assert "00003000" in manager.reports[0]
    assert not os.path.exists("/tmp/deltavae_tf_was_here")


def test_a_bomb_is_not_unpacked(manager, monkeypatch):
    rewrite(manager.path(3000), **FORGED["zip bomb"])
    read = []
    original = zipfile.ZipFile.read
    monkeypatch.setattr(
        zipfile.ZipFile, "read", lambda *args: read.append(args) or original(*args)
    )
    with pytest.raises(checkpoints.CheckpointError, match="compression"):
        manager.restore(manager.path(3000))
    assert not read


def payloads(path):
    """Where in the file the members' own bytes are, the zip's headers left out."""
    places = set()
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            header = pathlib.Path(path).read_bytes()[info.header_offset :][:30]
            lengths = struct.unpack("<HH", header[26:])
            start = info.header_offset + 30 + sum(lengths)
            places.update(range(start, start + info.file_size))
    return places


def test_every_flipped_bit_is_found_or_harmless(tmp_path):
    """One flipped bit at 600 random places, and at each of the directory."""
    manager = Manager(tmp_path)
    expected = make_arrays(7, size=20)
    path = manager.save(7, expected, METADATA)
    whole = pathlib.Path(path).read_bytes()
    inside = payloads(path)
    assert 0.5 * len(whole) < len(inside) < len(whole)
    generator = random.Random(0)
    offsets = [generator.randrange(len(whole)) for _ in range(600)]
    offsets += range(whole.index(b"PK\x01\x02"), len(whole))
    harmless = 0
    for offset in offsets:
        damage(manager, 7, flip(offset, generator.randrange(8)))
        try:
            got = manager.restore(path)
        except checkpoints.CheckpointError:
            pass
        else:
            harmless += 1
            assert offset not in inside
            assert (got.step, got.metadata) == (7, METADATA), offset
            assert_arrays(got.arrays, expected)
        pathlib.Path(path).write_bytes(whole)
    assert 0 < harmless < len(offsets) / 2
    assert_arrays(manager.restore(path).arrays, expected)


def test_like(manager):
    def refused(like):
        with pytest.raises(checkpoints.CheckpointError) as error:
            manager.restore(manager.path(3000), like)
        return str(error.value)

    like = make_arrays(0)
    manager.restore(manager.path(3000), like)
    manager.restore(manager.path(3000), {"optimizer/00000": np.int64(0)})
    more = refused({**like, "model/00003": np.float32(0)})
    assert "lacks 'model/00003' (4 arrays, expected 5)" in more
    fewer = {key: like[key] for key in list(like) if key != "model/00001"}
    assert "has 'model/00001'" in refused(fewer)
    shape = refused({**like, "model/00000": np.zeros([4, 3], "float32")})
    assert "'model/00000' is float32 [200, 3], expected float32 [4, 3]" in shape
    assert "expected float64 []" in refused({**like, "model/00001": np.float64(0)})
    assert "lacks 'average/00000'" in refused({"average/00000": np.float32(0)})


def test_restore_latest_passes_like_on(manager):
    with pytest.raises(checkpoints.CheckpointError, match="does not fit"):
        manager.restore_latest(like={"model/00000": np.zeros([4, 3], "float32")})


def test_missing_file(manager):
    with pytest.raises(checkpoints.CheckpointError, match="No such file"):
        manager.restore(manager.path(9))


def test_a_new_checkpoint_does_not_overwrite_a_damaged_one(manager):
    path = damage(manager, 3000, DAMAGE["truncated"])
    before = pathlib.Path(path).read_bytes()
    manager.save(3000, make_arrays(3000))
    assert pathlib.Path(f"{path}.unusable-1").read_bytes() == before
    assert_arrays(manager.restore(path).arrays, make_arrays(3000))
    # A whole one of the same step is simply replaced.
    manager.save(3000, make_arrays(1))
    assert manager.steps() == [1000, 2000, 3000]
    assert len(names(manager.directory)) == 4


@pytest.mark.parametrize(
    "value, received",
    [
        (np.array([object()]), "object"),
        (np.zeros(2, ml_dtypes.bfloat16), "bfloat16"),
        (np.array(["a"]), "<U1"),
    ],
)
def test_refuses_what_it_cannot_hold(manager, value, received):
    with pytest.raises(ValueError) as error:
        manager.save(1, {"model/00000": value})
    assert f"cast 'model/00000' to float32 first. Received: {received}" in str(
        error.value
    )
    assert manager.steps() == [1000, 2000, 3000]


def assert_untouched(manager):
    expected = [f"step-0000{step}.npz" for step in (1000, 2000, 3000)]
    assert names(manager.directory) == expected
    for step in (1000, 2000, 3000):
        assert_arrays(manager.restore(manager.path(step)).arrays, make_arrays(step))


@pytest.mark.parametrize("where", ["write", "fsync", "replace"])
def test_full_disk_leaves_everything_as_it_was(manager, monkeypatch, where):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    manager.keep_max = 1
    with monkeypatch.context() as patch:
        if where == "write":
            patch.setattr(np.lib.format, "write_array", full)
        else:
            patch.setattr(os, where, full)
        with pytest.raises(OSError) as error:
            manager.save(4000, make_arrays(4000))
    assert error.value.errno == errno.ENOSPC
    text = str(error.value)
    assert "checkpoint of step 4000 could not be written (No space left" in text
    assert "the 3 others are intact" in text and "\n" not in text
    assert_untouched(manager)


def test_a_really_full_disk(tmp_path):
    if os.geteuid() or shutil.which("mount") is None:
        pytest.skip("Mounting needs root.")
    mount = ["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", str(tmp_path)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("Mounting a tmpfs is not permitted.")
    try:
        manager = Manager(tmp_path)
        manager.save(1, make_arrays(1, size=4000))
        with pytest.raises(OSError, match="No space left.*1 others are intact"):
            manager.save(2, make_arrays(2, size=20_000))
        assert names(tmp_path) == ["step-00000001.npz"]
        assert_arrays(manager.restore_latest().arrays, make_arrays(1, size=4000))
        manager.save(2, make_arrays(2, size=2))  # There is room again.
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


def test_an_interrupted_save_leaves_nothing(manager, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", interrupt)
        with pytest.raises(KeyboardInterrupt):
            manager.save(4000, make_arrays(4000))
    assert_untouched(manager)


# Imports once; then each line of input starts a child that saves until it is killed.
WRITER = """
import os, sys
import numpy as np
from deltavae_tf.training import checkpoints

for _ in sys.stdin:
    child = os.fork()
    if not child:
        manager = checkpoints.CheckpointManager(sys.argv[1], "aaaa", keep_max=3)
        step = max([0, *manager.steps()])
        print(os.getpid(), flush=True)
        while True:
            step += 1
            arrays = {"model/00000": np.full([300_000], step, "float32")}
            manager.save(step, arrays, {"step": step})
    os.waitpid(child, 0)
    print("dead", flush=True)
"""


def test_kill_9_at_any_moment(tmp_path):
    """A writer killed while it saves in a loop costs at most the step under way."""
    generator = random.Random(1)
    stale = before = 0
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": ROOT},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        bufsize=1,
    ) as writer:
        for _ in range(6):
            writer.stdin.write("go\n")
            child = int(writer.stdout.readline())
            deadline = time.monotonic() + 20
            while not (tmp_path / f"step-{before + 1:08d}.npz").exists():
                assert time.monotonic() < deadline, "The writer does not write."
                time.sleep(0.001)
            time.sleep(generator.uniform(0.0, 0.1))
            os.kill(child, signal.SIGKILL)
            assert writer.stdout.readline() == "dead\n"
            stale += any(name.endswith(".tmp") for name in os.listdir(tmp_path))
            manager = Manager(tmp_path)
            newest = manager.steps()[-1]
            found = manager.restore_latest()
            assert manager.reports == []
            assert found.step == newest > before
            assert_arrays(
                found.arrays,
                {"model/00000": np.full([300_000], newest, "float32")},
            )
            # Between a save and its pruning there is one more.
            assert len(manager.steps()) in (min(3, newest), 4)
            assert not any(name.endswith(".tmp") for name in os.listdir(tmp_path))
            before = newest
        writer.stdin.close()
    assert stale, "No kill hit a write: the test has to be aimed better."


def test_stale_temporary_files(manager):
    folder = manager.directory
    stale = os.path.join(folder, ".step-00004000.npz.1.tmp")
    pathlib.Path(stale).write_bytes(b"half")
    other = os.path.join(folder, "mine.tmp")
    pathlib.Path(other).write_bytes(b"not ours")
    # This process is alive and half-way through a write.
    with checkpoints.atomic_file(manager.path(4000)) as file:
        file.write(b"half")
        Manager(folder)
        live = f".step-00004000.npz.{os.getpid()}.tmp"
        assert live in names(folder)
        assert os.path.basename(stale) not in names(folder)
        assert "mine.tmp" in names(folder)
    assert live not in names(folder)


def test_atomic_file_syncs_file_then_renames_then_syncs_folder(tmp_path, monkeypatch):
    calls = []

    def record(name):
        original = getattr(os, name)

        def recorded(*args):
            calls.append(name)
            return original(*args)

        monkeypatch.setattr(os, name, recorded)

    record("fsync")
    record("replace")
    with checkpoints.atomic_file(tmp_path / "a") as file:
        file.write(b"1")
    assert calls == ["fsync", "replace", "fsync"]
    assert (tmp_path / "a").read_bytes() == b"1"


def test_written_under_another_backend_loads_here(tmp_path):
    """The file knows nothing of a backend; run where JAX is installed too."""
    if importlib.util.find_spec("jax") is None:
        pytest.skip("JAX is not installed.")
    script = tmp_path / "writer.py"
    script.write_text(
        textwrap.dedent(f"""
        import sys
        import keras, numpy as np
        from deltavae_tf.training import checkpoints

        model = keras.Sequential([keras.Input([3]), keras.layers.Dense(2)])
        model.layers[0].kernel.assign(np.arange(6.0).reshape(3, 2))
        sections = {{"model": model.variables}}
        manager = checkpoints.CheckpointManager({str(tmp_path)!r}, "aaaa")
        arrays = checkpoints.variables_to_arrays(sections)
        manager.save(5, arrays, {{"paths": checkpoints.paths(sections)}})
        print(keras.config.backend(), "tensorflow" in sys.modules)
        """)
    )
    environment = {**os.environ, "PYTHONPATH": ROOT, "KERAS_BACKEND": "jax"}
    done = subprocess.run(
        [sys.executable, script], env=environment, capture_output=True, text=True
    )
    assert done.stdout.split() == ["jax", "False"], done.stderr
    model = keras.Sequential([keras.Input([3]), keras.layers.Dense(2)])
    sections = {"model": model.variables}
    found = Manager(tmp_path).restore_latest(like=checkpoints.keyed(sections))
    assert found.metadata["paths"]["model/00000"].endswith("kernel")
    checkpoints.assign_arrays(sections, found.arrays)
    np.testing.assert_array_equal(
        model.layers[0].kernel.numpy(), np.arange(6.0).reshape(3, 2)
    )


def make_model():
    model = keras.Sequential([keras.Input([3]), keras.layers.Dense(2)])
    optimizer = keras.optimizers.Adam()
    optimizer.build(model.trainable_variables)
    return {"model": model.variables, "optimizer": optimizer.variables}


def test_variables_round_trip(tmp_path):
    first, second = make_model(), make_model()
    first["optimizer"][0].assign(12345)
    first["optimizer"][2].assign(np.full([3, 2], 0.25))
    arrays = checkpoints.variables_to_arrays(first)
    assert len(arrays) == len(first["model"]) + len(first["optimizer"])
    manager = Manager(tmp_path)
    manager.save(1, arrays)
    like = checkpoints.keyed(second)
    checkpoints.assign_arrays(second, manager.restore_latest(like=like).arrays)
    assert_arrays(checkpoints.variables_to_arrays(second), arrays)
    # A later step does not reach into what was taken.
    first["model"][0].assign_add(np.ones([3, 2]))
    assert not np.array_equal(first["model"][0].numpy(), arrays["model/00000"])


def test_assign_is_all_or_nothing():
    sections = make_model()
    before = checkpoints.variables_to_arrays(sections)
    arrays = {key: value + np.ones_like(value) for key, value in before.items()}
    last = list(arrays)[-1]
    wrong = {
        "count": {k: v for k, v in arrays.items() if k != last},
        "shape": {**arrays, last: np.zeros([7], arrays[last].dtype)},
        "dtype": {**arrays, last: arrays[last].astype("float64")},
        "extra": {**arrays, "optimizer/00099": np.float32(0)},
    }
    for name, bad in wrong.items():
        with pytest.raises(checkpoints.CheckpointError) as error:
            checkpoints.assign_arrays(sections, bad)
        if name != "extra":
            assert checkpoints.paths(sections)[last] in str(error.value), name
        assert_arrays(checkpoints.variables_to_arrays(sections), before)
    checkpoints.assign_arrays({"model": sections["model"]}, arrays)
    now = checkpoints.variables_to_arrays(sections)
    assert_arrays(
        now, {k: (arrays if k.startswith("model") else before)[k] for k in before}
    )


def test_fingerprint():
    one = checkpoints.fingerprint({"a": 1, "b": 2.0})
    assert one == checkpoints.fingerprint({"b": 2.0, "a": 1})
    assert one != checkpoints.fingerprint({"a": 1, "b": 2.5})
    assert len(one) == 16


@pytest.mark.parametrize("step", [-1, 1.5])
def test_bad_step(tmp_path, step):
    with pytest.raises(ValueError, match="non-negative int"):
        Manager(tmp_path).save(step, {})


def test_bad_arguments(tmp_path):
    with pytest.raises(ValueError, match="keep_max"):
        Manager(tmp_path, keep_max=-1)
    with pytest.raises(ValueError, match="no '/'"):
        checkpoints.keyed({"a/b": []})


def test_write_json_replaces_a_file_whole_or_not_at_all(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    checkpoints.write_json("~/a.json", {"b": [1, 2.5], "a": "text"})
    assert (tmp_path / "a.json").read_text().endswith("}\n")
    assert json.loads((tmp_path / "a.json").read_text()) == {"b": [1, 2.5], "a": "text"}
    with pytest.raises(TypeError):
        checkpoints.write_json("~/a.json", {"b": object()})
    assert json.loads((tmp_path / "a.json").read_text())["a"] == "text"
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]
