"""What `import deltavae_tf` gives, and what it says where a backend is missing."""

import ast
import importlib.util
import os
import pathlib
import subprocess
import sys

import pytest

import deltavae_tf

ROOT = pathlib.Path(__file__).resolve().parents[1]
SOURCE = ROOT / "deltavae_tf" / "__init__.py"
HEAVY = ("keras", "tensorflow", "tensorflow_probability", "jax", "numpy", "scipy")
SLOW = pytest.mark.slow  # They import TensorFlow first.

# Makes these packages as absent as on a machine that never installed them.
WITHOUT = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {absent!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Absent())
"""


def run(code, **environment):
    """Runs Python in the root of the checkout: the finished process."""
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )


def there(name):
    """Whether the module of a public name is written."""
    module = deltavae_tf._MODULES.get(name, "errors").replace(".", "/")
    return (ROOT / "deltavae_tf" / f"{module}.py").exists()


def test_every_public_name_is_what_its_module_has():
    for name in deltavae_tf.__all__:
        if not there(name):
            continue
        value = getattr(deltavae_tf, name)
        if name != "__version__":
            assert value.__name__ == name
            assert value.__module__ == f"deltavae_tf.{deltavae_tf._MODULES[name]}"


def test_the_three_lists_of_names_are_one():
    listed = set(deltavae_tf.__all__) - {"__version__"}
    assert listed == set(deltavae_tf._MODULES)
    assert deltavae_tf.__all__ == sorted(deltavae_tf.__all__)
    typed = {
        alias.name: node.module
        for node in ast.walk(ast.parse(SOURCE.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and node.module.startswith("deltavae_tf")
        for alias in node.names
    }
    assert typed == {k: f"deltavae_tf.{v}" for k, v in deltavae_tf._MODULES.items()}
    assert set(deltavae_tf.__all__) <= set(dir(deltavae_tf))


def test_the_import_alone_imports_nothing_else():
    code = f"""
import sys, time
start = time.perf_counter()
import deltavae_tf
seconds = time.perf_counter() - start
deltavae_tf.__version__, deltavae_tf.UserError, dir(deltavae_tf)
found = [name for name in {HEAVY!r} if name in sys.modules]
assert not found, found
assert seconds < 0.5, seconds
"""
    done = run(code)
    assert done.returncode == 0, done.stderr


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="'deltavae_tf' has no attribute 'AR2'"):
        _ = deltavae_tf.AR2
    with pytest.raises(ImportError, match="AR2"):
        exec("from deltavae_tf import AR2")


def test_a_module_is_found_after_a_name_was():
    code = "import deltavae_tf as d; d.UserError; d.errors; d.UserError is 1 and d.x"
    assert run(code).returncode == 0


@pytest.mark.parametrize(
    "absent, backend, extra",
    [
        (["tensorflow"], "tensorflow", "tensorflow"),
        (["tensorflow"], "", "tensorflow"),
        (["jax", "jaxlib"], "jax", "jax"),
        pytest.param(["tf_keras"], "tensorflow", "tensorflow", marks=SLOW),
        pytest.param(["tensorflow_probability"], "", "tensorflow", marks=SLOW),
    ],
)
def test_a_missing_backend_is_one_line_that_names_the_extra(absent, backend, extra):
    code = (
        WITHOUT.format(absent=absent)
        + """
import deltavae_tf
try:
    deltavae_tf.AR1
except deltavae_tf.MissingPackageError as error:
    assert isinstance(error, ImportError) and isinstance(error, deltavae_tf.UserError)
    print(error)
"""
    )
    done = run(code, KERAS_BACKEND=backend)
    # TFP has lines of its own to say about tf_keras.
    assert len(done.stdout.splitlines()) == 1 or absent == ["tf_keras"], done.stdout
    last = done.stdout.splitlines()[-1]
    assert f'pip install "deltavae-tf[{extra}]"' in last
    assert last.endswith(f"Received: No module named '{absent[0]}'")


def test_a_package_that_is_no_backend_is_not_taken_for_one():
    code = WITHOUT.format(absent=["keras"]) + "import deltavae_tf; deltavae_tf.AR1"
    last = run(code, KERAS_BACKEND="tensorflow").stderr.splitlines()[-1]
    assert last == "ModuleNotFoundError: No module named 'keras'"


def test_another_backend_is_refused_before_keras_is_imported():
    code = """
import sys
import deltavae_tf
try:
    deltavae_tf.DeltaVAE
except deltavae_tf.UserError as error:
    print(error, "keras" in sys.modules)
"""
    done = run(code, KERAS_BACKEND="torch")
    assert done.stdout.endswith("Received: KERAS_BACKEND='torch' False\n"), done.stderr


def test_typed_for_others():
    assert (SOURCE.parent / "py.typed").exists()
    assert importlib.util.find_spec("deltavae_tf").origin == str(SOURCE)
