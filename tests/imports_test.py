"""Imports point one way, and some modules stay out of some places."""

import ast
import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]
ORDER = [
    ("data",),
    ("deltavae_tf.errors",),
    ("deltavae_tf.units", "deltavae_tf.backend"),
    ("deltavae_tf.noise", "deltavae_tf.segments"),
    ("deltavae_tf.distributions",),
    ("deltavae_tf.layers",),
    ("deltavae_tf.objectives",),
    ("deltavae_tf.models",),
    ("deltavae_tf.training",),
    ("deltavae_tf.sampling", "deltavae_tf.evaluation"),
    ("deltavae_tf.export",),
    ("deltavae_tf.presets",),
    ("experiments",),
]
BACKEND_NEUTRAL = (
    "noise",
    "segments",
    "distributions",
    "layers",
    "objectives",
    "models",
)


def modules():
    for package in ("data", "deltavae_tf", "experiments"):
        for path in sorted((ROOT / package).rglob("*.py")):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            yield name.removesuffix(".__init__"), path


def imported(path):
    """Names imported anywhere in a file, by ast: nothing is run."""
    return imported_in(ast.parse(path.read_text(encoding="utf-8")))


def imported_in(tree):
    """Names imported anywhere in a module's tree."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def run_on_import(path):
    """Roots of what a file imports when it is imported: not for type checkers alone."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    tree.body = [
        node
        for node in tree.body
        if not (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")
    ]
    return {name.split(".")[0] for name in imported_in(tree)}


def place(name):
    for i, prefixes in enumerate(ORDER):
        if any(name == p or name.startswith(p + ".") for p in prefixes):
            return i
    return None


@pytest.mark.parametrize("name, path", modules())
def test_imports_point_left(name, path):
    here = place(name)
    if here is None:
        # The package itself imports nothing of ours, but by name, on first use.
        assert name == "deltavae_tf"
        assert run_on_import(path) <= {"importlib", "typing"}
        return
    wrong = [other for other in imported(path) if (place(other) or 0) > here]
    if name.startswith("deltavae_tf"):
        wrong += [
            o for o in imported(path) if o.split(".")[0] in ("data", "experiments")
        ]
    if name.startswith("data"):
        wrong += [o for o in imported(path) if o.split(".")[0] == "deltavae_tf"]
    assert not wrong, f"{name} imports {wrong}"


@pytest.mark.parametrize("name, path", modules())
def test_who_may_import_what(name, path):
    roots = {other.split(".")[0] for other in imported(path)}
    if not name.startswith("experiments"):
        assert not any(o.startswith("absl.flags") for o in imported(path)), name
    if any(name.startswith(f"deltavae_tf.{part}") for part in BACKEND_NEUTRAL):
        assert not roots & {"tensorflow", "jax", "tensorflow_probability"}, name
    assert "tf_keras" not in roots


# Of programs, benchmarks, the README and the notebooks; all other tests are of the
# library and of data/, and build their models without experiments/.
_OF_PROGRAMS = ("experiments/", "benchmarks_test.py", "readme_test.py")
_OF_PROGRAMS += ("notebooks_test.py", "torch_peer_test.py")


def library_tests():
    for path in sorted((ROOT / "tests").rglob("*.py")):
        name = path.relative_to(ROOT / "tests").as_posix()
        if not name.startswith(_OF_PROGRAMS):
            yield name, path


@pytest.mark.parametrize("name, path", library_tests())
def test_tests_of_the_library_do_without_experiments(name, path):
    roots = {other.split(".")[0] for other in imported(path)}
    # A module of tests/experiments counts as one of experiments/.
    wrong = {o for o in imported(path) if o.startswith("tests.experiments")}
    assert not wrong | roots & {"experiments", "benchmarks"}, name
    # A program that a test hands to another process is a text in it.
    text = path.read_text(encoding="utf-8")
    lines = re.findall(r"^\s*(?:from|import) experiments\b.*", text, re.MULTILINE)
    started = re.findall(r"-m.{0,5}experiments\.\w+", text)
    assert not lines + started, name


def test_that_test_looks_at_the_library():
    names = {name for name, _ in library_tests()}
    assert {"training/loop_test.py", "tiny.py", "models/delta_vae_test.py"} <= names
    assert len(names) > 40
