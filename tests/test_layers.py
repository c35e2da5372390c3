"""The structure of the code: imports go downwards, modules stay short, heavy imports stay lazy."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import metagen
import metagen.engine

PACKAGE = Path(metagen.__file__).parent
FILES = sorted(p for p in PACKAGE.rglob("*.py") if "templates" not in p.parts)
ROOMS = re.findall(r"^(\w+) {2,}\S", metagen.__doc__ or "", re.MULTILINE)[1:]
ENGINE = re.findall(r"^(\w+) {2,}\S", metagen.engine.__doc__ or "", re.MULTILINE)


def room(dotted: str) -> str:
    parts = dotted.split(".")
    return parts[1] if len(parts) > 1 and parts[0] == "metagen" else ""


def imported(path: Path) -> set[str]:
    """Return every module of metagen that a file imports, at its top or inside a function."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return {name for name in names if room(name)}


def test_the_table_names_every_room() -> None:
    inside = {p.stem if p.is_file() else p.name for p in PACKAGE.iterdir()}
    rooms = {
        name for name in inside if (PACKAGE / name).is_dir() or (PACKAGE / f"{name}.py").exists()
    }
    not_rooms = {"__init__", "__pycache__", "data", "templates", "specs", "__main__"}
    assert rooms - not_rooms == set(ROOMS)


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_a_room_imports_only_from_rooms_before_it(path: Path) -> None:
    own = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    if own in ROOMS:
        above = set(ROOMS[ROOMS.index(own) + 1 :])
        assert not {name for name in imported(path) if room(name) in above}


def test_the_engines_table_names_every_module() -> None:
    modules = {path.stem for path in (PACKAGE / "engine").glob("*.py")}
    assert modules - {"__init__"} == set(ENGINE)


@pytest.mark.parametrize("module", ENGINE)
def test_a_module_of_the_engine_imports_only_from_modules_before_it(module: str) -> None:
    names = imported(PACKAGE / "engine" / f"{module}.py")
    inside = {name.split(".")[2] for name in names if name.startswith("metagen.engine.")}
    # `Outcome` and `Graph` are only names of types in the terminal.
    allowed = {"engine", "graph"} if module == "terminal" else set()
    assert inside - allowed <= set(ENGINE[: ENGINE.index(module)])


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_a_module_is_at_most_400_lines_long(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 400


def test_importing_the_whole_command_line_imports_nothing_heavy() -> None:
    code = (
        "import sys, metagen.cli, metagen.engine.doors, metagen.engine.query;"
        "print([m for m in ('torch', 'matplotlib', 'numpy', 'fvcore', 'rich') if m in sys.modules])"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"
