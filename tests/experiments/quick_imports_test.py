"""What a program leaves out of its imports is there again behind them."""

import gc
import subprocess
import sys

from experiments import imports

_PROGRAM = """
import gc, sys
from experiments import quiet
quiet.libraries(info=False)
assert not {"sklearn", "matplotlib"} & set(sys.modules), "imported, or left hidden"
assert gc.isenabled() and gc.get_freeze_count() > 100_000
import matplotlib.pyplot, sklearn.manifold
"""


def test_a_program_imports_neither_and_may_import_both():
    subprocess.run([sys.executable, "-c", _PROGRAM], check=True)


def test_what_was_imported_before_stays():
    import sklearn

    with imports.quick():
        assert not gc.isenabled()
        assert sys.modules["sklearn"] is sklearn
    assert gc.isenabled() and sys.modules["sklearn"] is sklearn
