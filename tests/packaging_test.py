"""The wheel: what is in it, and that what it imports is among its dependencies."""

import ast
import email
import importlib.metadata
import os
import pathlib
import re
import shutil
import subprocess
import sys
import zipfile

import pytest
from packaging import requirements

ROOT = pathlib.Path(__file__).resolve().parents[1]
EXTRAS = {"tensorflow", "jax"}
# Where the name to import is not that of the distribution.
DISTRIBUTIONS = {
    "absl": ["absl-py"],
    "PIL": ["pillow"],
    "tensorflow_probability": ["tensorflow-probability", "tfp-nightly"],
}
# Declared, since TensorFlow, Keras or TFP import them without asking for them.
NOT_IMPORTED = {"tf-keras", "tensorboard", "setuptools"}
IMPORT_ALL = """
import importlib, pkgutil, sys
import deltavae_tf
for module in pkgutil.walk_packages(deltavae_tf.__path__, "deltavae_tf."):
    if module.name.removeprefix("deltavae_tf.") not in sys.argv[1:]:
        importlib.import_module(module.name)
        print(module.name)
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The path of a wheel of this checkout."""
    major = int(importlib.metadata.version("setuptools").partition(".")[0])
    if major < 77:
        pytest.skip(f"building needs setuptools 77, this is {major}")
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    # A copy: what an earlier build left in build/ would get into the wheel.
    hidden = shutil.ignore_patterns("__pycache__", "*.pyc")
    shutil.copytree(ROOT / "deltavae_tf", source / "deltavae_tf", ignore=hidden)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps"]
    command += ["--no-build-isolation", "-w", str(folder), str(source)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    (path,) = folder.glob("*.whl")
    return path


def metadata(wheel):
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [n for n in archive.namelist() if n.endswith(".dist-info/METADATA")]
        return email.message_from_bytes(archive.read(name))


def declared(wheel):
    """Dict from an extra, "" for none, to the names of its distributions."""
    found = {"": set()}
    for line in metadata(wheel).get_all("Requires-Dist"):
        one = requirements.Requirement(line)
        extra = re.search(r'extra == "(\w+)"', str(one.marker or ""))
        found.setdefault(extra[1] if extra else "", set()).add(one.name)
    return found


def imported(source):
    """Roots of what a module imports from outside of Python and of this package."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    roots = {name.partition(".")[0] for name in names}
    return roots - {*sys.stdlib_module_names, "deltavae_tf"}


def test_the_wheel_holds_the_library_and_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = {n for n in archive.namelist() if ".dist-info/" not in n}
    library = (ROOT / "deltavae_tf").rglob("*")
    expected = {
        str(path.relative_to(ROOT))
        for path in library
        if path.suffix == ".py"
        or path.name == "py.typed"
        or (path.is_file() and path.parents[1].name == "presets")
    }
    assert "deltavae_tf/presets/fashion_mnist_14/weights.npz" in names
    assert names == expected and "deltavae_tf/py.typed" in names


def test_the_wheel_has_the_version_of_the_package(wheel):
    text = (ROOT / "deltavae_tf" / "__init__.py").read_text(encoding="utf-8")
    assert metadata(wheel)["Version"] == re.search(r'__version__ = "(.*)"', text)[1]
    assert metadata(wheel)["Requires-Python"] == ">=3.11"


def test_all_imports_are_declared(wheel):
    found = declared(wheel)
    found.pop("docs")  # Tools that build the site; nothing imports them.
    assert set(found) == {"", *EXTRAS}
    everything = set().union(*found.values())
    used = set()
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            if not name.endswith(".py"):
                continue
            for root in imported(archive.read(name)):
                names = DISTRIBUTIONS.get(root, [root])
                assert everything & set(names), f"{name} imports {root}"
                used |= everything & set(names)
    assert used | NOT_IMPORTED == everything
    # A backend and its TFP belong to an extra; the rest is always there.
    for extra in EXTRAS:
        assert extra in found[extra] and extra not in found[""]


@pytest.mark.slow
@pytest.mark.parametrize(
    "extra, not_there",
    [
        ("tensorflow", ["training.jax_engine"]),
        # TensorFlow alone writes SavedModels and has strategies and workers.
        (
            "jax",
            [
                *(
                    f"training.{x}"
                    for x in ("tensorflow_engine", "strategy", "workers")
                ),
                *(f"export.{x}" for x in ("saved_model", "images", "text")),
            ],
        ),
    ],
)
def test_every_module_imports_with_the_dependencies_alone(
    wheel, extra, not_there, tmp_path
):
    folder = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    python = str(folder / "bin" / "python")
    environment = {**os.environ, "KERAS_BACKEND": extra, "PYTHONPATH": ""}
    install = [python, "-m", "pip", "install", "-q"]
    subprocess.run([*install, wheel], check=True, env=environment)
    without = subprocess.run(
        [python, "-c", "import deltavae_tf as d; d.AR1"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=environment,
    )
    assert f'pip install "deltavae-tf[{extra}]"' in without.stderr.splitlines()[-1]
    subprocess.run([*install, f"{wheel}[{extra}]"], check=True, env=environment)
    done = subprocess.run(
        [python, "-c", IMPORT_ALL, *not_there],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=environment,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "deltavae_tf.training.loop" in done.stdout.splitlines()
