"""The fault drill of benchmarks/: at full length in CI, its plan in every run."""

import json
import pathlib
import random
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "benchmarks"))

import fault_drill  # noqa: E402


@pytest.mark.parametrize("kills", [4, 20, 21])
def test_the_schedule_has_every_fault(kills):
    faults = fault_drill.schedule(kills, False, random.Random(0))
    assert len(faults) == kills + 7
    assert faults[0] == "kill_in_write"  # Leaves something to damage.
    assert sum(f.startswith("kill") for f in faults) == kills
    others = {f for f in faults if not f.startswith("kill")}
    assert others == {
        *("truncate", "flip", "delete", "no_space", "full_tmpfs", "sigterm", "poison")
    }


def test_the_kept_drills_figures():
    """The summary is that of the faults, and performance.md has its numbers."""
    path = ROOT / "benchmarks" / "results" / "drill_digits.json"
    found = json.loads(path.read_text())
    counts = fault_drill.summary(found["faults"])
    assert counts.items() <= found.items()
    assert counts["hard_kills"] >= 20 and counts["lost"] == 0
    expected = "{injected} faults injected, {survived} survived, {lost} lost anything"
    text = " ".join((ROOT / "docs" / "performance.md").read_text().split())
    assert expected.format(**counts) in text
    kills = "{hard_kills} hard kills, {in_write} of them in the middle"
    assert kills.format(**counts) in text


def test_the_summary_counts():
    faults = [
        {
            "fault": "kill_in_write",
            "what": "killed in the middle of a write",
            "lost": "",
        },
        {"fault": "kill_anywhere", "what": "killed while starting", "lost": ""},
        {"fault": "flip", "what": "", "lost": "other bits at the end"},
        {"fault": "full_tmpfs", "what": "skipped: no mounts", "lost": ""},
    ]
    assert fault_drill.summary(faults) == {
        "injected": 3, "hard_kills": 2, "in_write": 1, "survived": 2, "lost": 1,
    }  # fmt: skip


@pytest.mark.slow
def test_nothing_is_lost(tmp_path):
    command = [sys.executable, "benchmarks/fault_drill.py", f"--folder={tmp_path}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    faults = json.loads((tmp_path / "drill.json").read_text())["faults"]
    kills = [f for f in faults if f["fault"].startswith("kill")]
    assert len(kills) >= 20 and not any(f["lost"] for f in faults)
    assert sum("in the middle of a write" in f["what"] for f in kills) >= 5
    assert "rows are equal" in done.stdout
