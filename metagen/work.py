"""The contract between the work of a task and the engine that runs it.

A task's work is a pure function `work(desk) -> {path: bytes}`. It reads only through its desk,
which records every read in the task's trace; so the engine knows everything that a task depends on,
and no list of dependencies is kept by hand. A file of gigabytes, such as the weights of a trained
model, is never loaded: it is a `Large`, a reference to a file with its sha256.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
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

    def digest(self, path: str) -> str:
        """Return the sha256 of a file of the package without loading it; it must be an input."""

    def place(self, path: str) -> Path:
        """Return where a file of the package lies, for a program; it must be an input.

        The file is a dependency by its content, as after `digest`.
        """

    def bound(self) -> bool:
        """Tell whether the folder of a training run is bound to the package."""

    def trained(self, path: str) -> bytes:
        """Return a file of the bound training folder, such as `run.json`.

        Raises:
            LookupError: No folder is bound, or it has no such file; that is a dependency too.
            TaskError: It is a link, a FIFO or the like, it is too large to load, or it changed
                since this build read it first.
        """

    def trained_names(self, folder: str) -> tuple[str, ...]:
        """Return the sorted names of the files in a folder of the bound training folder.

        Folders in it are left out; a folder that is missing has no files. `""` is the training
        folder itself.
        """

    def trained_digest(self, path: str) -> str:
        """Return the sha256 of a file of the bound training folder, however large it is.

        The file is read once, and again only when its size, times or inode change.

        Raises:
            LookupError: No folder is bound, or it has no such file; that is a dependency too.
        """

    def trained_place(self, path: str) -> Path:
        """Return where a file of the bound training folder lies, for a program or for `Large`.

        The file is a dependency by its content, as after `trained_digest`.

        Raises:
            LookupError: No folder is bound, or it has no such file; that is a dependency too.
        """

    def trained_glance(self, path: str) -> Path:
        """Return where a file of the bound training folder lies, to see if it is worth a digest.

        It is no dependency: a work that goes on asks for its digest too. Hashing a file of
        gigabytes, only to refuse it by its header, would take minutes.

        Raises:
            TaskError: It is a link, a FIFO or the like.
        """

    def results(self) -> tuple[tuple[str, bytes], ...]:
        """Return the result files that are bound to the package, each with a relative name."""

    def scratch(self) -> Path:
        """Return an empty folder for the files that a work makes too large to hold in memory.

        It lies in the file system of the package, and goes when the task has ended.
        """

    def source(self, name: str) -> bytes:
        """Return a file that metagen ships: `templates/...` or `data/...`."""

    def version(self, name: str) -> str:
        """Return the version of an installed library, of `python`, `tex` or the extra `fonts`."""

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


@dataclass(frozen=True)
class Large:
    """An output that is not loaded.

    The engine hard-links a file of the training folder, or copies it to another file system, and
    moves a file of the scratch folder.

    Attributes:
        path: What `Desk.trained_place` returned, or a file in `Desk.scratch`.
        sha256: Its sha256; of a file in the scratch folder, the engine takes it anew.
    """

    path: Path
    sha256: str


Output = bytes | Large
Work = Callable[[Desk], Mapping[str, Output]]


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
