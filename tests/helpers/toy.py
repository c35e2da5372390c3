"""Toy packages: three tasks that the real engine builds in milliseconds; files for `verify`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path
from unittest import mock

from metagen import files
from metagen.engine import verify
from metagen.engine.binding import Binding
from metagen.engine.cache import Shared
from metagen.engine.digest import Environment, version
from metagen.engine.engine import Engine, Guard
from metagen.engine.graph import Graph
from metagen.engine.ledger import Ledger
from metagen.engine.session import opened
from metagen.engine.workspace import Workspace, locked
from metagen.errors import Problem
from metagen.work import Desk, Recipe


class FakeSpec:
    """As much of a Spec as the engine asks for."""

    path = Path("fake.yaml")
    sha256 = "of fake.yaml"

    def __init__(self, **values: object) -> None:
        self.values = {"name": "toy", "text": "hello", "size": 1, "unread": None} | values

    def key(self, name: str) -> object:
        return self.values[name]

    def keys(self) -> tuple[str, ...]:
        return tuple(self.values)

    def source(self, name: str) -> str:
        return "default"

    def shown(self, name: str) -> str:
        return files.brief(self.values[name])

    def digest(self, name: str) -> str:
        return files.sha256(files.canonical(self.values[name]).encode())


RUNS: list[str] = []


def upper(desk: Desk) -> dict[str, bytes]:
    RUNS.append("upper")
    return {"a.txt": str(desk.key("text")).upper().encode()}


def length(desk: Desk) -> dict[str, bytes]:
    RUNS.append("length")
    return {"b.txt": f"{len(desk.read('a.txt'))}".encode()}


def report(desk: Desk) -> dict[str, bytes]:
    RUNS.append("report")
    return {"docs/c.txt": desk.read("b.txt") + b" of size " + str(desk.key("size")).encode()}


def undeclared(desk: Desk) -> dict[str, bytes]:
    return {"d.txt": desk.read("a.txt")}


def looking(desk: Desk) -> dict[str, bytes]:
    RUNS.append("looking")
    return {"seen.txt": desk.observed("seen.txt", str(desk.key("size")).encode())}


UPPER = Recipe("s:upper", upper, (), ("a.txt",), "")
LENGTH = Recipe("s:length", length, ("a.txt",), ("b.txt",), "")
REPORT = Recipe("s:report", report, ("b.txt",), ("docs/c.txt",), "")
ALL = (UPPER, LENGTH, REPORT)


class Unchanged(Environment):
    """Code and sources that never change: reading all of metagen takes seconds."""

    def digest(self, kind: str, name: str) -> str:
        return version(name) if kind == "version" else "as ever"


class Out:
    """An out folder to build in again and again, each time as a new process would."""

    def __init__(
        self, folder: Path, cache: Path | Shared | None = None, trained: Path | None = None
    ) -> None:
        self.folder = folder
        self.run = folder / "run-toy"
        self.cache = Shared(str(cache)) if isinstance(cache, Path) else cache
        self.warnings: list[Problem] = []
        self.trained = trained
        self.results: tuple[Path, ...] = ()

    def build(
        self,
        recipes: tuple[Recipe, ...] = ALL,
        *,
        sweep: bool = True,
        discard: bool = False,
        guard: Guard = nullcontext,
        **values: object,
    ) -> tuple[list[str], Engine]:
        """Build; return the names of the tasks that ran, and the engine."""
        RUNS.clear()
        bound = Binding.of(self.trained, self.results)
        graph = Graph(FakeSpec(**values), "run-toy", recipes, (), bound)  # type: ignore[arg-type]
        cache = opened(self.cache, self.warnings.extend) if self.cache else None
        with locked(self.folder, wait=False) as state, closing(Ledger(state.ledger)) as ledger:
            workspace = Workspace.on_disk(self.folder, "run-toy", ledger)
            with closing(Engine(graph, workspace, Unchanged(ledger), cache, guard)) as engine:
                if discard:
                    engine.outputs.discard_edits()
                for recipe in recipes:
                    engine.build(recipe, lambda *_: None)
                if sweep:
                    engine.outputs.sweep()
                return list(RUNS), engine

    def tree(self) -> dict[str, bytes]:
        found = (p for p in self.run.rglob("*") if p.is_file())
        return {str(p.relative_to(self.run)): p.read_bytes() for p in found}


FILES = {
    "spec_resolved.yaml": b"name: toy\n",
    "code/model.py": b"import torch\n",
    "code/data.py": b"from runtime.loop import step\n",
    "code/train.py": b"import data, model\nif __name__ == '__main__': ...\n",
    "code/runtime/__init__.py": b"",
    "code/runtime/loop.py": b"def step(): ...\n",
    "README.md": b"# Toy\n",
    "paper/main.tex": b"\\documentclass{article}\n",
}


def row(path: str, data: bytes) -> dict[str, object]:
    """Return the row of a file in a manifest."""
    known = {"path": path, "sha256": files.sha256(data), "bytes": len(data)}
    return {**known, "task": "s:toy", "made_from": [], "edited": False}


def write_package(folder: Path) -> Path:
    """Write a package for `verify`; return its folder."""
    for path, data in FILES.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    (folder / "manifest.json").write_text(json.dumps([row(p, d) for p, d in FILES.items()]))
    return folder


@contextmanager
def clean_build(folder: Path) -> Iterator[None]:
    """Let `verify` take a folder for the clean build, which takes half a minute."""
    with (
        mock.patch.object(verify, "_rebuild", return_value=folder),
        mock.patch.object(verify, "load"),
        mock.patch.object(verify, "of_spec"),
    ):
        yield
