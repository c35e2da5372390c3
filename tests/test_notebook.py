"""The notebook in `examples/` runs from top to bottom, and shows what it says.

`python tests/test_notebook.py` runs it and keeps what it shows now; read the difference before you
commit it.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest

NOTEBOOK = Path(__file__).parent.parent / "examples/walk_through_a_package.ipynb"
VARIES = "varies"  # tag of a cell whose output differs between machines


def shown(cell: Any) -> list[str]:
    """Return the texts that a cell of code shows."""
    texts = (each.get("text") or each.get("data", {}).get("text/plain") for each in cell.outputs)
    return [text for text in texts if text]


def code(notebook: Any) -> list[Any]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def read() -> Any:
    return pytest.importorskip("nbformat").read(NOTEBOOK, as_version=4)


def executed() -> Any:
    """Return the notebook as it runs now, in the environment of this Python."""
    from nbclient import NotebookClient

    notebook = read()
    place = {"metadata": {"path": str(NOTEBOOK.parent)}}
    # Without the last, the pace of the kernel decides into how many outputs a text is cut.
    options = {"resources": place, "kernel_name": "python3", "coalesce_streams": True}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    NotebookClient(notebook, timeout=900, **options).execute(env=os.environ | {"PATH": path})
    for cell in code(notebook):
        cell.metadata.pop("execution", None)  # the times of this run
    notebook.metadata = read().metadata  # The kernel adds its version of Python.
    return notebook


def test_the_notebook_keeps_its_outputs_and_names_no_folder_of_its_author() -> None:
    notebook = read()
    pytest.importorskip("nbformat").validate(notebook)
    assert sum(bool(shown(cell)) for cell in code(notebook)) > 6
    assert not any(output.output_type == "error" for c in code(notebook) for output in c.outputs)
    text = NOTEBOOK.read_text()
    assert "/tmp/" not in text
    assert "/home/" not in text


@pytest.mark.slow
@pytest.mark.ci
def test_the_notebook_runs_and_shows_what_it_did() -> None:
    for before, after in zip(code(read()), code(executed()), strict=True):
        if VARIES not in before.metadata.get("tags", ()):
            assert shown(after) == shown(before), before.source


if __name__ == "__main__":
    import nbformat

    nbformat.write(executed(), NOTEBOOK)
