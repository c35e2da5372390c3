"""What a task reads: through its desk, which records it in the trace of the task."""

from __future__ import annotations

import os
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

from metagen import entries, files, paths
from metagen.engine import lint
from metagen.engine.digest import Environment, version
from metagen.engine.folder import RunFolder
from metagen.engine.ledger import Dependency
from metagen.engine.terminal import Progress
from metagen.engine.training import BOUND, GIVEN, Training, names_digest
from metagen.errors import Problem, TaskError
from metagen.spec import Spec
from metagen.work import Recipe

# The environment variable with the run folder whose record of the machine a build repeats.
OBSERVED = "METAGEN_OBSERVED"


class MissingEntryError(TaskError, LookupError):
    """A structured file lacks an entry: it was edited, or a task reads a wrong address."""


class TracingDesk:
    """The `Desk` of one run of one recipe.

    Args:
        recipe: What runs.
        spec: The source of keys.
        environment: The source of code digests.
        folder: The files of the package.
        training: The files that are bound to it.
        scratch: Makes a folder for large files.
        edited: Tells whether the user edited a file of the package.
        generated: Returns a file of the package without the user's edits; None if it is lost.
        origin: Returns what a file of the package was made from.
        report: Reports progress.

    Attributes:
        recipe: What runs.
        reads: Every dependency of the run, by (kind, name), with the digest of the value returned.
    """

    def __init__(
        self,
        recipe: Recipe,
        spec: Spec,
        environment: Environment,
        folder: RunFolder,
        training: Training,
        scratch: Callable[[], Path],
        edited: Callable[[str], bool],
        generated: Callable[[str], bytes | None],
        origin: Callable[[str], dict[str, Any]],
        report: Progress,
    ) -> None:
        self.reads: dict[tuple[str, str], Dependency] = {}
        self.recipe = recipe
        self._spec = spec
        self._environment = environment
        self._folder = folder
        self._training = training
        self._scratch = scratch
        self._edited = edited
        self._generated = generated
        self._origin = origin
        self._report = report
        self._files: dict[str, bytes] = {}
        self._contents: dict[str, Any] = {}
        root = code_root(recipe)
        self._record("code", root, environment.digest("code", root), root)
        self._record("graph", recipe.name, graph_digest(recipe), "")

    def key(self, name: str) -> Any:
        value = self._spec.key(name)
        self._record("key", name, self._spec.digest(name), self._spec.shown(name))
        return value

    def read(self, path: str) -> bytes:
        data = self._input(path)
        self._record("file", path, files.sha256(data), files.sha256(data)[:12])
        return data

    def entry(self, path: str, *keys: str) -> Any:
        address = entries.pointer(path, keys)
        try:
            value = entries.at(self._parsed(path), keys)
        except LookupError:
            self._record("entry", address, entries.ABSENT, entries.ABSENT)
            hint = "if you edited the file, put the entry back, or build with --discard-edits"
            raise MissingEntryError(Problem("There is no such entry.", address, hint)) from None
        self._record("entry", address, entries.digest(value), files.brief(value))
        return value

    def names(self, path: str, *keys: str) -> tuple[str, ...]:
        names = entries.names(entries.at(self._parsed(path), keys))
        address = entries.pointer(path, keys)
        self._record("names", address, entries.digest(names), files.brief(names))
        return names

    def edited(self, path: str) -> bool:
        self._must_be_input(path)
        edited = self._edited(path)
        self._record("edited", path, edited_digest(edited), "")
        return edited

    def generated(self, path: str) -> bytes | None:
        self._must_be_input(path)
        data = self._generated(path)
        digest = generated_digest(data)
        self._record("generated", path, digest, digest[:12])
        return data

    def digest(self, path: str) -> str:
        self._must_be_input(path)
        digest = self._folder.digest(path)
        if not digest:
            raise TaskError(f"{self.recipe.name} needs {path}, which is missing.")
        self._record("file", path, digest, digest[:12])
        return digest

    def size(self, path: str) -> int:
        """Return the size of an input in bytes; who asks also asks for its digest."""
        self._must_be_input(path)
        return self._folder.size(path)

    def place(self, path: str) -> Path:
        self.digest(path)
        place = self._folder.place_of(path)
        lint.allow(place)
        return place

    def bound(self) -> bool:
        state = self._training.current("trained", BOUND)
        self._record("trained", BOUND, state, state)
        return self._training.binding.trained is not None

    def trained(self, path: str) -> bytes:
        self.trained_digest(path)
        return self._training.load(path)

    def trained_names(self, folder: str) -> tuple[str, ...]:
        names = self._training.names(folder)
        self._record("trained", f"{folder or '.'}/", names_digest(names), files.brief(names))
        return names

    def trained_digest(self, path: str) -> str:
        digest = self._training.digest(path)
        shown = self._training.shown(path) if digest else entries.ABSENT
        self._record("trained", path, digest or entries.ABSENT, shown)
        if not digest:
            raise MissingEntryError(
                Problem("The training folder has no such file.", path, "run train.py to its end")
            )
        return digest

    def trained_place(self, path: str) -> Path:
        self.trained_digest(path)
        place = self._training.place(path)
        lint.allow(place)
        return place

    def trained_glance(self, path: str) -> Path:
        place = self._training.plain(path)
        lint.allow(place)
        return place

    def trained_anew(self) -> None:
        """Look at the training folder as the work of this task has left it."""
        self._training.forget()

    def given(self) -> tuple[str, ...]:
        """Return the sha256 of each bound file of results, none of which is loaded."""
        names = self._training.results()
        self._record("results", GIVEN, names_digest(names), files.brief(names))
        digests = tuple(map(self._training.result_digest, names))
        for name, digest in zip(names, digests, strict=True):
            self._record("results", name, digest, digest[:12])
        return digests

    def results(self) -> tuple[tuple[str, bytes], ...]:
        self.given()
        return tuple((name, self._training.result(name)) for name in self._training.results())

    def scratch(self) -> Path:
        folder = self._scratch()
        lint.allow(folder)
        return folder

    def _must_be_input(self, path: str) -> None:
        if path not in self.recipe.inputs:
            raise TaskError(f"{self.recipe.name} reads {path} without naming it as an input.")

    def _input(self, path: str) -> bytes:
        """Return an input of the recipe; read once, so that all of a run sees the same bytes."""
        self._must_be_input(path)
        if path not in self._files:
            self._files[path] = self._folder.load(path)
        return self._files[path]

    def _parsed(self, path: str) -> Any:
        if path not in self._contents:
            try:
                self._contents[path] = entries.parse(path, self._input(path))
            except ValueError as error:
                raise TaskError(Problem(f"This file cannot be read: {error}", path)) from None
        return self._contents[path]

    def source(self, name: str) -> bytes:
        try:
            data = paths.source(name).read_bytes()
        except OSError as error:
            raise TaskError(f"{self.recipe.name} needs {name}: {error.strerror}.") from None
        self._record("source", name, files.sha256(data), files.sha256(data)[:12])
        return data

    def version(self, name: str) -> str:
        number = version(name)
        self._record("version", name, number, number)
        return number

    def observed(self, path: str, seen: bytes) -> bytes:
        run = os.environ.get(OBSERVED)
        recorded = Path(run) / path if run else None
        return recorded.read_bytes() if recorded and recorded.is_file() else seen

    def code(self, module: str) -> str:
        self._record("code", module, self._environment.digest("code", module), module)
        return module

    def provenance(self, path: str) -> dict[str, Any]:
        """Return what a file of the package was made from, and whether the user edited it since."""
        origin = self._origin(path)
        self._record("provenance", path, provenance_digest(origin), "")
        return origin

    def progress(self, done: int, total: int, note: str = "") -> None:
        self._report(done, total, note)

    def inputs(self) -> dict[str, str]:
        """Return the sha256 of each file of the package that was read."""
        return {path: files.sha256(data) for path, data in self._files.items()}

    def _record(self, kind: str, name: str, digest: str, text: str) -> None:
        self.reads.setdefault((kind, name), Dependency(kind, name, digest, text))


def edited_digest(edited: bool) -> str:
    """Return the digest of the result of `TracingDesk.edited`."""
    return "edited" if edited else "as generated"


def generated_digest(data: bytes | None) -> str:
    """Return the digest of the result of `TracingDesk.generated`."""
    return entries.ABSENT if data is None else files.sha256(data)


def provenance_digest(origin: dict[str, Any]) -> str:
    """Return the digest of the result of `TracingDesk.provenance`."""
    return files.sha256(files.canonical(origin).encode())


def graph_digest(recipe: Recipe) -> str:
    """Return the digest of a recipe's place in the graph: its inputs and targets."""
    return files.sha256(files.canonical([recipe.inputs, recipe.targets]).encode())


def code_root(recipe: Recipe) -> str:
    """Return `module:name` of the top-level definition that contains a recipe's work."""
    work = recipe.work
    if not isinstance(work, types.FunctionType):
        raise TypeError(f"the work of {recipe.name} is not a plain function")
    return f"{work.__module__}:{work.__qualname__.partition('.')[0]}"
