"""The run folder: whose it is, what it keeps, what it refuses."""

import errno
import json
import math
import os
import pathlib
import resource
import subprocess
import sys

import numpy as np
import pytest

from deltavae_tf.training import run_folder

HPARAMS = {"width": 16, "alpha": 0.5, "train_steps": 10, "eval_steps": None}


def claim(path, experiment="cifar10", hparams=None, **kwargs):
    """Claims `path`; returns (folder, resumed, what it reported)."""
    reports = []
    folder = run_folder.RunFolder(str(path), reports.append)
    hparams = {**HPARAMS, **(hparams or {})}
    resumed = folder.claim(
        experiment, hparams, "--seed=1\n", ("train_steps",), **kwargs
    )
    return folder, resumed, reports


def snapshot(path):
    """Every file below `path`, with its bytes and time of writing."""
    return {
        str(p): (p.stat().st_mtime_ns, p.read_bytes() if p.is_file() else None)
        for p in pathlib.Path(path).rglob("*")
    }


@pytest.fixture
def folder(tmp_path):
    with claim(tmp_path / "run")[0] as folder:
        yield folder


def test_new_folder(tmp_path):
    path = tmp_path / "a" / "run"
    folder, resumed, reports = claim(path)
    assert not resumed
    assert reports == [f"Starting a run in {path} (cifar10)."]
    assert sorted(os.listdir(path)) == [
        ".lock",
        "checkpoints",
        "flags.txt",
        "hparams.json",
        "samples",
        "versions.json",
    ]
    assert run_folder.read_identity(str(path)) == ("cifar10", HPARAMS)
    assert (path / "flags.txt").read_text() == "--seed=1\n"
    versions = json.loads((path / "versions.json").read_text())
    assert versions["numpy"] == np.__version__
    assert {"python", "keras", "keras_backend", "platform", "git_commit"} <= {*versions}
    assert folder.saved_model == str(path / "saved_model")


def test_an_empty_folder_is_new(tmp_path):
    assert not claim(tmp_path)[1]


def test_resumes_the_same_run(folder):
    folder.append_metrics({"step": 1})
    folder.close()
    again, resumed, reports = claim(folder.path)
    assert resumed
    assert reports == [f"Resuming the run in {folder.path} (cifar10)."]
    assert run_folder.read_metrics(folder.path) == [{"step": 1}]
    again.close()


def test_what_may_change_is_said(folder):
    folder.close()
    again, resumed, reports = claim(folder.path, hparams={"train_steps": 20})
    assert resumed
    assert reports[0] == "train_steps is now 20, was 10."
    assert run_folder.read_identity(folder.path)[1]["train_steps"] == 20
    again.close()


def test_a_name_that_is_younger_than_the_run_had_its_default(folder):
    folder.close()
    change = {"hparams": {"young": 3, "width": 16}, "defaults": {"young": 3, "far": 1}}
    again, resumed, _ = claim(folder.path, **change)
    assert resumed
    assert run_folder.read_identity(folder.path)[1]["young"] == 3
    again.close()
    change["hparams"] = {**change["hparams"], "younger": 5}
    with pytest.raises(ValueError, match="received younger=5, the folder holds 4"):
        claim(folder.path, **{**change, "defaults": {"younger": 4, "width": 32}})


@pytest.mark.parametrize(
    "change, message",
    [
        ({"experiment": "digits"}, "received experiment='digits', the folder holds"),
        ({"hparams": {"width": 32}}, "received width=32, the folder holds 16"),
        ({"hparams": {"new": 1}}, "received new=1, the folder holds 'nothing'"),
    ],
)
def test_another_run_is_refused_and_nothing_touched(folder, change, message):
    folder.close()
    before = snapshot(folder.path)
    with pytest.raises(ValueError) as error:
        claim(folder.path, **change)
    assert f"{folder.path} belongs to another run: {message}" in str(error.value)
    assert snapshot(folder.path) == before


def test_all_differing_keys_are_named(folder):
    folder.close()
    with pytest.raises(ValueError) as error:
        claim(folder.path, hparams={"width": 32, "alpha": 0.7, "train_steps": 3})
    assert "width=32" in str(error.value) and "alpha=0.7" in str(error.value)
    assert "train_steps" not in str(error.value)


def test_not_a_run_folder(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    before = snapshot(tmp_path)
    with pytest.raises(ValueError, match="not a run folder: it has 'thesis.tex'"):
        claim(tmp_path)
    assert snapshot(tmp_path) == before


def test_a_file_and_a_url(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="must be a folder"):
        claim(tmp_path / "file")
    with pytest.raises(ValueError, match="on a local disk.*'gs://bucket/run'"):
        run_folder.RunFolder("gs://bucket/run")


def test_damaged_identity(folder):
    folder.close()
    pathlib.Path(folder.hparams).write_text('{"experiment": ')
    with pytest.raises(ValueError, match="hparams.json is damaged"):
        claim(folder.path)


def test_a_claim_killed_half_way_can_be_repeated(tmp_path):
    (tmp_path / ".lock").write_text("1\n")
    (tmp_path / ".hparams.json.1.tmp").write_text('{"exper')
    assert not claim(tmp_path)[1]
    assert not (tmp_path / ".hparams.json.1.tmp").exists()


HOLDER = """
import fcntl, os, sys
with open(sys.argv[1], "w") as lock:
    fcntl.flock(lock, fcntl.LOCK_EX)
    print(os.getpid(), file=lock, flush=True)
    print(flush=True)
    sys.stdin.read()
"""


def test_no_two_processes(folder):
    folder.close()
    command = [sys.executable, "-c", HOLDER, os.path.join(folder.path, ".lock")]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe) as holder:
        holder.stdout.readline()
        before = snapshot(folder.path)
        with pytest.raises(BlockingIOError) as error:
            claim(folder.path)
        text = f"In use by another process (pid {holder.pid}): '{folder.path}'"
        assert text in str(error.value)
        assert snapshot(folder.path) == before
        holder.stdin.close()
    with claim(folder.path)[0]:
        # Ours now, and a second claim of our own does not share it either.
        with pytest.raises(BlockingIOError, match=rf"\(pid {os.getpid()}\)"):
            claim(folder.path)


def test_claim_leaves_no_lock_behind_when_it_fails(tmp_path, monkeypatch):
    failed = run_folder.RunFolder(str(tmp_path))
    with monkeypatch.context() as patch:
        patch.setattr(run_folder, "versions", lambda: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            failed.claim("cifar10", HPARAMS)
    claim(tmp_path)[0].close()  # `failed` is still alive here, its lock is not.
    failed.close()


def test_metrics_round_trip(folder):
    row = {
        "step": np.int64(2**60 + 1),
        "rate_nats": np.float32(0.5),
        "split": "test",
        "aux": None,
        "on": True,
    }
    folder.append_metrics(row)
    folder.append_metrics({"step": 2, "rate_nats": 1})
    lines = pathlib.Path(folder.metrics).read_text().splitlines()
    assert len(lines) == 2
    expected = {**row, "step": 2**60 + 1, "rate_nats": 0.5}
    assert json.loads(lines[0]) == expected
    assert run_folder.read_metrics(folder.metrics)[0] == expected


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, np.float32("nan")])
def test_not_finite(folder, bad):
    with pytest.raises(FloatingPointError) as error:
        folder.append_metrics({"step": 7, "rate_nats": bad, "lr": 1.0})
    assert str(error.value) == f"Not finite at step 7: rate_nats={float(bad)}"
    rows = run_folder.read_metrics(folder.path)
    assert rows == [{"step": 7, "rate_nats": str(float(bad)), "lr": 1.0}]


@pytest.mark.parametrize("step", [None, 1.5, "1", True])
def test_rows_need_a_step(folder, step):
    with pytest.raises(ValueError, match="int 'step'"):
        folder.append_metrics({"step": step})
    assert not os.path.exists(folder.metrics)


def test_truncate(folder):
    for step in (1, 2, 3, 3, 4):
        folder.append_metrics({"step": step, "x": 0.5})
    with open(folder.metrics, "ab") as file:
        file.write(b'{"step": 2, "x"')
    assert [r["step"] for r in run_folder.read_metrics(folder.path)] == [1, 2, 3, 3, 4]
    assert folder.truncate_metrics(2) == 4
    assert [r["step"] for r in run_folder.read_metrics(folder.path)] == [1, 2]
    inode = os.stat(folder.metrics).st_ino
    assert folder.truncate_metrics(2) == 0
    assert os.stat(folder.metrics).st_ino == inode
    folder.append_metrics({"step": 3})
    assert [r["step"] for r in run_folder.read_metrics(folder.path)] == [1, 2, 3]
    assert sorted(n for n in os.listdir(folder.path) if n.endswith("tmp")) == []


def test_a_half_row_goes_on_resume(folder):
    folder.append_metrics({"step": 1})
    with open(folder.metrics, "ab") as file:
        file.write(b'{"step": 2')
    folder.close()
    again, _, reports = claim(folder.path)
    assert "Dropped line 2" in reports[0]
    again.append_metrics({"step": 2})
    assert run_folder.read_metrics(folder.path) == [{"step": 1}, {"step": 2}]
    again.close()


def test_truncate_without_metrics(folder):
    assert folder.truncate_metrics(0) == 0


def test_reading_garbage(folder):
    pathlib.Path(folder.metrics).write_bytes(b'{"step": 1}\n\0\0\n{"step": 2}\n')
    with pytest.raises(ValueError, match="metrics.jsonl: line 2 is not a row"):
        run_folder.read_metrics(folder.path)


def test_full_disk_leaves_no_half_row(folder):
    """A limit on the file's size stands in for a full disk: both end a write short."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(OSError, match="No metrics written at step") as error:
            for step in range(100):
                folder.append_metrics({"step": step, "x": "y" * 50})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert os.strerror(errno.EFBIG) in str(error.value)
    rows = run_folder.read_metrics(folder.path)
    assert len(rows) > 5
    assert pathlib.Path(folder.metrics).read_bytes().endswith(b"}\n")


def test_read_identity_of_nothing(tmp_path):
    with pytest.raises(FileNotFoundError, match="not a run folder"):
        run_folder.read_identity(str(tmp_path))


def test_training_seconds_counts_each_step_at_its_own_speed():
    rows = [
        {"step": 10, "steps_per_second": 2.0},
        {"step": 30, "steps_per_second": 4.0},
        {"step": 31, "steps_per_second": 0.5, "eval_nelbo_bpd": 1.0},
    ]
    assert run_folder.training_seconds(rows) == 5 + 5 + 2
    assert run_folder.training_seconds([]) == 0


def test_hardware_is_one_line_with_the_number_of_cores():
    line = run_folder.hardware()
    assert line.endswith(f", {os.cpu_count()} cores") and "\n" not in line
    assert not line.startswith(",")


def test_the_command_of_a_program_names_no_folder_of_one_machine(monkeypatch):
    root = pathlib.Path(__file__).parents[2]
    argv = [str(root / "experiments" / "digits.py"), "--output_dir=x"]
    monkeypatch.setattr(sys, "argv", argv)
    command = run_folder.versions()["command"]
    assert command == [os.path.join("experiments", "digits.py"), "--output_dir=x"]
