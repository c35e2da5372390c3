"""The window through which a task's work sees the world; whatever it hands out is recorded."""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import Any

from metagen import entries, files, paths
from metagen.engine.ledger import Dependency
from metagen.engine.world import World, version
from metagen.errors import Problem, TaskError
from metagen.spec import Spec
from metagen.work import Recipe

Progress = Callable[[int, int, str], None]


class MissingEntryError(TaskError, LookupError):
    """A structured file lacks an entry: somebody edited it, or a document asks for too much."""


class TracingDesk:
    """A `Desk` for one run of one recipe.

    Attributes:
        seen: Every dependency handed out, by (kind, name), with the digest of what was handed out.
    """

    def __init__(
        self,
        recipe: Recipe,
        spec: Spec,
        world: World,
        load: Callable[[str], bytes],
        edited: Callable[[str], bool],
        origin: Callable[[str], dict[str, Any]],
        tell: Progress,
    ) -> None:
        self.seen: dict[tuple[str, str], Dependency] = {}
        self._recipe = recipe
        self._spec = spec
        self._world = world
        self._load = load
        self._edited = edited
        self._origin = origin
        self._tell = tell
        self._read: dict[str, bytes] = {}
        self._contents: dict[str, Any] = {}
        root = code_root(recipe)
        self._see("code", root, world.digest("code", root), root)
        self._see("graph", recipe.name, graph_digest(recipe), "")

    def key(self, name: str) -> Any:
        """Return the value of a leaf key of the spec."""
        value = self._spec.key(name)
        self._see("key", name, self._spec.digest(name), self._spec.shown(name))
        return value

    def read(self, path: str) -> bytes:
        """Return a file of the package, which must be an input of the recipe."""
        data = self._input(path)
        self._see("file", path, files.sha256(data), files.sha256(data)[:12])
        return data

    def entry(self, path: str, *way: str) -> Any:
        """Return one entry of a structured file, which must be an input of the recipe."""
        address = entries.pointer(path, way)
        try:
            value = entries.at(self._parsed(path), way)
        except LookupError:
            self._see("entry", address, entries.ABSENT, entries.ABSENT)
            hint = "if somebody edited the file, put the entry back; --discard-edits does, too"
            raise MissingEntryError(Problem("There is no such entry.", address, hint)) from None
        self._see("entry", address, entries.digest(value), files.brief(value))
        return value

    def names(self, path: str, *way: str) -> tuple[str, ...]:
        """Return the keys, or the positions, of an entry that is a mapping or a list."""
        found = entries.names(entries.at(self._parsed(path), way))
        self._see("names", entries.pointer(path, way), entries.digest(found), files.brief(found))
        return found

    def edited(self, path: str) -> bool:
        """Tell whether a person changed a file of the package, which must be an input."""
        self._must_be_input(path)
        found = self._edited(path)
        self._see("edited", path, edited_digest(found), "")
        return found

    def _must_be_input(self, path: str) -> None:
        if path not in self._recipe.inputs:
            raise TaskError(f"{self._recipe.name} reads {path} without naming it as an input.")

    def _input(self, path: str) -> bytes:
        """Return a file that the recipe may read, in one state for all of the run."""
        self._must_be_input(path)
        if path not in self._read:
            self._read[path] = self._load(path)
        return self._read[path]

    def _parsed(self, path: str) -> Any:
        if path not in self._contents:
            try:
                self._contents[path] = entries.parse(path, self._input(path))
            except ValueError as error:
                raise TaskError(Problem(f"This file cannot be read: {error}", path)) from None
        return self._contents[path]

    def source(self, name: str) -> bytes:
        """Return a file that metagen ships."""
        try:
            data = paths.source(name).read_bytes()
        except OSError as error:
            raise TaskError(f"{self._recipe.name} needs {name}: {error.strerror}.") from None
        self._see("source", name, files.sha256(data), files.sha256(data)[:12])
        return data

    def version(self, name: str) -> str:
        """Return the version of a library, of `python` or of `tex`."""
        found = version(name)
        self._see("version", name, found, found)
        return found

    def code(self, module: str) -> str:
        """Return a module's name; the task depends on all of its code."""
        self._see("code", module, self._world.digest("code", module), module)
        return module

    def provenance(self, path: str) -> dict[str, Any]:
        """Return what a file of the package was made from, and whether it was edited since."""
        found = self._origin(path)
        self._see("provenance", path, provenance_digest(found), "")
        return found

    def progress(self, done: int, total: int, note: str = "") -> None:
        """Tell the terminal how far long work is."""
        self._tell(done, total, note)

    def inputs(self) -> dict[str, str]:
        """Return the sha256 of each file of the package that was read from."""
        return {path: files.sha256(data) for path, data in self._read.items()}

    def _see(self, kind: str, name: str, digest: str, text: str) -> None:
        self.seen.setdefault((kind, name), Dependency(kind, name, digest, text))


def edited_digest(edited: bool) -> str:
    """Return the digest of what `TracingDesk.edited` hands out."""
    return "edited" if edited else "as generated"


def provenance_digest(found: dict[str, Any]) -> str:
    """Return the digest of what `TracingDesk.provenance` hands out."""
    return files.sha256(files.canonical(found).encode())


def graph_digest(recipe: Recipe) -> str:
    """Return the digest of a recipe's place in the graph: its inputs and targets."""
    return files.sha256(files.canonical([recipe.inputs, recipe.targets]).encode())


def code_root(recipe: Recipe) -> str:
    """Return `module:name` of the top-level definition that a recipe's work belongs to."""
    work = recipe.work
    if not isinstance(work, types.FunctionType):
        raise TypeError(f"the work of {recipe.name} is not a plain function")
    return f"{work.__module__}:{work.__qualname__.partition('.')[0]}"
