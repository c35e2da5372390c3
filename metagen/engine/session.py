"""All packages of one out folder during one run: the shared ledger, lock and engines."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from metagen import errors
from metagen.engine import explain, graph
from metagen.engine.blame import blamed
from metagen.engine.cache import Cache
from metagen.engine.engine import RESTORE, RUN, Engine, Guard, unwatched
from metagen.engine.ledger import Ledger
from metagen.engine.lock import locked
from metagen.engine.package import Package
from metagen.engine.place import Home, Place
from metagen.engine.seal import Seals
from metagen.engine.standing import SUMMARY, Standing, violated
from metagen.engine.terminal import Terminal
from metagen.engine.world import World
from metagen.errors import Problem, UsageError
from metagen.spec import load


@dataclass(frozen=True)
class Rules:
    """How a build is done.

    Attributes:
        wait: Wait for another build in the out folder; otherwise fail at once.
        strict: Violated constraints make the exit status 3.
        discard_edits: Replace edited files by clean ones; a backup is kept.
        lint: A task that reads what it does not record fails.
        cache: The folder of a cache that out folders share.
        around: What the build depends on beside its specs and the out folder, as it was at the
            start; see `seal.surroundings`.
    """

    around: str
    wait: bool = True
    strict: bool = False
    discard_edits: bool = False
    lint: bool = False
    cache: Path | None = None


class Session:
    """What the two doors share: which packages, where, and under which rules.

    Attributes:
        out: The out folder.
        packages: One for each spec.
        terminal: Who is told.
        rules: How.
        failure: The exit status of a task that failed; 0 while none has.
        building: Whether this process holds the out folder.
    """

    def __init__(
        self, out: Path, packages: Sequence[Package], terminal: Terminal, rules: Rules
    ) -> None:
        self.out = out
        self.packages = tuple(packages)
        self.terminal = terminal
        self.rules = rules
        self.failure = errors.DONE
        self.building = False
        self._home = Home(out)
        self._cache = Cache(rules.cache) if rules.cache and not rules.lint else None
        self._open = ExitStack()
        self._engines: dict[str, Engine] = {}

    def begin(self) -> None:
        """Take the out folder's lock, once; from here on the state cannot change under us."""
        if self.building:
            return
        self._home.make()
        on_wait = f"waiting for another build in {self.out} to end"
        self._open.enter_context(locked(self._home.lock, wait=self.rules.wait, on_wait=on_wait))
        self.building = True
        shutil.rmtree(self._home.scratch, ignore_errors=True)  # what a killed build left
        if self.rules.discard_edits:
            for package in self.packages:
                self.terminal.discarded(package, self.engine(package).outputs.discard_edits())

    @cached_property
    def _ledger(self) -> Ledger:
        ledger = Ledger(self._home.ledger)
        self._open.callback(ledger.close)
        return ledger

    @cached_property
    def _world(self) -> World:
        return World(self._ledger)

    def engine(self, package: Package) -> Engine:
        """Return the engine of a package; the ledger is read at the first call."""
        if package.run not in self._engines:
            place = Place.on_disk(self.out, package.run, self._ledger)
            self._engines[package.run] = Engine(
                package, place, self._world, self._cache, self._guard()
            )
        return self._engines[package.run]

    def _guard(self) -> Guard:
        """Return what watches the work of each task."""
        if not self.rules.lint:
            return unwatched
        from metagen.engine.lint import watched

        return watched

    def finish(self, *, whole: bool) -> int:
        """Remove orphans, show the summary, let go of the folder; return the exit status.

        Args:
            whole: True when whole packages were asked for, so that orphans can be told.
        """
        try:
            for package in self.packages if whole and not self.failure else ():
                self._finish(package)
            return self.status()
        finally:
            for engine in self._engines.values():
                engine.close()
            self._open.close()

    def _finish(self, package: Package) -> None:
        engine = self.engine(package)
        self.terminal.displaced(package, engine.outputs.displaced)
        self.terminal.removed(package, engine.outputs.sweep())
        standing, made = _standing(engine), package.maker[SUMMARY]
        with blamed(lambda: engine.edits_above(made)):
            self.terminal.summary(self.out / package.run, standing)
        if standing.is_clean:
            self._seal(package, standing)

    def _seal(self, package: Package, standing: Standing) -> None:
        """Seal a package that is as its tasks left it, unless a file was written only just now."""
        made = [target for recipe in graph.whole(package.recipes) for target in recipe.targets]
        if known := self.engine(package).outputs.signatures(made):
            seals, spec = Seals(self.out, self._ledger, self.rules.around), package.spec
            seals.set(spec.path, spec.sha256, package.run, known, standing.settled())

    def forget(self, task: str) -> None:
        """Forget the runs of a task, or of all tasks of a stage, by doit's name; "" is all."""
        for package in self.packages:
            for recipe in package.recipes:
                name = package.task_name(recipe)
                if task in ("", "synth", name.partition(":")[0], name):
                    self.engine(package).forget(recipe)

    def status(self) -> int:
        """Return the exit status that the state of the packages asks for."""
        if self.failure:
            return self.failure
        if any(engine.outputs.conflicts() for engine in self._engines.values()):
            return errors.CONFLICT
        lost = self.rules.strict and any(violated(self.out / p.run) for p in self.packages)
        return errors.VIOLATED if lost else errors.DONE


def _standing(engine: Engine) -> Standing:
    actions = [outcome.action for outcome in engine.outcomes.values()]
    ran, restored = actions.count(RUN), actions.count(RESTORE)
    return Standing(
        spec=str(engine.package.spec.path),
        ran=ran,
        restored=restored,
        current=len(engine.decided) - ran - restored,
        unused=tuple(explain.unused(engine)),
        edited=tuple(engine.outputs.edits()),
        conflicts=tuple(engine.outputs.conflicts()),
        warnings=engine.package.warnings,
    )


@contextmanager
def opened(run: Path) -> Iterator[Engine]:
    """Yield the engine of a package that was built, to look at what it knows.

    Raises:
        UsageError: The folder is no run folder.
    """
    with imagined(run.resolve().parent, [built(run)]) as engines:
        yield engines[0]


def built(run: Path) -> Package:
    """Return the package that a run folder holds.

    Raises:
        UsageError: The folder is no run folder.
    """
    resolved = run / graph.RESOLVED
    if not resolved.is_file() or not run.resolve().name.startswith("run-"):
        raise UsageError(Problem("This is no run folder.", str(run), "Name an OUT/run-... folder."))
    return graph.package(load(resolved), run.resolve().name.removeprefix("run-"))


@contextmanager
def imagined(out: Path, packages: Sequence[Package]) -> Iterator[list[Engine]]:
    """Yield engines that know what was built, and whose builds leave the disk as it is."""
    ledger = Ledger.copy(Home(out).ledger)
    try:
        world = World(ledger)
        yield [Engine(p, Place.imagined(out, p.run, ledger), world) for p in packages]
    finally:
        ledger.close()
