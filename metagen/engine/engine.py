"""The incremental engine of one package: decide, run, record.

A task is current when one of its traces holds: every dependency has the digest that it had when
the task ran. Its outputs are then what a clean build would make; missing ones come back from the
store. Otherwise the task runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

from metagen import entries, files
from metagen.engine import causes
from metagen.engine.blame import blamed
from metagen.engine.cache import Cache
from metagen.engine.causes import Cause
from metagen.engine.desk import (
    Progress,
    TracingDesk,
    code_root,
    edited_digest,
    graph_digest,
    provenance_digest,
)
from metagen.engine.ledger import Dependency, Trace
from metagen.engine.outputs import Outputs
from metagen.engine.package import Package
from metagen.engine.place import Place
from metagen.engine.world import World
from metagen.errors import TaskError
from metagen.work import Recipe

Guard = Callable[[Recipe], AbstractContextManager[None]]
_ENTRIES = ("entry", "names")
CURRENT, RESTORE, RUN = "current", "restore", "run"


def unwatched(recipe: Recipe) -> AbstractContextManager[None]:
    """Let the work of a task read whatever it likes."""
    return nullcontext()


@dataclass(frozen=True)
class Decision:
    """What is to be done for a task, and why.

    Attributes:
        action: CURRENT, RESTORE or RUN.
        causes: What changed.
        trace: The trace that holds, if one does.
        outputs: What the trace led to, where it comes from a cache.
    """

    action: str
    causes: tuple[Cause, ...] = ()
    trace: Trace | None = None
    outputs: dict[str, bytes] = field(default_factory=dict)


@dataclass
class Outcome:
    """What was done for a task."""

    task: str
    action: str
    causes: tuple[Cause, ...] = ()
    changed: list[str] = field(default_factory=list)


class Engine:
    """Builds the recipes of one package at its place.

    Attributes:
        package: What is built.
        place: Where.
        outputs: The generated files, and what a person did to them.
        outcomes: What was done, by task.
        decided: The tasks that were looked at.
    """

    def __init__(
        self,
        package: Package,
        place: Place,
        world: World,
        cache: Cache | None = None,
        guard: Guard = unwatched,
    ) -> None:
        self.package = package
        self.place = place
        self.outputs = Outputs(place, package.maker)
        self.outcomes: dict[str, Outcome] = {}
        self.decided: set[str] = set()
        self._keys = set(package.spec.keys())
        self._folder, self._records, self._store = place.folder, place.records, place.store
        self._world = world
        self._cache = cache
        self._guard = guard
        self._contents: dict[str, tuple[str, Any]] = {}

    def over(self, package: Package) -> Engine:
        """Return an engine that builds another package at the same place."""
        return Engine(package, self.place, self._world, self._cache, self._guard)

    def decide(self, recipe: Recipe) -> Decision:
        """Say whether a task is current, can be restored, or must run."""
        self.decided.add(recipe.name)
        newest = self._records.newest(recipe.name)
        why = self._changes(newest) if newest else (causes.FIRST,)
        if newest and not why:
            return self._standing(newest, why)
        for trace in self._records.traces(recipe.name)[1:]:
            if self._holds(trace):
                return self._standing(trace, why)
        if self._cache and (found := self._cache.find(self._identity(recipe), self._now)):
            trace, stored = found
            trace = replace(trace, inputs=self._inputs(trace))
            return Decision(RESTORE, why, trace, dict(zip(trace.outputs, stored, strict=True)))
        return Decision(RUN, why)

    def build(self, recipe: Recipe, progress: Progress) -> Outcome:
        """Bring the outputs of a task up to date and record how."""
        decision = self.decide(recipe)
        outcome = Outcome(recipe.name, decision.action, decision.causes)
        if decision.action == RESTORE and decision.trace:
            outputs = decision.outputs or self._stored(decision.trace)
            for data in decision.outputs.values():
                self._store.put(data)
            outcome.changed = self.outputs.put(recipe, outputs, decision.trace)
        elif decision.action == RUN:
            outputs, trace = self._run(recipe, progress)
            outcome.changed = self.outputs.put(recipe, outputs, trace)
        self.outcomes[recipe.name] = outcome
        return outcome

    def provenance(self, path: str) -> dict[str, Any]:
        """Return what the newest run of a path's task read, and whether the file was edited."""
        read = sorted({_told(d) for d in self.dependencies(self.package.maker[path])})
        return {"made_from": read, "edited": self.outputs.edited(path)}

    def edits_above(self, recipe: Recipe) -> list[str]:
        """Return the edited files that a task's outputs are made from, by way of others too."""
        *above, _ = self.package.in_order([recipe])
        return [p for each in above for p in each.targets if self.outputs.edited(p)]

    def dependencies(self, recipe: Recipe) -> tuple[Dependency, ...]:
        """Return what the newest run of a task read; nothing for one that never ran."""
        newest = self._records.newest(recipe.name)
        return newest.dependencies if newest else ()

    def forget(self, recipe: Recipe) -> None:
        """Forget the runs of a task, so that it runs at the next build."""
        self._records.forget(recipe.name)

    def close(self) -> None:
        """Keep the stat signatures for the next build."""
        if self._folder.changed:
            self._records.keep_signatures(self._folder.known)

    def _now(self, kind: str, name: str) -> str:
        """Return the digest that a dependency has now; "" when it is gone."""
        if kind == "key":
            return self.package.spec.digest(name) if name in self._keys else ""
        if kind == "file":
            return self._folder.digest(name)
        if kind in _ENTRIES:
            return self._entry(kind, name)
        if kind == "provenance":
            return provenance_digest(self.provenance(name)) if name in self.package.maker else ""
        if kind == "edited":
            return edited_digest(self.outputs.edited(name))
        if kind == "graph":
            return next((graph_digest(r) for r in self.package.recipes if r.name == name), "")
        return self._world.digest(kind, name)

    def _entry(self, kind: str, address: str) -> str:
        """Return the digest of an entry, or of the names in it, as it is in the file now."""
        path, way = entries.split(address)
        state = self._folder.digest(path)
        try:
            if self._contents.get(path, ("", None))[0] != state:
                self._contents[path] = (state, entries.parse(path, self._folder.load(path)))
            value = entries.at(self._contents[path][1], way)
            return entries.digest(value if kind == "entry" else entries.names(value))
        except (LookupError, TypeError, ValueError, TaskError):
            return entries.ABSENT

    def _holds(self, trace: Trace) -> bool:
        return next(self._broken(trace), None) is None

    def _broken(self, trace: Trace) -> Iterator[Dependency]:
        """Yield each dependency that is no longer what it was."""
        same = {p for p, digest in trace.inputs.items() if self._folder.digest(p) == digest}
        for each in trace.dependencies:
            spared = each.kind in _ENTRIES and each.file in same
            if not spared and self._now(each.kind, each.name) != each.digest:
                yield each

    def _inputs(self, trace: Trace) -> dict[str, str]:
        paths = {d.file for d in trace.dependencies if d.kind in _ENTRIES}
        return {path: self._folder.digest(path) for path in sorted(paths)}

    def _identity(self, recipe: Recipe) -> str:
        """Return the digest of all that a task is before it reads anything."""
        parts = [recipe.name, graph_digest(recipe), self._now("code", code_root(recipe))]
        return files.sha256(files.canonical(parts).encode())

    def _standing(self, trace: Trace, why: tuple[Cause, ...]) -> Decision:
        """Decide for a trace that holds: are its outputs in place, and is it the newest?"""
        astray = [p for p, digest in trace.outputs.items() if not self.outputs.stand(p, digest)]
        if not why and not astray:
            return Decision(CURRENT, trace=trace)
        kept = all(self._store.get(digest) is not None for digest in trace.outputs.values())
        missing = tuple(Cause(f"{path} is not in place") for path in astray)
        return Decision(RESTORE if kept else RUN, why or missing, trace)

    def _changes(self, trace: Trace) -> tuple[Cause, ...]:
        """Return what changed since the run of a trace; nothing while it holds."""
        return tuple(dict.fromkeys(map(self._cause, self._broken(trace))))

    def _cause(self, broken: Dependency) -> Cause:
        """Say what changed, as a person would."""
        kind, name, _, before = broken
        if kind == "key" and name in self._keys:
            return causes.value_changed(name, before, self.package.spec.shown(name))
        if kind == "version":
            now = self._now(kind, name) or "missing"
            return Cause(f"{name} {before or 'missing'} -> {now}")
        if kind == "graph":
            return Cause("its inputs or targets changed")
        if kind == "code":
            return Cause(f"the code of {name} changed")
        return self._file_cause(broken.file or name)

    def _file_cause(self, path: str) -> Cause:
        if self.outputs.edited(path):
            return Cause(f"{path} edited by hand")
        maker = self.package.maker.get(path)
        outcome = self.outcomes.get(maker.name) if maker else None
        return causes.file_changed(path, outcome.causes if outcome else ())

    def _run(self, recipe: Recipe, progress: Progress) -> tuple[dict[str, bytes], Trace]:
        spec, load = self.package.spec, self._folder.load
        told = (self.outputs.edited, self.provenance, progress)
        desk = TracingDesk(recipe, spec, self._world, load, *told)
        with blamed(lambda: self.edits_above(recipe)), self._guard(recipe):
            outputs = recipe.work(desk)
        if set(outputs) != set(recipe.targets):
            raise TaskError(f"{recipe.name} made {sorted(outputs)}, not {sorted(recipe.targets)}.")
        digests = {path: self._store.put(data) for path, data in outputs.items()}
        trace = Trace(tuple(desk.seen.values()), digests, desk.inputs())
        if self._cache:
            self._cache.put(self._identity(recipe), trace, outputs)
        return outputs, trace

    def _stored(self, trace: Trace) -> dict[str, bytes]:
        stored = {path: self._store.get(digest) for path, digest in trace.outputs.items()}
        return {path: data for path, data in stored.items() if data is not None}


def _told(dependency: Dependency) -> str:
    if dependency.file:
        return dependency.file
    if dependency.kind == "version":
        return f"{dependency.name} {dependency.shown}"
    return f"{dependency.kind}:{dependency.name}"
