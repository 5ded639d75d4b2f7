"""Every notebook runs from top to bottom, and shows what it printed and drew."""

import pathlib
import re

import nbformat
import pytest

from notebooks import run

FOLDER = pathlib.Path(__file__).resolve().parents[1] / "notebooks"
NAMES = sorted(path.name for path in FOLDER.glob("*.ipynb"))
QUICK = ("quickstart.ipynb",)  # The others run with what takes minutes.
# What a notebook's line `NAME = number` is here; none trains for long.
SMALL = {"EPOCHS": 1, "IMAGES": 800, "COUNT": 20}
MOST_BYTES = 1_000_000
every_notebook = pytest.mark.parametrize("name", NAMES)


def read(name):
    return nbformat.read(FOLDER / name, as_version=4)


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def test_there_are_notebooks():
    assert set(QUICK) < set(NAMES)


@every_notebook
def test_outputs_are_there_and_of_this_code(name):
    notebook = read(name)
    nbformat.validate(notebook)
    assert run.is_fresh(notebook), f"{name} has changed: make notebooks"
    outputs = [output for cell in code_cells(notebook) for output in cell.outputs]
    kinds = {kind for output in outputs for kind in output.get("data", {})}
    assert "image/png" in kinds, "no picture"
    assert not [
        x for x in outputs if x.output_type == "error" or "stderr" in x.values()
    ]
    assert all(cell.execution_count for cell in code_cells(notebook))
    assert (FOLDER / name).stat().st_size < MOST_BYTES
    assert "/tmp/" not in (FOLDER / name).read_text("utf-8")


def test_changed_code_is_seen():
    notebook = read(QUICK[0])
    code_cells(notebook)[-1].source += "\nprint()"
    assert not run.is_fresh(notebook)


def shortened(notebook):
    """The same with small numbers of epochs, images and reconstructions."""
    for cell in code_cells(notebook):
        for name, number in SMALL.items():
            line = rf"^{name} = \d+\b"
            cell.source = re.sub(line, f"{name} = {number}", cell.source, flags=re.M)
    return notebook


@pytest.mark.parametrize(
    "name",
    [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in NAMES],
)
def test_runs(name):
    run.execute(shortened(read(name)), seconds=600)
