"""The contract between the work of a task and the engine that runs it.

A task's work is a pure function `work(desk) -> {path: bytes}`. It reads only through its desk,
which records every read in the task's trace; so the engine knows everything that a task depends on,
and no list of dependencies is kept by hand.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol


class Desk(Protocol):
    """What the work of a task may read. Every read becomes a dependency of the task."""

    def key(self, name: str) -> Any:
        """Return the value of a leaf key of the spec, such as `constraints.memory_budget`.

        A key that the spec omits has its default, or None; that is a dependency like any other.
        """

    def read(self, path: str) -> bytes:
        """Return a file of the package, such as `blueprint/params.json`; it must be an input.

        Raises:
            TaskError: The file is not among the recipe's inputs, or cannot be read.
        """

    def entry(self, path: str, *keys: str) -> Any:
        """Return one entry of a structured file of the package.

        Only the entry becomes a dependency: a change elsewhere in the file runs nothing.

        Args:
            path: A file that `entries.parse` can read; it must be an input.
            keys: Keys of mappings and positions in lists, from the top of the file down.

        Raises:
            LookupError: The file has no such entry; its absence is a dependency too.
        """

    def names(self, path: str, *keys: str) -> tuple[str, ...]:
        """Return the keys of a mapping, or the positions in a list; their values are not read."""

    def edited(self, path: str) -> bool:
        """Tell whether the user edited a file of the package; it must be an input."""

    def generated(self, path: str) -> bytes | None:
        """Return a file of the package as the build wrote it last, without the user's edits.

        The file must be an input. The result is None if that text is lost.
        """

    def source(self, name: str) -> bytes:
        """Return a file that metagen ships: `templates/...` or `data/...`."""

    def version(self, name: str) -> str:
        """Return the version of an installed library, of `python`, or of the `tex` programs."""

    def observed(self, path: str, seen: bytes) -> bytes:
        """Return a target that says what was seen of the machine while the task ran.

        It is no dependency: a task does not run again on another machine. `metagen verify` gets
        what the package holds in place of what its own build has seen.

        Args:
            path: The target, such as `benchmarks/machine.json`.
            seen: Its content in an ordinary build.
        """

    def code(self, module: str) -> str:
        """Return a module's name unchanged; the task then depends on the code of that module.

        The code of the work's own function is a dependency without this. What it only finds by name
        at run time, such as the module of a family, is not.
        """

    def progress(self, done: int, total: int, note: str = "") -> None:
        """Report the progress of long work: steps done, steps in all, and a short note."""


Work = Callable[[Desk], dict[str, bytes]]


@dataclass(frozen=True)
class Recipe:
    """One task of a package: what it makes, from which files, by which work.

    Attributes:
        name: `stage:what`, such as `docs:model_card`; unique in a package.
        work: The function that makes the targets; a plain function, since the engine follows its
            code by name.
        inputs: Files of the package that the work may read, relative to the run folder.
        targets: Files that the work returns, relative to the run folder.
        doc: One line for `doit list`.
    """

    name: str
    work: Work
    inputs: tuple[str, ...]
    targets: tuple[str, ...]
    doc: str
