"""All packages of one out folder during one run of doit: the shared ledger, lock and engines."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

from metagen import errors
from metagen.build import graph
from metagen.build.engine import Engine
from metagen.build.ledger import Ledger
from metagen.build.lock import locked
from metagen.build.package import Package
from metagen.build.terminal import Terminal
from metagen.build.world import World
from metagen.errors import Problem, UsageError
from metagen.spec import load

SUMMARY = "docs/summary.json"


class Session:
    """What the two doors share: which packages, where, and under which rules.

    Attributes:
        out: The out folder.
        packages: One for each spec.
        wait: Wait for another build in the out folder; otherwise fail at once.
        strict: Violated constraints make the exit status 3.
        failure: The exit status of a task that failed; 0 while none has.
        discard_edits: Replace edited files by clean ones; a backup is kept.
    """

    def __init__(
        self,
        out: Path,
        packages: Sequence[Package],
        terminal: Terminal,
        *,
        wait: bool = True,
        strict: bool = False,
        discard_edits: bool = False,
    ) -> None:
        self.out = out
        self.packages = tuple(packages)
        self.terminal = terminal
        self.wait, self.strict, self.discard = wait, strict, discard_edits
        self.failure = errors.DONE
        self.building = False
        self._open = ExitStack()
        self._engines: dict[str, Engine] = {}

    def begin(self) -> None:
        """Take the out folder's lock, once; from here on the state cannot change under us."""
        if self.building:
            return
        folder = self.out / ".metagen"
        on_wait = f"waiting for another build in {self.out} to end"
        self._open.enter_context(locked(folder, wait=self.wait, on_wait=on_wait))
        self.building = True
        if self.discard:
            for package in self.packages:
                self.terminal.discarded(package, self.engine(package).discard_edits())

    @cached_property
    def _ledger(self) -> Ledger:
        ledger = Ledger(self.out / ".metagen" / "ledger.sqlite")
        self._open.callback(ledger.close)
        return ledger

    @cached_property
    def _world(self) -> World:
        return World(self._ledger)

    def engine(self, package: Package) -> Engine:
        """Return the engine of a package; the ledger is read at the first call."""
        if package.run not in self._engines:
            self._engines[package.run] = Engine(self.out, package, self._ledger, self._world)
        return self._engines[package.run]

    def finish(self, *, whole: bool) -> int:
        """Remove orphans, show the summary, let go of the folder; return the exit status.

        Args:
            whole: True when whole packages were asked for, so that orphans can be told.
        """
        try:
            for package in self.packages if whole and not self.failure else ():
                engine = self.engine(package)
                self.terminal.removed(engine.sweep())
                self.terminal.summary(engine, self.summary(package))
            return self.status()
        finally:
            for engine in self._engines.values():
                engine.close()
            self._open.close()

    def forget(self, task: str) -> None:
        """Forget the runs of a task by doit's name for it; "" is every task."""
        for package in self.packages:
            for recipe in package.recipes:
                if task in ("", package.task_name(recipe)):
                    self.engine(package).forget(recipe)

    def summary(self, package: Package) -> dict[str, Any]:
        """Return what docs/summary.json of a package says; empty when it was not made."""
        path = self.out / package.run / SUMMARY
        return json.loads(path.read_bytes()) if path.is_file() else {}

    def status(self) -> int:
        """Return the exit status that the state of the packages asks for."""
        if self.failure:
            return self.failure
        if any(engine.conflicts() for engine in self._engines.values()):
            return errors.CONFLICT
        violated = any(
            self.summary(p).get("constraints", {}).get("violated") for p in self.packages
        )
        return errors.VIOLATED if self.strict and violated else errors.DONE


@contextmanager
def opened(run: Path) -> Iterator[Engine]:
    """Yield the engine of a package that was built, to look at what it knows.

    Raises:
        UsageError: The folder is no run folder.
    """
    resolved = run / graph.RESOLVED
    if not resolved.is_file() or not run.resolve().name.startswith("run-"):
        raise UsageError(Problem("This is no run folder.", str(run), "Name an OUT/run-... folder."))
    name = run.resolve().name.removeprefix("run-")
    package = graph.package(load(resolved), name)
    session = Session(run.resolve().parent, [package], Terminal(quiet=True))
    try:
        yield session.engine(package)
    finally:
        session.finish(whole=False)
