r"""Breaks a training run in every way we could think of; checks that nothing is lost.

  python benchmarks/fault_drill.py --folder=/tmp/drill
  python benchmarks/fault_drill.py --folder=/tmp/drill --kills=4 --train_steps=120
  python benchmarks/fault_drill.py --folder=/tmp/drill --kills=6 --kills_only \
      --train_steps=2000 --every=100 --longest_wait=50 --program=cifar10 -- \
      --hparams_set=cifar10_small --eval_use_test_set --data_dir=~/data/cifar10

Trains digits_tiny, or what is asked for, twice: once undisturbed, and once through a
seeded series of faults. Half of the kills (SIGKILL) hit at a random moment, half the
middle of the writing of a checkpoint; between them the newest checkpoint is truncated,
has a bit flipped or is deleted, the disk is full, SIGTERM arrives, and one batch is
poisoned with a NaN. After each fault the same command goes on. Checked after each:
every checkpoint that was whole is still there with the same bytes. Checked at the end:
weights, optimizer and averages equal the undisturbed run's to the bit, and
metrics.jsonl has the same rows, each step once.

Writes `drill.json` into the folder; exit status 1 if anything was lost. About 10
seconds a fault. Interrupted, or ended by --stop_after, the same command goes on where
it was.
"""

import argparse
import atexit
import hashlib
import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import time

import numpy as np

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from deltavae_tf.training import checkpoints, run_folder  # noqa: E402

LONGEST = 3600.0  # Seconds until a process is taken for hung.


class Lost(Exception):
    """What the drill is there to find."""


def require(condition, what):
    """Raises `Lost(what)` unless the condition holds."""
    if not condition:
        raise Lost(what)


class Drill:
    """One run folder under fire."""

    def __init__(self, options):
        self.folder = pathlib.Path(options.folder)
        self.run = self.folder / "broken"
        self.program = options.program
        self.flags = options.flags
        self.train_steps = options.train_steps
        self.every = options.every
        self.longest_wait = options.longest_wait
        self.process = None

    # Processes.

    def start(self, fault="none", run=None):
        """Starts the program in the background."""
        command = [
            *(sys.executable, str(HERE / "faulty_run.py"), fault, self.program),
            *("--schedule=train", f"--train_steps={self.train_steps}"),
            *(f"--local_eval_frequency={self.every}", "--keep_checkpoint_max=0"),
            *(f"--iterations_per_loop={self.every}", "--eval_steps=1", *self.flags),
            f"--output_dir={run or self.run}",
        ]
        log = open(self.folder / "log.txt", "ab")
        environment = {"TF_CPP_MIN_LOG_LEVEL": "2", "CUDA_VISIBLE_DEVICES": ""}
        self.process = subprocess.Popen(
            command,
            env={**os.environ, **environment},
            stdout=log,
            stderr=subprocess.PIPE,
            text=True,
        )
        return self.process

    def finish(self, process):
        """(exit status, standard error) of a process that ends by itself."""
        try:
            _, text = process.communicate(timeout=LONGEST)
        finally:
            process.kill()
        return process.returncode, text

    def wait_until(self, process, condition):
        """Waits for a condition while the process lives."""
        limit = time.monotonic() + LONGEST
        while not condition():
            if process.poll() is not None:
                _, text = process.communicate()
                raise Lost(f"the program ended by itself: {text[-500:]}")
            require(time.monotonic() < limit, "the program hangs")
            time.sleep(0.002)

    def kill(self, process):
        """SIGKILL."""
        process.send_signal(signal.SIGKILL)
        process.communicate()
        require(process.returncode == -signal.SIGKILL, "it ended before the kill")

    # What is on disk.

    def names(self):
        """Whole checkpoints' names, oldest first."""
        return sorted(p.name for p in (self.run / "checkpoints").glob("step-*.npz"))

    def newest(self):
        """Path of the newest checkpoint."""
        return self.run / "checkpoints" / self.names()[-1]

    def hashes(self):
        """{name: hash} of the checkpoints that can be read."""
        found = {}
        for name in self.names():
            path = self.run / "checkpoints" / name
            try:
                checkpoints.read(str(path))
            except checkpoints.CheckpointError:
                continue
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
        return found

    def writing(self):
        """Whether a checkpoint is being written at this moment."""
        return any((self.run / "checkpoints").glob(".step-*.tmp"))

    # Faults; each gets a random generator and returns one line about what it did.

    def kill_anywhere(self, rng):
        """SIGKILL at a random moment: while starting, compiling, training, saving."""
        before = self.names()
        process = self.start()
        if rng.random() < 0.4:
            time.sleep(rng.uniform(0, 12))
            self.kill(process)
            return "killed while starting"
        self.wait_until(process, lambda: self.names() != before)
        time.sleep(rng.uniform(0, self.longest_wait))
        self.kill(process)
        return f"killed after {self.names()[-1]}"

    def kill_in_write(self, rng):
        """SIGKILL in the middle of the writing of a checkpoint."""
        before = len(self.names())
        wanted = before + rng.randrange(2)
        process = self.start("slow_disk")
        self.wait_until(process, lambda: len(self.names()) >= wanted and self.writing())
        time.sleep(rng.uniform(0, 0.2))
        in_write = self.writing()
        self.kill(process)
        where = "in the middle of" if in_write and self.writing() else "just after"
        return f"killed {where} a write, {len(self.names()) - before} new"

    def truncate(self, rng):
        """Cuts the newest checkpoint off."""
        path = self.newest()
        size = path.stat().st_size
        os.truncate(path, rng.randrange(size))
        return f"truncated {path.name} from {size} to {path.stat().st_size} bytes"

    def flip(self, rng):
        """Flips one bit of the newest checkpoint's arrays."""
        path = self.newest()
        content = bytearray(path.read_bytes())
        # The first half is arrays for certain; the end has padding nobody reads.
        place = rng.randrange(len(content) // 4, len(content) // 2)
        content[place] ^= 1 << rng.randrange(8)
        path.write_bytes(content)
        return f"flipped a bit at byte {place} of {path.name}"

    def delete(self, rng):
        """Deletes the newest checkpoint."""
        del rng
        path = self.newest()
        path.unlink()
        return f"deleted {path.name}"

    def no_space(self, rng):
        """The disk is full: the next checkpoint does not fit."""
        size = self.newest().stat().st_size
        status, text = self.finish(self.start(f"small_files={rng.randrange(size)}"))
        require(status == 1 and "could not be written" in text, f"full disk: {text}")
        lines = [x for x in text.splitlines() if x.startswith("error: ")]
        require(len(lines) == 1 and "Traceback" not in text, f"full disk: {text}")
        return f"no space: {lines[0][:100]}"

    def full_tmpfs(self, rng):
        """The run moves to a small file system of its own, which then is full."""
        del rng
        mount = self.folder / "small"
        mount.mkdir(exist_ok=True)
        size = self.newest().stat().st_size
        used = sum(p.stat().st_size for p in self.run.rglob("*") if p.is_file())
        files = sum(1 for _ in self.run.rglob("*"))
        # Half a checkpoint and what the other files need: tmpfs counts pages.
        limit = used + 4096 * files + size // 2 + (64 << 10)
        command = ["mount", "-t", "tmpfs", "-o", f"size={limit}", "tmpfs", str(mount)]
        if subprocess.run(command, capture_output=True).returncode:
            return "skipped: this user may not mount a tmpfs"
        home, self.run = self.run, mount / "run"
        try:
            shutil.copytree(home, self.run)
            whole = self.hashes()
            status, text = self.finish(self.start())
            require(status == 1 and "No space left" in text, f"full tmpfs: {text}")
            require("Traceback" not in text, f"full tmpfs: {text}")
            now = self.hashes()
            require(all(now.get(n) == h for n, h in whole.items()), "full tmpfs: lost")
            shutil.rmtree(home)
            shutil.copytree(self.run, home)
        finally:
            self.run = home
            subprocess.run(["umount", str(mount)], check=True)
        return f"a tmpfs of {limit} bytes was full"

    def sigterm(self, rng):
        """SIGTERM: saves, says the step, exits with 0."""
        before = self.names()
        process = self.start()
        self.wait_until(process, lambda: self.names() != before)
        time.sleep(rng.uniform(0, 0.2))
        process.send_signal(signal.SIGTERM)
        status, text = self.finish(process)
        require(status == 0, f"SIGTERM: exit status {status}: {text[-500:]}")
        step = int(text.split("Stopped by SIGTERM after step ")[1].split(";")[0])
        name = f"step-{step:08d}.npz"
        require(name in self.hashes(), f"SIGTERM: no checkpoint of step {step}")
        return f"SIGTERM saved step {step}"

    def poison(self, rng):
        """One batch gives a NaN: the run stops and names the step; weights are kept."""
        last = checkpoints.read(str(self.newest())).step
        step = last + rng.randrange(1, 2 * self.every)
        status, text = self.finish(self.start(f"poison={step}"))
        named = f"gradient of step {step} is not finite"
        require(status == 1 and named in text, f"poison: {text[-500:]}")
        for name in self.hashes():
            arrays = checkpoints.read(str(self.run / "checkpoints" / name)).arrays
            finite = all(np.isfinite(a).all() for a in arrays.values())
            require(finite, f"poison: {name} is not finite")
        return f"the NaN of step {step} was named"

    def check_ending(self, reference):
        """The last checkpoint and the rows of metrics equal the undisturbed run's."""
        last = f"checkpoints/step-{self.train_steps:08d}.npz"
        one, other = (
            checkpoints.read(str(f / last)).arrays for f in (reference, self.run)
        )
        require(list(one) == list(other), "other arrays at the end")
        different = [k for k in one if not np.array_equal(one[k], other[k])]
        require(not different, f"other bits at the end: {different[:5]}")
        rows = [run_folder.read_metrics(str(f)) for f in (reference, self.run)]
        for row in (*rows[0], *rows[1]):
            del row["steps_per_second"]
        steps = [row["step"] for row in rows[1]]
        require(len(steps) == len(set(steps)), "a step stands twice in metrics.jsonl")
        require(rows[0] == rows[1], "other rows of metrics at the end")
        inside = os.listdir(self.run / "checkpoints")
        require(not [n for n in inside if n.endswith(".tmp")], "temporary files stay")
        return f"{len(one)} arrays and {len(steps)} rows are equal"


def schedule(kills, kills_only, rng):
    """The names of the faults, in order."""
    faults = ["kill_in_write", "kill_anywhere"] * (kills // 2)
    faults += ["kill_in_write"] * (kills % 2)
    if kills_only:
        return faults
    others = ["truncate", "flip", "delete", "no_space", "full_tmpfs", "sigterm"]
    for i, fault in enumerate([*others, "poison"]):
        # Not before the first checkpoint; spread over the kills.
        place = 2 + i * (len(faults) - 2) // 7 + rng.randrange(2)
        faults.insert(min(place + i, len(faults)), fault)
    return ["kill_in_write", *faults][: len(faults) + 1] if kills < 2 else faults


def main():
    """Runs the drill, or goes on with it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", required=True, help="made, or gone on with")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--train_steps", type=int, default=360)
    parser.add_argument("--kills_only", action="store_true", help="no other faults")
    parser.add_argument("--every", type=int, default=5, help="steps to a checkpoint")
    parser.add_argument(
        "--longest_wait",
        type=float,
        default=0.3,
        help="seconds from a new checkpoint to a kill, at most",
    )
    parser.add_argument(
        "--stop_after",
        type=float,
        default=float("inf"),
        help="seconds after which no further fault begins",
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--program", default="digits", help="one of experiments/")
    parser.add_argument(
        "flags",
        nargs="*",
        default=["--hparams_set=digits_tiny"],
        help="behind --: flags of the program",
    )
    options = parser.parse_args()
    folder = pathlib.Path(options.folder)
    folder.mkdir(parents=True, exist_ok=True)
    journal = folder / "drill.json"
    done = json.loads(journal.read_text())["faults"] if journal.exists() else []
    drill = Drill(options)
    # What is drilled must not outlive the drill.
    atexit.register(lambda: drill.process and drill.process.kill())
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("Stopped."))
    reference = folder / "straight"
    started = time.monotonic()

    def note(fault, what, lost=""):
        done.append({"fault": fault, "what": what, "lost": lost})
        write(journal, options, done)
        seconds = time.monotonic() - started
        print(f"{seconds:5.0f} s  {fault:<14} {lost or what}", flush=True)

    last = f"checkpoints/step-{options.train_steps:08d}.npz"
    if not (reference / last).exists():
        shutil.rmtree(reference, ignore_errors=True)  # Resumed, it would not be one.
        status, text = drill.finish(drill.start(run=reference))
        if status:
            sys.exit(f"The undisturbed run failed: {text[-2000:]}")
    faults = schedule(options.kills, options.kills_only, random.Random(options.seed))
    for number, fault in enumerate(faults):
        if number < len(done):
            continue
        if time.monotonic() - started > options.stop_after:
            sys.exit(f"{len(done)} of {len(faults)} faults so far.")
        rng = random.Random(f"{options.seed}/{number}")
        before = drill.hashes()
        touched = drill.names()[-1:] if fault in ("truncate", "flip", "delete") else []
        try:
            what = getattr(drill, fault)(rng)
            now = drill.hashes()
            gone = [n for n, h in before.items() if now.get(n) != h]
            require(set(gone) <= set(touched), f"checkpoints were lost: {gone}")
        except Lost as error:
            note(fault, "", str(error))
            continue
        note(fault, what)
    status, text = drill.finish(drill.start())
    try:
        require(status == 0, f"the last start failed: {text[-500:]}")
        print(drill.check_ending(reference))
    except Lost as error:
        note("ending", "", str(error))
    found = summary(done)
    write(journal, options, done, {**found, "versions": run_folder.versions()})
    print(
        "{injected} faults injected, {hard_kills} of them hard kills, {in_write} in "
        "the middle of a checkpoint's write; {survived} survived, {lost} lost "
        "something.".format(**found)
    )
    sys.exit(bool(found["lost"]))


def write(journal, options, done, more=None):
    """Writes what was done so far, and under which options."""
    names = ("seed", "program", "flags", "train_steps", "every")
    asked = {name: getattr(options, name) for name in names}
    checkpoints.write_json(journal, {**asked, **(more or {}), "faults": done})


def summary(done):
    """Counts of a journal's entries: a dict of ints."""
    injected = [x for x in done if not x["what"].startswith("skipped")]
    kills = [x for x in injected if x["fault"].startswith("kill")]
    lost = [x for x in injected if x["lost"]]
    return {
        "injected": len(injected),
        "hard_kills": len(kills),
        "in_write": sum("in the middle" in x["what"] for x in kills),
        "survived": len(injected) - len(lost),
        "lost": len(lost),
    }


if __name__ == "__main__":
    main()
