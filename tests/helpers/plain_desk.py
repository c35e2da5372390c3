"""A desk over plain values and files, to run the work of one recipe by itself."""

from __future__ import annotations

import importlib.metadata
import platform
from pathlib import Path
from typing import Any

from metagen import entries, paths
from metagen.families import Route
from metagen.spec import Spec, load

HEAD = 'metagen_version: "1.0"\nname: example\n'


class PlainDesk:
    """A `Desk` whose spec is a YAML text and whose package is a dictionary of files."""

    def __init__(self, spec: str, folder: Path, package: dict[str, bytes] | None = None) -> None:
        path = folder / "spec.yaml"
        path.write_text(HEAD + spec)
        self.spec = load(path)
        self.package = dict(package or {})
        self.modules: list[str] = []
        self.sources: list[str] = []

    @classmethod
    def of(cls, path: Path) -> PlainDesk:
        """Return a desk over a spec file and an empty package."""
        return cls.of_spec(load(path))

    @classmethod
    def of_spec(cls, spec: Spec) -> PlainDesk:
        """Return a desk over a spec and an empty package."""
        desk = cls.__new__(cls)
        desk.spec, desk.package, desk.modules, desk.sources = spec, {}, [], []
        return desk

    def key(self, name: str) -> Any:
        return self.spec.key(name)

    def read(self, path: str) -> bytes:
        return self.package[path]

    def entry(self, path: str, *way: str) -> Any:
        return entries.at(entries.parse(path, self.read(path)), way)

    def names(self, path: str, *way: str) -> tuple[str, ...]:
        return entries.names(self.entry(path, *way))

    def edited(self, path: str) -> bool:
        return False

    def generated(self, path: str) -> bytes | None:
        return self.package[path]

    def source(self, name: str) -> bytes:
        self.sources.append(name)
        return paths.source(name).read_bytes()

    def version(self, name: str) -> str:
        return platform.python_version() if name == "python" else importlib.metadata.version(name)

    def observed(self, path: str, seen: bytes) -> bytes:
        return seen

    def code(self, module: str) -> str:
        self.modules.append(module)
        return module

    def progress(self, done: int, total: int, note: str = "") -> None:
        pass


def spec_of(route: Route, more: str = "") -> str:
    """Return the keys of a spec that lead to a route, with more of its architecture."""
    inputs, outputs, task, architecture, objective = map(sorted, route.allowed.values())
    read, made = (words[0].replace("+", ", ") for words in (inputs, outputs))
    return (
        f"modality: {{inputs: [{read}], outputs: [{made}]}}\n"
        f"task: {{type: {task[0]}}}\n"
        f"architecture: {{family: {architecture[0]}{more}}}\n"
        f"training: {{objective: [{objective[0]}]}}\n"
    )
