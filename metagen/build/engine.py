"""The incremental engine of one package: decide, run, place, record.

A task is current when one of its traces holds: every dependency has the digest that it had when
the task ran. Its outputs are then what a clean build would make; missing ones come back from the
store. Otherwise the task runs. A file that a person edited is never overwritten.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from metagen import entries, files
from metagen.build.desk import Progress, TracingDesk, graph_digest, provenance_digest, shown
from metagen.build.ledger import Dependency, Ledger, RunLedger, Trace, Written
from metagen.build.merge import merged
from metagen.build.package import Package
from metagen.build.store import Store
from metagen.build.world import FileDigests, World
from metagen.errors import TaskError
from metagen.work import Recipe

CURRENT, RESTORE, RUN = "current", "restore", "run"
_BRIEF = 60  # characters of an old and a new value, up to which a cause shows both
BESIDE = ".new"  # where newly generated text waits beside an edited file


@dataclass(frozen=True)
class Decision:
    """What is to be done for a task, and why, as a person would say it; a first build has no why.

    Attributes:
        action: CURRENT, RESTORE or RUN.
        causes: What changed.
        trace: The trace that holds, if one does.
    """

    action: str
    causes: tuple[str, ...] = ()
    trace: Trace | None = None


@dataclass
class Outcome:
    """What was done for a task."""

    task: str
    action: str
    causes: tuple[str, ...] = ()
    changed: list[str] = field(default_factory=list)


class Engine:
    """Builds the recipes of one package in its run folder.

    Attributes:
        package: What is built.
        folder: Where.
        outcomes: What was done, by task.
        decided: The tasks that were looked at.
        backups: Where edits go that are given up.
    """

    def __init__(self, out: Path, package: Package, ledger: Ledger, world: World) -> None:
        self.package = package
        self.folder = out / package.run
        self.outcomes: dict[str, Outcome] = {}
        self.decided: set[str] = set()
        self.backups = out / ".metagen" / "backup" / package.run
        self._keys = set(package.spec.keys())
        self._ledger = ledger
        self._world = world
        self._store = Store(out / ".metagen" / "store")
        self._records = RunLedger(ledger, package.run)
        self._contents: dict[str, tuple[str, Any]] = {}
        self._files = FileDigests(self.folder, ledger.rows(package.run, "stat").get("", {}))

    def decide(self, recipe: Recipe) -> Decision:
        """Say whether a task is current, can be restored from the store, or must run."""
        self.decided.add(recipe.name)
        traces = self._records.traces(recipe.name)
        for trace in traces:
            if not self._broken(trace):
                return self._standing(trace, newest=trace is traces[0])
        if not traces:
            return Decision(RUN)
        broken = self._broken(traces[0])
        return Decision(RUN, tuple(dict.fromkeys(map(self._cause, broken))))

    def build(self, recipe: Recipe, progress: Progress) -> Outcome:
        """Bring the outputs of a task up to date and record how."""
        decision = self.decide(recipe)
        outcome = Outcome(recipe.name, decision.action, decision.causes)
        if decision.action == RESTORE and decision.trace:
            stored = {p: self._store.get(d) for p, d in decision.trace.outputs.items()}
            outputs = {p: data for p, data in stored.items() if data is not None}
            outcome.changed = self._place(recipe, outputs, decision.trace)
        elif decision.action == RUN:
            outputs, trace = self._run(recipe, progress)
            outcome.changed = self._place(recipe, outputs, trace)
        self.outcomes[recipe.name] = outcome
        return outcome

    def edited(self) -> list[str]:
        """Return the generated files that a person changed."""
        return sorted(p for p in self.package.maker if self._is_edited(p))

    def conflicts(self) -> list[str]:
        """Return the edited files that newly generated text waits beside."""
        waiting = (p.removesuffix(BESIDE) for p in self._records.written if p.endswith(BESIDE))
        return sorted(p for p in waiting if (self.folder / (p + BESIDE)).exists())

    def provenance(self, path: str) -> dict[str, Any]:
        """Return what the newest run of a path's task read, and whether the file was edited."""
        read = sorted({_told(d) for d in self.dependencies(self.package.maker[path])})
        return {"made_from": read, "edited": self._is_edited(path)}

    def dependencies(self, recipe: Recipe) -> tuple[Dependency, ...]:
        """Return what the newest run of a task read; nothing for one that never ran."""
        traces = self._records.traces(recipe.name)
        return traces[0].dependencies if traces else ()

    def sweep(self) -> list[str]:
        """Remove outputs of tasks that no longer exist, unless edited; return what went."""
        orphans = [p for p in self._records.written if p not in self.package.maker]
        settled = [p for p in orphans if not self._is_edited(p.removesuffix(BESIDE))]
        gone = [p for p in settled if self._remove(p)]
        self._records.record(dict.fromkeys(settled))
        return gone

    def discard_edits(self) -> list[str]:
        """Move edited files to the backup folder, so that the build makes clean ones."""
        edited = self.edited()
        for path in edited:
            self._back_up(path)
            (self.folder / path).unlink()
        return edited

    def clean(self, recipe: Recipe) -> list[str]:
        """Remove the outputs of a task, unless edited, and forget its runs."""
        gone = [p for p in recipe.targets if not self._is_edited(p) and self._remove(p)]
        self._records.forget(recipe.name)
        return gone

    def forget(self, recipe: Recipe) -> None:
        """Forget the runs of a task, so that it runs at the next build."""
        self._records.forget(recipe.name)

    def close(self) -> None:
        """Keep the stat signatures for the next build."""
        if self._files.changed:
            self._ledger.put(self.package.run, [("stat", "", self._files.known)])

    def _now(self, kind: str, name: str) -> str:
        if kind == "key":
            return self.package.spec.digest(name) if name in self._keys else ""
        if kind == "file":
            return self._files.of(name)
        if kind in ("entry", "names"):
            return self._entry(kind, name)
        if kind == "provenance":
            return provenance_digest(self.provenance(name)) if name in self.package.maker else ""
        if kind == "graph":
            return next((graph_digest(r) for r in self.package.recipes if r.name == name), "")
        return self._world.digest(kind, name)

    def _entry(self, kind: str, address: str) -> str:
        """Return the digest of an entry, or of the names in it, as it is in the file now."""
        path, way = entries.split(address)
        state = self._files.of(path)
        try:
            if self._contents.get(path, ("", None))[0] != state:
                self._contents[path] = (state, entries.parse(path, self._load(path)))
            value = entries.at(self._contents[path][1], way)
            return entries.digest(value if kind == "entry" else entries.names(value))
        except (LookupError, TypeError, ValueError, TaskError):
            return entries.ABSENT

    def _broken(self, trace: Trace) -> list[Dependency]:
        return [d for d in trace.dependencies if self._now(d.kind, d.name) != d.digest]

    def _standing(self, trace: Trace, *, newest: bool) -> Decision:
        """Decide for a trace that holds: are its outputs in place?"""
        astray = [p for p, digest in trace.outputs.items() if not self._stands(p, digest)]
        if newest and not astray:
            return Decision(CURRENT, trace=trace)
        causes = tuple(f"{path} is not in place" for path in astray) or ("as it was once before",)
        kept = all(self._store.get(digest) is not None for digest in trace.outputs.values())
        return Decision(RESTORE if kept else RUN, causes, trace)

    def _stands(self, path: str, digest: str) -> bool:
        written = self._records.written.get(path)
        if written is None:
            return False
        return self._files.of(path) == digest or (
            self._is_edited(path) and written.sha256 == digest
        )

    def _is_edited(self, path: str) -> bool:
        written = self._records.written.get(path)
        if written is None:
            return False
        return self._files.of(path) not in {"", written.sha256, written.pending}

    def _cause(self, broken: Dependency) -> str:
        """Say what changed, as a person would."""
        kind, name, _, before = broken
        if kind == "key" and name in self._keys:
            now = shown(self.package.spec.key(name))
            brief = len(before) + len(now) <= _BRIEF
            return f"{name} {before} -> {now}" if brief else f"{name} changed"
        if kind == "version":
            return f"{name} {before or 'missing'} -> {self._now(kind, name) or 'missing'}"
        if kind == "graph":
            return "its inputs or targets changed"
        subject = f"the code of {name}" if kind == "code" else entries.split(name)[0]
        return f"{subject} changed"

    def _run(self, recipe: Recipe, progress: Progress) -> tuple[dict[str, bytes], Trace]:
        desk = TracingDesk(
            recipe, self.package.spec, self._world, self._load, self.provenance, progress
        )
        outputs = recipe.work(desk)
        if set(outputs) != set(recipe.targets):
            raise TaskError(f"{recipe.name} made {sorted(outputs)}, not {sorted(recipe.targets)}.")
        digests = {path: self._store.put(data) for path, data in outputs.items()}
        return outputs, Trace(tuple(desk.seen.values()), digests)

    def _load(self, path: str) -> bytes:
        try:
            return (self.folder / path).read_bytes()
        except OSError as error:
            raise TaskError(f"{self.folder / path} cannot be read: {error.strerror}.") from None

    def _place(self, recipe: Recipe, outputs: dict[str, bytes], trace: Trace) -> list[str]:
        """Write outputs; say beforehand what is coming, so that a kill is no hand edit."""
        ahead = {p: self._ahead(recipe, p, digest) for p, digest in trace.outputs.items()}
        self._records.record(ahead)
        changed = [p for p in outputs if self._put(p, outputs[p], trace.outputs[p])]
        done = {p: Written(recipe.name, digest) for p, digest in trace.outputs.items()}
        self._records.record(done | self._beside(recipe), recipe.name, trace)
        return changed

    def _ahead(self, recipe: Recipe, path: str, digest: str) -> Written:
        """Say what is about to be written at a path, over which of our own bytes."""
        now, known = self._files.of(path), self._records.written.get(path)
        if known is None:
            if now not in {"", digest}:
                self._back_up(path)
            return Written(recipe.name, now, digest)
        return Written(recipe.name, now if now == known.pending else known.sha256, digest)

    def _put(self, path: str, data: bytes, digest: str) -> bool:
        """Write one output; an edit of what was generated from other inputs is merged with it."""
        now, written = self._files.of(path), self._records.written[path]
        if now == digest:
            return False
        if now in {"", written.sha256}:
            files.write_atomic(self.folder / path, data)
        elif written.sha256 != digest:
            self._reconcile(path, written.sha256, data)
        return True

    def _reconcile(self, path: str, base: str, data: bytes) -> None:
        """Merge an edited file with its new text; where both changed it, put the text beside."""
        result = merged(self._store.get(base) or b"", self._load(path), data)
        beside = self.folder / (path + BESIDE)
        if result is None:
            files.write_atomic(beside, data)
        else:
            files.write_atomic(self.folder / path, result)
            beside.unlink(missing_ok=True)

    def _beside(self, recipe: Recipe) -> dict[str, Written | None]:
        waiting = [p + BESIDE for p in recipe.targets if (self.folder / (p + BESIDE)).exists()]
        return {path: Written(recipe.name, self._files.of(path)) for path in waiting}

    def _back_up(self, path: str) -> None:
        data = self._load(path)
        files.write_atomic(self.backups / f"{path}.{files.sha256(data)[:8]}", data)

    def _remove(self, path: str) -> bool:
        target = self.folder / path
        existed = target.exists()
        target.unlink(missing_ok=True)
        for parent in [p for p in target.parents if self.folder in (p, *p.parents)]:
            if not parent.is_dir() or any(parent.iterdir()):
                break
            parent.rmdir()
        return existed


def _told(dependency: Dependency) -> str:
    if dependency.kind in ("file", "entry", "names"):
        return entries.split(dependency.name)[0]
    if dependency.kind == "version":
        return f"{dependency.name} {dependency.shown}"
    return f"{dependency.kind}:{dependency.name}"
