"""The contract between the work of a task and the engine that runs it.

A task's work is a pure function `work(desk) -> {path: bytes}`. The desk is its only window:
whatever it hands out is recorded in the task's trace, so a task can depend on nothing that the
engine does not know of.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol


class Desk(Protocol):
    """What the work of a task may read. Every read is traced."""

    def key(self, name: str) -> Any:
        """Return the value of a leaf key of the spec, such as `constraints.memory_budget`."""

    def read(self, path: str) -> bytes:
        """Return a file of the package, such as `blueprint/params.json`; it must be an input."""

    def entry(self, path: str, *way: str) -> Any:
        """Return one entry of a structured file of the package; only it becomes a dependency.

        Raises:
            LookupError: The file has no such entry; its absence is a dependency too.
        """

    def names(self, path: str, *way: str) -> tuple[str, ...]:
        """Return the keys, or the positions, of an entry that is a mapping or a list."""

    def edited(self, path: str) -> bool:
        """Tell whether a person changed a file of the package; it must be an input."""

    def source(self, name: str) -> bytes:
        """Return a file that metagen ships: `templates/...` or `data/...`."""

    def version(self, name: str) -> str:
        """Return the version of an installed library, of `python`, or of the `tex` programs."""

    def code(self, module: str) -> str:
        """Return a module's name as given; the task then depends on the code of that module."""

    def progress(self, done: int, total: int, note: str = "") -> None:
        """Tell the terminal how far long work is."""


Work = Callable[[Desk], dict[str, bytes]]


@dataclass(frozen=True)
class Recipe:
    """One task of a package: what it makes, from which files, by which work.

    Attributes:
        name: `stage:what`, such as `docs:model_card`; unique in a package.
        work: The pure function that makes the targets.
        inputs: Files of the package that the work may read, relative to the run folder.
        targets: Files that the work returns, relative to the run folder.
        doc: One line for `doit list`.
    """

    name: str
    work: Work
    inputs: tuple[str, ...]
    targets: tuple[str, ...]
    doc: str
