"""Many of our programs in one process, as each would run in its own.

To start TensorFlow takes longer than what most of them do in a test. Run as a program
it reads a JSON list, of a folder or null and of lists, each a module and its arguments,
and prints one of dicts: `status`, `stdout`, `stderr`, and `files` of the folder.
"""

import contextlib
import hashlib
import json
import os
import pathlib
import runpy
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).parents[2]


def contents(folder):
    """{path: hash} of all files below."""
    folder = pathlib.Path(folder)
    return {
        str(path.relative_to(folder)): hashlib.md5(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def run(lines, watched=None, path=()):
    """What each command line did.

    Args:
      lines: dict from a name to a list: the module and its arguments; or "python" and
        a statement, for what happens in between.
      watched: a folder whose `contents` after each line are wanted, or None.
      path: folders that Python looks for modules in, beside its own.

    Returns:
      dict from the name to a dict: `status` int, `stdout` and `stderr` str; with
      `watched` also `files`.
    """
    done = subprocess.run(
        [sys.executable, "-m", "tests.experiments.commands"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, path))},
        input=json.dumps([watched and str(watched), list(lines.values())]),
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    return dict(zip(lines, json.loads(done.stdout.splitlines()[-1]), strict=True))


def _run_all(watched, lines):
    import tensorflow as tf
    from absl import flags
    from absl.testing import flagsaver

    import experiments  # noqa: F401  (Stays; its modules go after each line.)
    from data import dataset

    # As in conftest.py: to optimize a graph takes longer than to run it here.
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
    known, modules = set(flags.FLAGS), set(sys.modules)
    results = []
    for module, *arguments in lines:
        print(module, *arguments, file=sys.stderr, flush=True)
        saved, sys.argv = flagsaver.save_flag_values(), [module, *arguments]
        texts, status = {}, None
        with _caught(1, texts, "stdout"), _caught(2, texts, "stderr"):
            try:
                if module == "python":
                    exec(arguments[0], {"os": os, "pathlib": pathlib, "shutil": shutil})
                else:
                    runpy.run_module(module, run_name="__main__", alter_sys=True)
            except SystemExit as end:
                status = end.code or 0
        for name in set(flags.FLAGS) - known:
            delattr(flags.FLAGS, name)
        for name in sorted(set(sys.modules) - modules, reverse=True):
            if name.startswith("experiments."):  # Children before their packages.
                parent, _, child = name.rpartition(".")
                delattr(sys.modules[parent], child)
                del sys.modules[name]
            elif name.startswith("my_"):  # What --t2t_usr_dir brought.
                del sys.modules[name]
        dataset._ADDED.clear()
        flagsaver.restore_flag_values(saved)
        results.append({"status": status, **texts})
        if watched:
            results[-1]["files"] = contents(watched)
    return results


@contextlib.contextmanager
def _caught(descriptor, texts, name):
    """Puts what goes to a descriptor, from Python or not, into `texts[name]`."""
    stream = {1: sys.stdout, 2: sys.stderr}[descriptor]
    stream.flush()
    with tempfile.TemporaryFile("w+") as file:
        before = os.dup(descriptor)
        os.dup2(file.fileno(), descriptor)
        try:
            yield
        finally:
            stream.flush()
            os.dup2(before, descriptor)
            os.close(before)
            file.seek(0)
            texts[name] = file.read()


if __name__ == "__main__":
    print(json.dumps(_run_all(*json.load(sys.stdin))))
