"""One run of doit over the packages of an out folder, which share its lock and its ledger."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from metagen import errors
from metagen.engine import desk
from metagen.engine.digest import Environment
from metagen.engine.engine import RESTORE, RUN, Engine, Warn, blame_edits
from metagen.engine.graph import Graph, of_run, whole
from metagen.engine.ledger import Ledger
from metagen.engine.store import Cache
from metagen.engine.terminal import SUMMARY, BuildReport, Terminal, violates
from metagen.engine.workspace import Snapshots, StateFolder, Workspace, locked


@dataclass(frozen=True)
class Options:
    """The options of a build.

    Attributes:
        fingerprint: The `workspace.fingerprint` at the start.
        wait: Wait for another build in the out folder; otherwise fail at once.
        strict: Violated constraints make the exit status 3.
        discard_edits: Replace edited files by generated ones; a backup is made.
        lint: A task that reads something past its desk fails.
        cache: The folder of a cache that several out folders share.
    """

    fingerprint: str
    wait: bool = True
    strict: bool = False
    discard_edits: bool = False
    lint: bool = False
    cache: Path | None = None


class Session:
    """The state that doit's tasks share during one run.

    Attributes:
        out: The out folder.
        graphs: One for each spec.
        terminal: Where the session reports.
        failure: The exit status of a task that failed; 0 while none has.
        building: Whether this process holds the lock.
    """

    def __init__(
        self, out: Path, graphs: Sequence[Graph], terminal: Terminal, options: Options
    ) -> None:
        self.out = out
        self.graphs = tuple(graphs)
        self.terminal = terminal
        self.failure = errors.DONE
        self.building = False
        self._options = options
        # A task whose outputs come from a cache does not run, so the lint could not watch it.
        self._cache = Cache(options.cache) if options.cache and not options.lint else None
        if self._cache:
            self._cache.claim()
        self._open = ExitStack()
        self._engines: dict[str, Engine] = {}

    def begin(self) -> None:
        """Take the lock, once: from now on no other build changes the out folder."""
        if self.building:
            return
        self._open.enter_context(locked(self.out, wait=self._options.wait))
        self.building = True
        if self._options.discard_edits:
            for graph in self.graphs:
                paths = self.engine(graph).outputs.discard_edits()
                self.terminal.edits_discarded(graph, paths)

    @cached_property
    def _ledger(self) -> Ledger:
        return self._open.enter_context(closing(Ledger(StateFolder(self.out).ledger)))

    @cached_property
    def _environment(self) -> Environment:
        return Environment(self._ledger)

    def engine(self, graph: Graph) -> Engine:
        """Return the engine of a graph; the ledger is opened at the first call."""
        if graph.run not in self._engines:
            workspace = Workspace.on_disk(self.out, graph.run, self._ledger)
            guard = desk.lint if self._options.lint else nullcontext
            self._engines[graph.run] = Engine(
                graph, workspace, self._environment, self._cache, guard, self.terminal.warn
            )
        return self._engines[graph.run]

    def finish(self, *, complete: bool) -> int:
        """Remove orphans, print the summaries, release the lock; return the exit status.

        Args:
            complete: Whether whole packages were built. After a part of them, the summary may be
                outdated, and what looks like an orphan may belong to a task that did not run.
        """
        try:
            for graph in self.graphs if complete and not self.failure else ():
                self._finish(graph)
            return self._status()
        finally:
            for engine in self._engines.values():
                engine.close()
            self._open.close()

    def _finish(self, graph: Graph) -> None:
        engine = self.engine(graph)
        self.terminal.files_replaced(graph, engine.outputs.displaced)
        self.terminal.outputs_removed(graph, engine.outputs.sweep())
        report = _report(engine)
        with blame_edits(lambda: engine.edits_above(graph.maker[SUMMARY])):
            self.terminal.summary(self.out / graph.run, report)
        if report.is_clean:
            self._save_snapshot(graph, report)

    def _save_snapshot(self, graph: Graph, report: BuildReport) -> None:
        """Save a snapshot of a clean package, unless a file is too new to trust its signature."""
        targets = [target for recipe in whole(graph.recipes) for target in recipe.targets]
        if signatures := self.engine(graph).outputs.signatures(targets):
            snapshots = Snapshots(self.out, self._ledger, self._options.fingerprint)
            spec = graph.spec
            snapshots.save(spec.path, spec.sha256, graph.run, signatures, report.repeated())

    def forget(self, task: str) -> None:
        """Forget the runs of a task, or of a stage, by doit's name; "" means all tasks."""
        for graph in self.graphs:
            for recipe in graph.recipes:
                name = graph.task_name(recipe)
                if task in ("", "synth", name.partition(":")[0], name):
                    self.engine(graph).forget(recipe)

    def _status(self) -> int:
        if self.failure:
            return self.failure
        if any(engine.outputs.conflicts() for engine in self._engines.values()):
            return errors.CONFLICT
        strict = self._options.strict
        violated = strict and any(violates(self.out / graph.run) for graph in self.graphs)
        return errors.VIOLATED if violated else errors.DONE


def _report(engine: Engine) -> BuildReport:
    actions = [outcome.action for outcome in engine.outcomes.values()]
    ran, restored = actions.count(RUN), actions.count(RESTORE)
    return BuildReport(
        spec=str(engine.graph.spec.path),
        ran=ran,
        restored=restored,
        current=len(engine.decided) - ran - restored,
        unused=tuple(engine.unused_keys()),
        edited=tuple(engine.outputs.edits()),
        conflicts=tuple(engine.outputs.conflicts()),
        warnings=engine.graph.warnings,
    )


@contextmanager
def in_memory(
    out: Path, graphs: Sequence[Graph], warn: Warn = lambda problems: None
) -> Iterator[list[Engine]]:
    """Yield engines that know what was built, and whose builds do not change the disk."""
    with closing(Ledger.copy(StateFolder(out).ledger)) as ledger:
        environment = Environment(ledger)
        spaces = [(graph, Workspace.in_memory(out, graph.run, ledger)) for graph in graphs]
        yield [Engine(graph, space, environment, warn=warn) for graph, space in spaces]


@contextmanager
def of_built(run: Path) -> Iterator[Engine]:
    """Yield the engine of a package that was built, for questions about it.

    Raises:
        UsageError: The folder is not a run folder.
    """
    with in_memory(run.resolve().parent, [of_run(run)]) as engines:
        yield engines[0]
