"""One run of doit over the packages of an out folder, which share its lock and its ledger."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, nullcontext
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

from metagen import errors, programs
from metagen.engine import binding, lint
from metagen.engine.cache import Cache, Folder, Shared
from metagen.engine.digest import Environment
from metagen.engine.engine import RESTORE, RUN, Engine, Warn, blame_edits
from metagen.engine.graph import RELEASE, Graph, of_run, whole
from metagen.engine.ledger import Ledger
from metagen.engine.terminal import SUMMARY, BuildReport, Terminal, violates
from metagen.engine.workspace import Snapshots, StateFolder, Workspace, locked
from metagen.errors import Problem


@dataclass(frozen=True)
class Options:
    """The options of a build.

    Attributes:
        fingerprint: The `workspace.fingerprint` at the start.
        wait: Wait for another build in the out folder; otherwise fail at once.
        strict: Violated constraints make the exit status 3.
        discard_edits: Replace edited files by generated ones; a backup is made.
        lint: A task that reads something past its desk fails.
        cache: The cache that several out folders share.
        rebind: What the graphs are bound to replaces what the ledger has bound.
        trains: The build makes the training folder that the graphs are bound to.
    """

    fingerprint: str
    wait: bool = True
    strict: bool = False
    discard_edits: bool = False
    lint: bool = False
    cache: Shared | None = None
    rebind: bool = False
    trains: bool = False


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
        shared = options.cache if not options.lint else None
        self._cache = opened(shared, terminal.warn) if shared else None
        self._open = ExitStack()
        self._engines: dict[str, Engine] = {}

    def begin(self) -> None:
        """Take the lock, once: from now on no other build changes the out folder."""
        if self.building:
            return
        self._open.enter_context(locked(self.out, wait=self._options.wait))
        self.building = True
        for graph in self.graphs if not self._options.trains else ():
            self._bind(graph)
        if self._options.discard_edits:
            for graph in self.graphs:
                paths = self.engine(graph).outputs.discard_edits()
                self.terminal.edits_discarded(graph, paths)

    def _bind(self, graph: Graph) -> None:
        """Record what a graph is bound to, or check that it still is what the ledger says.

        Raises:
            TaskError: Another build has bound something else since the graph was made.
        """
        graph.binding.check()
        known = binding.read(self._ledger, self.out, graph.run)
        if self._options.rebind and known != graph.binding:
            binding.write(self._ledger, self.out, graph.run, graph.binding)
        elif not self._options.rebind and (known or binding.NOTHING) != graph.binding:
            sentence = "Another build has bound another training run meanwhile."
            hint = "run the same command again"
            raise errors.TaskError(Problem(sentence, str(self.out / graph.run), hint))

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
            guard = lint.watched if self._options.lint else nullcontext
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
        signatures = self.engine(graph).outputs.signatures(targets)
        bound = self.engine(graph).training.signatures()
        if signatures and bound is not None:
            snapshots = Snapshots(self.out, self._ledger, self._options.fingerprint)
            spec, known = graph.spec, (signatures, bound)
            snapshots.save(spec.path, spec.sha256, graph.run, *known, report.repeated())

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


def opened(shared: Shared, warn: Warn, *, adds: bool = True) -> Cache:
    """Return a cache.

    Args:
        shared: Which.
        warn: Where a fault of a server is reported.
        adds: Whether runs may be added.

    Raises:
        UsageError: The folder holds other files, or the URL is malformed.
    """
    if shared.is_remote:
        # http.client takes as long to import as a small build takes.
        from metagen.engine.remote import Server

        server = Server(shared.place, writes=adds and shared.uploads, warn=warn)
        return Cache(server, shared.key)
    folder = Folder(Path(shared.place), writes=adds)
    folder.claim()
    return Cache(folder, shared.key)


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
        bound=tuple(map(str, engine.graph.binding.paths)),
        release=RELEASE if any(p.startswith(f"{RELEASE}/") for p in engine.graph.maker) else "",
    )


@contextmanager
def in_memory(
    out: Path,
    graphs: Sequence[Graph],
    warn: Warn = lambda problems: None,
    shared: Shared | None = None,
) -> Iterator[Iterator[Engine]]:
    """Yield engines that know what was built, and whose builds change neither disk nor cache.

    Each is made when it is asked for, since it holds the whole package that it builds.
    """
    with ExitStack() as held:
        ledger = held.enter_context(closing(Ledger.copy(StateFolder(out).ledger)))
        scratch = cache(lambda: held.enter_context(programs.scratch()))
        environment = Environment(ledger)
        runs = opened(shared, warn, adds=False) if shared else None

        def engine(graph: Graph) -> Engine:
            space = Workspace.in_memory(out, graph.run, ledger, scratch)
            return Engine(graph, space, environment, runs, warn=warn)

        yield map(engine, graphs)


@contextmanager
def of_built(run: Path) -> Iterator[Engine]:
    """Yield the engine of a package that was built, for questions about it.

    Raises:
        UsageError: The folder is not a run folder.
    """
    with in_memory(run.resolve().parent, [of_run(run)]) as engines:
        yield next(engines)
