"""The tiny model's package, as it was when somebody last read it.

Files that depend on a measurement are left out. So are `code/runtime/`, which is copied from the
templates as it stands, and the crate, which lists the names of all files.
`python tests/test_golden.py` writes the folder anew; read the difference before you commit it.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pytest
from helpers.building import build, fake_measurements, tree

from metagen.filing import crate
from metagen.measure import sandbox

GOLDEN = Path(__file__).parent / "golden" / "text_llm_tiny"
COPIED = "code/runtime/"
MEASURED = (
    "README.md",
    "report.html",
    "benchmarks/",
    "docs/",
    "paper/sections/",
    "paper/figures/",
    "manifest.json",
    crate.PATH,
)
COUNTED = (
    "requirements.lock",
    "launch/plan.json",
    "launch/README.md",
    "params.json",
    "flops.json",
    "graph.json",
    "tensors.json",
    "constraints.json",
)


def generated(out: Path) -> dict[str, bytes]:
    inside = {path.partition("/")[2]: data for path, data in tree(out).items()}
    return {
        path: data
        for path, data in inside.items()
        if not path.startswith((*MEASURED, COPIED)) and not path.endswith(COUNTED)
    }


def test_the_package_is_what_somebody_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "run", fake_measurements)
    build(tmp_path)
    made = generated(tmp_path)
    files = (p for p in GOLDEN.rglob("*") if p.is_file())
    golden = {p.relative_to(GOLDEN).as_posix(): p.read_bytes() for p in files}
    assert sorted(made) == sorted(golden)
    for path, data in made.items():
        assert data.decode() == golden[path].decode(), path


def write() -> None:
    """Replace the golden files by what is made now."""
    sandbox.run = fake_measurements  # type: ignore[assignment]
    shutil.rmtree(GOLDEN, ignore_errors=True)
    with tempfile.TemporaryDirectory() as folder:
        build(Path(folder))
        for path, data in generated(Path(folder)).items():
            (GOLDEN / path).parent.mkdir(parents=True, exist_ok=True)
            (GOLDEN / path).write_bytes(data)


if __name__ == "__main__":
    write()
