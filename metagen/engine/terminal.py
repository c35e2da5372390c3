"""What a build reports: lines and a summary for a user, JSON events for a program.

This module and those below it are all that a build with nothing to do imports, so it must stay
light.
"""

from __future__ import annotations

import json
import os
import shlex
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import FrameType
from typing import IO, TYPE_CHECKING, Any

from metagen.engine import bars
from metagen.errors import MetagenError, Problem
from metagen.units import format_bytes
from metagen.work import Recipe

if TYPE_CHECKING:
    from metagen.engine.engine import Outcome
    from metagen.engine.graph import Graph

SUMMARY, CONSTRAINTS = "docs/summary.json", "blueprint/constraints.json"
Progress = Callable[[int, int, str], None]
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_INTERRUPTED = b"\ninterrupted; the same command continues from here\n"


@dataclass(frozen=True)
class BuildReport:
    """What a build did for one package, and the edits by the user that it met.

    Attributes:
        spec: The spec's file.
        ran: Number of tasks that ran.
        restored: Number of tasks whose outputs came from an earlier run.
        current: Number of tasks with nothing to do.
        unused: Keys that the spec declares and no task read.
        edited: Files that the user edited.
        conflicts: Edited files that have new text beside them.
        warnings: What may be wrong with the spec.
        bound: The training folder and the results that are bound to the package.
        release: The folder for the Hub, in the run folder; "" where the package has none.
    """

    spec: str
    ran: int
    restored: int
    current: int
    unused: tuple[str, ...]
    edited: tuple[str, ...]
    conflicts: tuple[str, ...]
    warnings: tuple[Problem, ...]
    bound: tuple[str, ...] = ()
    release: str = ""

    @property
    def is_clean(self) -> bool:
        """Whether every file is what its task generated."""
        return not self.edited and not self.conflicts

    def repeated(self) -> BuildReport:
        """Return the report of the next build, if it has nothing to do."""
        return replace(self, ran=0, restored=0, current=self.ran + self.restored + self.current)


def read_summary(folder: Path) -> dict[str, Any]:
    """Return the content of docs/summary.json; {} if it is missing or the user made it unusable."""
    try:
        content = json.loads((folder / SUMMARY).read_bytes())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def violates(folder: Path) -> bool:
    """Tell whether blueprint/constraints.json of a run folder has a violated constraint."""
    path = folder / CONSTRAINTS
    rows = json.loads(path.read_bytes()) if path.is_file() else ()
    return any(row["verdict"] == "violated" for row in rows)


class Terminal:
    """Writes lines to one stream: one per task, a progress bar, one summary per package.

    Errors and warnings go to standard error. `Events` overrides every method.
    """

    def __init__(self, stream: IO[str] | None = None, *, quiet: bool = False) -> None:
        self._stream = stream or sys.stdout
        self._quiet = quiet
        self._lock = threading.Lock()

    def write(self, text: str = "") -> None:
        """Print a line; if the reader has left, as behind `| head`, the build goes on silently."""
        with self._lock:
            try:
                with bars.aside(self._stream):
                    print(text, file=self._stream, flush=True)
            except BrokenPipeError:
                discard_rest(self._stream)

    @contextmanager
    def progress(self, graph: Graph, recipe: Recipe) -> Iterator[Progress]:
        """Yield the function that a task calls with (steps done, steps in all, note)."""
        bar = bars.Bar(f"{graph.run}/{_made(recipe)[0]}", self._stream)
        try:
            yield bar.move
        finally:
            bar.close()

    @contextmanager
    def bar(self, label: str) -> Iterator[Progress]:
        """Yield the function that work outside of a build calls with (done, in all, note)."""
        bar = bars.Bar(label, self._stream)
        try:
            yield bar.move
        finally:
            bar.close()

    def result(self, event: str, content: Mapping[str, Any], lines: Iterable[str]) -> None:
        """Print the lines of a result; to a program, its content as an event of this name."""
        if not self._quiet:
            for line in lines:
                self.write(line)

    def task_done(self, graph: Graph, outcome: Outcome, recipe: Recipe) -> None:
        """Print what a task made and why; nothing for a task that was current."""
        if outcome.action == "current" or self._quiet:
            return
        verb = "made" if outcome.action == "run" else "restored"
        same = "" if outcome.changed else " (same bytes)"
        made = _made(recipe)
        names = ", ".join(made[:2]) + (", ..." if made[2:] else "")
        because = "" if outcome.is_first else f"  <- {outcome.reason}"
        self.write(f"  {verb} {graph.run}/{names}{same}{because}")

    def task_pending(self, graph: Graph, outcome: Outcome, recipe: Recipe) -> None:
        """Print what a build would make and why, one line per file."""
        verb = "" if outcome.action == "run" else "restored, "
        for path in recipe.targets:
            self.write(f"{graph.run}/{path}: {verb}{outcome.reason}")

    def edits_pending(self, graph: Graph, paths: Iterable[str]) -> None:
        """Print the edited files that a build would not touch."""
        for path in paths:
            self.write(f"{graph.run}/{path}: edited by hand, kept")

    def outputs_removed(self, graph: Graph, paths: Iterable[str]) -> None:
        for path in paths:
            self.write(f"  removed {graph.run}/{path}  <- no task makes it any more")

    def shard_taken(self, shard: object, specs: Sequence[Path], total: int) -> None:
        """Print which share of all specs this build takes."""
        if not self._quiet:
            self.write(f"shard {shard}: {len(specs):,} of {total:,} specs")

    def files_replaced(self, graph: Graph, paths: Iterable[str]) -> None:
        for path in paths:
            self.write(
                f"  replaced {graph.run}/{path}, whose text MetaGen did not write; the old file is "
                "in .metagen/backup"
            )

    def edits_discarded(self, graph: Graph, paths: Iterable[str]) -> None:
        for path in paths:
            self.write(f"  discarded the edit of {graph.run}/{path}; it is in .metagen/backup")

    def task_failed(self, task: str, message: str) -> None:
        print(f"error: {task}: {message.strip()}", file=sys.stderr, flush=True)

    def error(self, error: MetagenError) -> None:
        for problem in error.problems:
            print(f"error: {problem}", file=sys.stderr, flush=True)

    def warn(self, warnings: Iterable[object]) -> None:
        for problem in warnings:
            print(f"warning: {problem}", file=sys.stderr, flush=True)

    def end(self, status: int) -> None:
        """Print nothing: a user sees the exit status elsewhere."""

    def summary(self, folder: Path, report: BuildReport) -> None:
        """Print the table of one package."""
        # A summary.json that the user edited may hold anything, so none of it is printed.
        edited = SUMMARY in report.edited
        figures = {} if edited else read_summary(folder)
        if self._quiet or not (figures or edited):
            return
        rows = [*(_figures(report, figures) if figures else ()), *_state(folder, report)]
        width = max(len(name) for name, _ in rows)
        self.write()
        for name, text in rows:
            self.write(f"{name.ljust(width)}  {text}")
        if report.release:
            from metagen.filing import statement

            released = shlex.quote(str(folder / report.release))
            self.write(statement.command(released))
            self.write(f"hf upload ORG/NAME {released}")


class Events(Terminal):
    """Writes one JSON object per line to standard output; the last one is `end`."""

    @contextmanager
    def progress(self, graph: Graph, recipe: Recipe) -> Iterator[Progress]:
        def move(done: int, total: int, note: str = "") -> None:
            self._event("progress", graph, task=recipe.name, done=done, total=total, note=note)

        yield move

    @contextmanager
    def bar(self, label: str) -> Iterator[Progress]:
        def move(done: int, total: int, note: str = "") -> None:
            self._event("progress", task=label, done=done, total=total, note=note)

        yield move

    def result(self, event: str, content: Mapping[str, Any], lines: Iterable[str]) -> None:
        self._event(event, **content)

    def task_done(self, graph: Graph, outcome: Outcome, recipe: Recipe) -> None:
        if outcome.action != "current":
            self._event("task", graph, **_fields(outcome, recipe), changed=outcome.changed)

    def task_pending(self, graph: Graph, outcome: Outcome, recipe: Recipe) -> None:
        self._event("plan", graph, **_fields(outcome, recipe))

    def edits_pending(self, graph: Graph, paths: Iterable[str]) -> None:
        self._paths("kept", graph, paths)

    def outputs_removed(self, graph: Graph, paths: Iterable[str]) -> None:
        self._paths("removed", graph, paths)

    def shard_taken(self, shard: object, specs: Sequence[Path], total: int) -> None:
        self._event("shard", shard=str(shard), specs=list(map(str, specs)), all=total)

    def files_replaced(self, graph: Graph, paths: Iterable[str]) -> None:
        self._paths("displaced", graph, paths)

    def edits_discarded(self, graph: Graph, paths: Iterable[str]) -> None:
        self._paths("discarded", graph, paths)

    def task_failed(self, task: str, message: str) -> None:
        self._event("failure", task=task, message=message.strip())

    def error(self, error: MetagenError) -> None:
        for problem in error.problems:
            self._event("error", **vars(problem))

    def warn(self, warnings: Iterable[object]) -> None:
        for problem in warnings:
            self._event("warning", **vars(problem))

    def summary(self, folder: Path, report: BuildReport) -> None:
        fields = {**read_summary(folder), **asdict(report)}
        self.write(json.dumps({"event": "summary", "run": folder.name, **fields}))

    def end(self, status: int) -> None:
        self._event("end", status=status)

    def _paths(self, event: str, graph: Graph, paths: Iterable[str]) -> None:
        if listed := list(paths):
            self._event(event, graph, paths=listed)

    def _event(self, event: str, graph: Graph | None = None, **fields: Any) -> None:
        run = {"run": graph.run} if graph else {}
        self.write(json.dumps({"event": event, **run, **fields}))


def _made(recipe: Recipe) -> tuple[str, ...]:
    """Return the targets of a recipe, or its name if it leaves its work outside the package."""
    return recipe.targets or (recipe.name,)


def _fields(outcome: Outcome, recipe: Recipe) -> dict[str, Any]:
    return {
        "task": recipe.name,
        "action": outcome.action,
        "targets": list(recipe.targets),
        "causes": [str(cause) for cause in outcome.causes],
    }


def discard_rest(stream: IO[str]) -> None:
    """Send everything printed from now on to /dev/null, since the reader of a stream has left."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def exit_on_signals() -> None:
    """Let Ctrl-C and its like end the process at once; call this in the main thread.

    Nothing needs to be tidied up: each task is one transaction, other programs die with this
    process (`programs`), and waiting for the tasks of other threads would only cost time.
    """
    for number in _SIGNALS:
        signal.signal(number, _exit)


@contextmanager
def exiting_on_signals() -> Iterator[None]:
    """Do so inside a `with` block only."""
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    exit_on_signals()
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _exit(number: int, frame: FrameType | None) -> None:
    os.write(2, _INTERRUPTED)
    os._exit(128 + number)


def _figures(report: BuildReport, summary: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    parameters, memory = summary["parameters"], summary["memory"]
    share = parameters["budget_share"]
    of_budget = "" if share is None else f"  ({share:.2%} of the budget)"
    yield "spec", f"{summary['name']}  ({report.spec})"
    yield "seed", str(summary["seed"])
    yield "parameters", f"{parameters['total']:,}{of_budget}"
    if trained := summary.get("trained"):
        yield "trained", _trained(trained)
    yield "memory", _memory(memory)
    if names := ", ".join(_constraint(c) for c in summary["constraints"]["met"]):
        yield "met", names
    for verdict in ("violated", "open", "bounded"):
        for row in summary["constraints"][verdict]:
            yield verdict, f"{row['constraint']}: {row['sentence']}"
            if row["nearest"]:
                yield "to meet it", f"{row['constraint']}: {row['nearest']}"
    for row in summary["benchmarks"]:
        yield row["benchmark"], row["sentence"]


def _trained(trained: Mapping[str, Any]) -> str:
    step, planned = trained["step"], trained["planned"]
    reached = f"{step:,} of {planned:,} steps" if step is not None else "an unknown number of steps"
    return f"{reached}, checkpoint {trained['sha256'][:12]}"


def _memory(memory: Mapping[str, Any]) -> str:
    if memory.get("computed") is None:
        return "not computed"
    required = memory.get("required")
    allowed = "" if required is None else f" of {format_bytes(required)}"
    return f"{format_bytes(memory['computed'])}{allowed}"


def _constraint(row: Mapping[str, Any]) -> str:
    margin = row["margin"]
    return f"{row['constraint']}" + ("" if margin is None else f" ({margin:+.1%})")


def _state(folder: Path, report: BuildReport) -> Iterator[tuple[str, str]]:
    done = f"{report.ran} tasks ran, {report.restored} restored"
    yield "rebuilt", f"{done}, {report.current} were up to date"
    for path in report.bound:
        yield "bound", path
    for key in report.unused:
        yield "unused", f"{key} is declared, but no file of the package was made from it"
    for path in report.edited:
        yield "edited by hand", f"{path}, kept"
    for path in report.conflicts:
        yield "conflict", f"{path} is edited and its inputs changed: see {path}.new"
    yield "package", str(folder)
