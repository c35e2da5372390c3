"""The notebook in `examples/` runs from top to bottom, and shows what it says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"
VARIES = "varies"  # tag of a cell whose output differs between machines


def shown(cell: Any) -> list[str]:
    """Return the texts that a cell of code shows."""
    texts = (each.get("text") or each.get("data", {}).get("text/plain") for each in cell.outputs)
    return [text for text in texts if text]


def code(notebook: Any) -> list[Any]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def test_the_notebook_keeps_its_outputs_and_names_no_folder_of_its_author() -> None:
    nbformat = pytest.importorskip("nbformat")
    notebook = nbformat.read(EXAMPLES / "walk_through_a_package.ipynb", as_version=4)
    nbformat.validate(notebook)
    assert sum(bool(shown(cell)) for cell in code(notebook)) > 6
    assert not any(output.output_type == "error" for c in code(notebook) for output in c.outputs)
    text = (EXAMPLES / "walk_through_a_package.ipynb").read_text()
    assert "/tmp/" not in text
    assert "/home/" not in text


@pytest.mark.slow
@pytest.mark.ci
def test_the_notebook_runs_and_shows_what_it_did() -> None:
    nbformat = pytest.importorskip("nbformat")
    from nbclient import NotebookClient

    kept = nbformat.read(EXAMPLES / "walk_through_a_package.ipynb", as_version=4)
    notebook = nbformat.read(EXAMPLES / "walk_through_a_package.ipynb", as_version=4)
    resources = {"metadata": {"path": str(EXAMPLES)}}
    NotebookClient(notebook, timeout=900, kernel_name="python3", resources=resources).execute()
    for before, after in zip(code(kept), code(notebook), strict=True):
        if VARIES not in before.metadata.get("tags", ()):
            assert shown(after) == shown(before), before.source
