"""A desk over plain values and files, to run the work of one recipe by itself."""

from __future__ import annotations

import importlib.metadata
import platform
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from metagen import entries, files, paths
from metagen.families import Route
from metagen.spec import Spec, load

HEAD = 'metagen_version: "1.0"\nname: example\n'


class PlainDesk:
    """A `Desk` whose spec is a YAML text and whose package is a dictionary of files.

    Attributes:
        run: The training folder that is bound; None for none.
        given: The files of results that are bound, by name.
    """

    run: Path | None = None
    given: Mapping[str, bytes] = MappingProxyType({})

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

    def digest(self, path: str) -> str:
        return files.sha256(self.read(path))

    def place(self, path: str) -> Path:
        place = self.scratch() / Path(path).name
        place.write_bytes(self.read(path))
        return place

    def bound(self) -> bool:
        return self.run is not None

    def trained(self, path: str) -> bytes:
        return self.trained_place(path).read_bytes()

    def trained_names(self, folder: str) -> tuple[str, ...]:
        place = (self.run or Path("/nonexistent")) / folder
        found = place.iterdir() if place.is_dir() else ()
        return tuple(sorted(path.name for path in found if not path.is_dir()))

    def trained_digest(self, path: str) -> str:
        return files.sha256(self.trained(path))

    def trained_place(self, path: str) -> Path:
        if self.run is None or not (self.run / path).is_file():
            raise LookupError(path)
        return self.run / path

    def trained_glance(self, path: str) -> Path:
        return self.trained_place(path)

    def results(self) -> tuple[tuple[str, bytes], ...]:
        return tuple(self.given.items())

    def scratch(self) -> Path:
        return Path(tempfile.mkdtemp(prefix="desk-"))

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
