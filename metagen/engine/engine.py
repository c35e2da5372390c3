"""The incremental engine of one package: decide, run, record.

A task is current while one of its traces matches: every dependency has the digest that it had when
the task ran. Its outputs are then what a clean build would make, and missing ones are restored from
the store. Otherwise the task runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from metagen import entries, files
from metagen.engine.cache import Cache
from metagen.engine.causes import FIRST, Cause, file_changed, sentence, value_changed
from metagen.engine.desk import (
    TracingDesk,
    code_root,
    edited_digest,
    generated_digest,
    graph_digest,
    provenance_digest,
)
from metagen.engine.digest import Environment
from metagen.engine.folder import Outputs
from metagen.engine.graph import RESOLVED, Graph
from metagen.engine.ledger import Dependency, Trace
from metagen.engine.terminal import Progress
from metagen.engine.training import KINDS as BOUND_KINDS
from metagen.engine.training import Training
from metagen.engine.workspace import Workspace
from metagen.errors import MetagenError, Problem, TaskError
from metagen.work import Large, Output, Recipe

CURRENT, RESTORE, RUN = "current", "restore", "run"
Guard = Callable[[Recipe], AbstractContextManager[Any]]  # Entered while the work of a task runs.
Warn = Callable[[Iterable[Problem]], None]
_RUN_CODE = (
    "measure:",
    "benchmarks:",
    "training:",
)  # How the names of tasks begin that run scripts they read.
_ENTRIES = ("entry", "names")
# Keys that decide about the graph itself, so no task needs to read them.
_GRAPH_KEYS = {"metagen_version", "name", "outputs.artifacts"}


@dataclass(frozen=True)
class Decision:
    """What to do for a task, and why.

    Attributes:
        action: CURRENT, RESTORE or RUN.
        causes: What changed.
        trace: The trace that matches, if one does.
        outputs: The outputs of the trace, if it comes from a cache.
    """

    action: str
    causes: tuple[Cause, ...] = ()
    trace: Trace | None = None
    outputs: dict[str, bytes] = field(default_factory=dict)


@dataclass
class Outcome:
    """What a build did for a task, why, and which files changed by it."""

    task: str
    action: str
    causes: tuple[Cause, ...] = ()
    changed: list[str] = field(default_factory=list)

    @property
    def is_first(self) -> bool:
        """Whether the task never ran before, which needs no explanation."""
        return self.causes == (FIRST,)

    @property
    def reason(self) -> str:
        """The causes as a sentence."""
        return sentence(self.causes)


class Engine:
    """Builds the tasks of one graph in a workspace.

    Attributes:
        graph: What to build.
        workspace: Where to build it.
        outputs: The generated files, and the edits of them.
        outcomes: What this build did, by task.
        decided: Names of the tasks that this build has decided about.
    """

    def __init__(
        self,
        graph: Graph,
        workspace: Workspace,
        environment: Environment,
        cache: Cache | None = None,
        guard: Guard = nullcontext,
        warn: Warn = lambda problems: None,
    ) -> None:
        self.graph = graph
        self.workspace = workspace
        self._folder, self._records, self._store = (
            workspace.folder, workspace.records, workspace.store,
        )  # fmt: skip
        self.outputs = Outputs(self._folder, self._records, self._store, graph.maker)
        self.outcomes: dict[str, Outcome] = {}
        self.decided: set[str] = set()
        self._keys = set(graph.spec.keys())
        self._environment = environment
        self._cache = cache
        self._guard = guard
        self._warn = warn
        self._warned: set[str] = set()
        self._contents: dict[str, tuple[str, Any]] = {}
        records = self._records
        self.training = Training(
            graph.binding,
            records.signatures("bound"),
            lambda known: records.save_signatures("bound", known),
        )
        self._folder.sources = self.training.looked

    def rebuilt_as(self, graph: Graph) -> Engine:
        """Return an engine that builds another graph in the same workspace."""
        return Engine(
            graph, self.workspace, self._environment, self._cache, self._guard, self._warn
        )

    def decide(self, recipe: Recipe) -> Decision:
        """Decide whether a task is current, can be restored, or must run."""
        self.decided.add(recipe.name)
        newest = self._records.newest(recipe.name)
        why = self._changes(newest) if newest else (FIRST,)
        if newest and not why and _is_run_of(recipe, newest):
            return self._decide_matching(newest, why)
        # An older trace matches after the user went back to an earlier spec.
        for trace in self._records.traces(recipe.name)[1:]:
            if _is_run_of(recipe, trace) and self._matches(trace):
                return self._decide_matching(trace, why)
        run = self._cache.find(self._identity(recipe), self._now) if self._cache else None
        if run and _is_run_of(recipe, run[0]):
            trace, outputs = run
            return Decision(RESTORE, why, replace(trace, inputs=self._inputs(trace)), outputs)
        return Decision(RUN, why)

    def build(self, recipe: Recipe, progress: Progress) -> Outcome:
        """Bring the outputs of a task up to date and record its run."""
        decision = self.decide(recipe)
        outcome = Outcome(recipe.name, decision.action, decision.causes)
        if decision.action == RESTORE and decision.trace:
            outputs = decision.outputs or self._store.outputs(decision.trace) or {}
            for data in decision.outputs.values():
                self._store.put(data)
            outcome.changed = self.outputs.put(recipe, outputs, decision.trace)
        elif decision.action == RUN:
            outcome.changed = self._run(recipe, progress)
        self.outcomes[recipe.name] = outcome
        return outcome

    def provenance(self, path: str) -> dict[str, Any]:
        """Return what manifest.json says of a file: its dependencies, and whether it is edited."""
        read = self.dependencies(self.graph.maker[path])
        return {"made_from": sorted(set(map(_origin, read))), "edited": self.outputs.edited(path)}

    def edits_above(self, recipe: Recipe) -> list[str]:
        """Return the edited files that a task's outputs are made from, directly or not."""
        *above, _ = self.graph.in_order([recipe])
        return [p for each in above for p in each.targets if self.outputs.edited(p)]

    def dependencies(self, recipe: Recipe) -> tuple[Dependency, ...]:
        """Return the dependencies of a task's newest run; () if it never ran."""
        newest = self._records.newest(recipe.name)
        return newest.dependencies if newest else ()

    def unused_keys(self) -> list[str]:
        """Return the keys that the spec declares and that no file of the package was made from."""
        others = [r for r in self.graph.recipes if r.targets != (RESOLVED,)]
        used = {d.name for r in others for d in self.dependencies(r) if d.kind == "key"}
        spec = self.graph.spec
        declared = [key for key in spec.keys() if spec.source(key) != "default"]  # noqa: SIM118
        return [key for key in declared if key not in used | _GRAPH_KEYS]

    def forget(self, recipe: Recipe) -> None:
        """Delete the recorded runs of a task, so that it runs at the next build."""
        self._records.forget(recipe.name)

    def close(self) -> None:
        """Save the stat signatures, so that the next build reads unchanged files no more."""
        if self._folder.changed:
            self._records.save_signatures("stat", self._folder.known)
        self.training.close()

    def _now(self, kind: str, name: str) -> str:
        """Return the current digest of a dependency; "" if it no longer exists."""
        if kind == "key":
            return self.graph.spec.digest(name) if name in self._keys else ""
        if kind == "file":
            return self._folder.digest(name)
        if kind in _ENTRIES:
            return self._entry(kind, name)
        if kind in BOUND_KINDS:
            return self.training.current(kind, name)
        if kind == "provenance":
            return provenance_digest(self.provenance(name)) if name in self.graph.maker else ""
        if kind == "edited":
            return edited_digest(self.outputs.edited(name))
        if kind == "generated":
            return generated_digest(self.outputs.generated(name))
        if kind == "graph":
            return next((graph_digest(r) for r in self.graph.recipes if r.name == name), "")
        return self._environment.digest(kind, name)

    def _entry(self, kind: str, address: str) -> str:
        """Return the current digest of an entry, or of the names in it."""
        path, keys = entries.split(address)
        state = self._folder.digest(path)
        try:
            if self._contents.get(path, ("", None))[0] != state:
                self._contents[path] = (state, entries.parse(path, self._folder.load(path)))
            value = entries.at(self._contents[path][1], keys)
            return entries.digest(value if kind == "entry" else entries.names(value))
        except (LookupError, TypeError, ValueError, TaskError):
            return entries.ABSENT

    def _matches(self, trace: Trace) -> bool:
        return next(self._changed(trace), None) is None

    def _changed(self, trace: Trace) -> Iterator[Dependency]:
        """Yield each dependency of a trace whose digest changed."""
        same = {p for p, digest in trace.inputs.items() if self._folder.digest(p) == digest}
        for each in trace.dependencies:
            # All entries of an unchanged file are unchanged, so the file is not parsed.
            known = each.kind in _ENTRIES and each.file in same
            if not known and self._now(each.kind, each.name) != each.digest:
                yield each

    def _inputs(self, trace: Trace) -> dict[str, str]:
        paths = {d.file for d in trace.dependencies if d.kind in _ENTRIES}
        return {path: self._folder.digest(path) for path in sorted(paths)}

    def _identity(self, recipe: Recipe) -> str:
        """Return the digest of what is known of a task before it reads anything."""
        parts = [recipe.name, graph_digest(recipe), self._now("code", code_root(recipe))]
        return files.sha256(files.canonical(parts).encode())

    def _decide_matching(self, trace: Trace, why: tuple[Cause, ...]) -> Decision:
        """Decide for a trace that matches: nothing changed, or an earlier state came back."""
        missing = [p for p, digest in trace.outputs.items() if not self.outputs.in_place(p, digest)]
        if not why and not missing:
            return Decision(CURRENT, trace=trace)
        stored = self._store.outputs(trace) is not None
        why = why or tuple(Cause(f"{path} is missing or outdated") for path in missing)
        return Decision(RESTORE if stored else RUN, why, trace)

    def _changes(self, trace: Trace) -> tuple[Cause, ...]:
        """Return the causes of the changes since the run of a trace; () while it matches."""
        return tuple(dict.fromkeys(map(self._cause, self._changed(trace))))

    def _cause(self, dependency: Dependency) -> Cause:
        kind, name, _, before = dependency
        if kind == "key" and name in self._keys:
            return value_changed(name, before, self.graph.spec.shown(name))
        if kind == "version":
            now = self._now(kind, name) or "missing"
            return Cause(f"{name} {before or 'missing'} -> {now}")
        if kind == "graph":
            return Cause("its inputs or targets changed")
        if kind == "code":
            return Cause(f"the code of {name} changed")
        if kind in BOUND_KINDS:
            return self.training.cause(kind, name, before)
        return self._file_cause(dependency.file or name)

    def _file_cause(self, path: str) -> Cause:
        if self.outputs.edited(path):
            return Cause(f"{path} edited by hand")
        maker = self.graph.maker.get(path)
        outcome = self.outcomes.get(maker.name) if maker else None
        return file_changed(path, outcome.causes if outcome else ())

    def _run(self, recipe: Recipe, progress: Progress) -> list[str]:
        """Do the work of a task, write its outputs and record its run; return what changed."""
        with self._scratch() as scratch:
            desk = TracingDesk(
                recipe, self.graph.spec, self._environment, self._folder, self.training, scratch,
                self.outputs.edited, self.outputs.generated, self.provenance, progress,
            )  # fmt: skip
            self._warn_of_edited_code(recipe)
            with blame_edits(lambda: self.edits_above(recipe)), self._guard(recipe):
                outputs = recipe.work(desk)
            if set(outputs) != set(recipe.targets):
                made, right = sorted(outputs), sorted(recipe.targets)
                raise TaskError(f"{recipe.name} made {made}, not {right}.")
            self.training.check()
            return self._record(recipe, desk, outputs)

    @contextmanager
    def _scratch(self) -> Iterator[Callable[[], Path]]:
        """Yield what makes the scratch folder of a task at its first call."""
        made: list[Path] = []

        def make() -> Path:
            if not made:
                made.append(self._folder.new_scratch())
            return made[0]

        try:
            yield make
        finally:
            for folder in made:
                self._folder.drop_scratch(folder)

    def _record(
        self, recipe: Recipe, desk: TracingDesk, outputs: Mapping[str, Output]
    ) -> list[str]:
        digests = {path: self._keep(data) for path, data in outputs.items()}
        trace = Trace(tuple(desk.reads.values()), digests, desk.inputs())
        small = {path: data for path, data in outputs.items() if isinstance(data, bytes)}
        if self._cache and len(small) == len(outputs):  # A cache of gigabytes would serve nobody.
            self._cache.put(self._identity(recipe), trace, small)
        named = {
            path: data if isinstance(data, bytes) else replace(data, sha256=digests[path])
            for path, data in outputs.items()
        }
        changed = self.outputs.put(recipe, named, trace)
        for path in {each.path for each in outputs.values() if isinstance(each, Large)}:
            self.training.linked(path)
        return changed

    def _keep(self, data: Output) -> str:
        """Return the sha256 of an output; a small one goes to the store."""
        if isinstance(data, bytes):
            return self._store.put(data)
        inside = str(data.path) in self.training.looked
        return data.sha256 if inside else files.sha256_of(data.path)

    def _warn_of_edited_code(self, recipe: Recipe) -> None:
        """Warn of edited scripts that a task is about to run: a stranger may have edited them."""
        if not recipe.name.startswith(_RUN_CODE):
            return
        scripts = {p for p in recipe.inputs if p.endswith(".py") and self.outputs.edited(p)}
        new = sorted(scripts - self._warned)
        self._warned |= scripts
        if new:
            sentence = f"{recipe.name} runs {', '.join(new)}, edited by hand"
            self._warn([Problem(sentence, self.graph.run)])


def _is_run_of(recipe: Recipe, trace: Trace) -> bool:
    """Tell whether a trace made the targets of a recipe: a forged one may name any other file."""
    return trace.outputs.keys() == set(recipe.targets)


def _origin(dependency: Dependency) -> str:
    """Return the text of a dependency in manifest.json."""
    if dependency.file:
        return dependency.file
    if dependency.kind == "version":
        return f"{dependency.name} {dependency.shown}"
    return f"{dependency.kind}:{dependency.name}"


@contextmanager
def blame_edits(edits: Callable[[], Sequence[str]]) -> Iterator[None]:
    """Turn an unforeseen error into one that names the edited files that may have caused it.

    An edited file is a source of all that is made from it, and no task expects every possible edit.
    So an error after an edit is reported as a mistake in the edit, not as one of MetaGen.

    Args:
        edits: Returns the edited files that the work inside reads, directly or not.

    Raises:
        TaskError: The work failed, and there are such files.
    """
    try:
        yield
    except MetagenError:
        raise
    except Exception as error:
        if not (paths := edits()):
            raise
        message, *_ = str(error).splitlines() or [""]
        sentence = f"a task fails on this edit: {type(error).__name__}: {message}"
        hint = "correct the edit, or build with --discard-edits, which makes a backup"
        raise TaskError(Problem(sentence, ", ".join(paths), hint)) from error
