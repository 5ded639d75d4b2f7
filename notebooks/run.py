"""Runs notebooks and keeps what they print and draw: `make notebooks`.

    python notebooks/run.py                   those whose code has changed since
    python notebooks/run.py latents.ipynb     these, whether changed or not

The digest of a notebook's code stands in its metadata; a test compares.
"""

import hashlib
import os
import pathlib
import resource
import sys
import time

import nbclient
import nbformat

FOLDER = pathlib.Path(__file__).resolve().parent
KEY = "deltavae"


def digest(notebook) -> str:
    """The sha256 of the code of a notebook, whatever it printed and drew."""
    code = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    return hashlib.sha256("\n\n".join(code).encode()).hexdigest()


def is_fresh(notebook) -> bool:
    """Whether the outputs are of the code as it is now."""
    return notebook.metadata.get(KEY, {}).get("code_sha256") == digest(notebook)


def execute(notebook, seconds: int = 1200) -> None:
    """Runs all cells in place; raises what a cell raises, with the cell's text."""
    nbclient.NotebookClient(
        notebook,
        timeout=seconds,
        kernel_name="python3",
        coalesce_streams=True,
        resources={"metadata": {"path": str(FOLDER)}},
    ).execute()


def clean(notebook) -> None:
    """Leaves out what differs from run to run and says nothing: times, warnings."""
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            cell.outputs = [
                output
                for output in cell.outputs
                if not (output.output_type == "stream" and output.name == "stderr")
            ]


def main(names) -> None:
    """Runs, cleans, writes."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    for path in [FOLDER / name for name in names] or sorted(FOLDER.glob("*.ipynb")):
        notebook = nbformat.read(path, as_version=4)
        if not names and is_fresh(notebook):
            print(f"{path.name}: fresh")
            continue
        started = time.monotonic(), _processor_seconds()
        execute(notebook)
        clean(notebook)
        minutes = (time.monotonic() - started[0]) / 60
        processor = (_processor_seconds() - started[1]) / 60
        notebook.metadata[KEY] = {"code_sha256": digest(notebook)}
        nbformat.write(notebook, path)
        size = path.stat().st_size
        print(
            f"{path.name}: {minutes:.1f} minutes, {processor:.1f} of a processor, "
            f"{size / 1000:,.0f} kB",
            flush=True,
        )


def _processor_seconds():
    """Of the kernels that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main(sys.argv[1:])
