"""What a build says on the terminal: a line a task, a bar for long work, one summary a package."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from metagen.engine.causes import FIRST, sentence
from metagen.engine.standing import SUMMARY, Standing, summary
from metagen.errors import MetagenError
from metagen.units import format_bytes
from metagen.work import Recipe

if TYPE_CHECKING:
    from metagen.engine.engine import Outcome
    from metagen.engine.package import Package


class Terminal:
    """Writes to one stream; a bar only when somebody is looking."""

    def __init__(self, stream: IO[str] | None = None, *, quiet: bool = False) -> None:
        self._stream = stream or sys.stdout
        self._quiet = quiet
        self._lock = threading.Lock()

    def say(self, text: str = "") -> None:
        """Print a line; when nobody reads any more, as behind `| head`, build on in silence."""
        with self._lock:
            try:
                print(text, file=self._stream, flush=True)
            except BrokenPipeError:
                unread(self._stream)

    @contextmanager
    def working(
        self, package: Package, recipe: Recipe
    ) -> Iterator[Callable[[int, int, str], None]]:
        """Yield the function by which a task tells how far it is."""
        bar = _Bar(f"{package.run}/{recipe.targets[0]}", self._stream)
        try:
            yield bar.move
        finally:
            bar.close()

    def done(self, package: Package, outcome: Outcome, recipe: Recipe) -> None:
        """Say what was made and why; a task that was current says nothing."""
        if outcome.action == "current" or self._quiet:
            return
        verb = "made" if outcome.action == "run" else "restored"
        result = "" if outcome.changed else " (same bytes)"
        names = ", ".join(recipe.targets[:2]) + (", ..." if recipe.targets[2:] else "")
        first = outcome.causes == (FIRST,)
        because = "" if first else f"  <- {sentence(outcome.causes)}"
        self.say(f"  {verb} {package.run}/{names}{result}{because}")

    def planned(self, package: Package, outcome: Outcome, recipe: Recipe) -> None:
        """Say what would be made, and why, a line a file."""
        verb = "" if outcome.action == "run" else "restored, "
        for path in recipe.targets:
            self.say(f"{package.run}/{path}: {verb}{sentence(outcome.causes)}")

    def kept(self, package: Package, paths: Iterable[str]) -> None:
        """Say which edited files stay as they are."""
        for path in paths:
            self.say(f"{package.run}/{path}: edited by hand, kept")

    def removed(self, package: Package, paths: Iterable[str]) -> None:
        """Say which outputs of former tasks went."""
        for path in paths:
            self.say(f"  removed {package.run}/{path}  <- nothing makes it any more")

    def displaced(self, package: Package, paths: Iterable[str]) -> None:
        """Say which files stood in the way of new ones."""
        for path in paths:
            self.say(f"  replaced {package.run}/{path}, which no record knows; a backup is kept")

    def discarded(self, package: Package, paths: Iterable[str]) -> None:
        """Say which edits were given up."""
        for path in paths:
            self.say(f"  discarded the edit of {package.run}/{path}; a backup is kept")

    def failed(self, task: str, message: str) -> None:
        """Say why a task failed."""
        print(f"error: {task}: {message.strip()}", file=sys.stderr, flush=True)

    def error(self, error: MetagenError) -> None:
        """Say what is wrong, every problem on its own lines."""
        for problem in error.problems:
            print(f"error: {problem}", file=sys.stderr, flush=True)

    def warn(self, warnings: Iterable[object]) -> None:
        """Say what may be wrong."""
        for problem in warnings:
            print(f"warning: {problem}", file=sys.stderr, flush=True)

    def ended(self, status: int) -> None:
        """Say nothing: the exit status says it."""

    def summary(self, folder: Path, standing: Standing) -> None:
        """Print the table of one package."""
        edited = SUMMARY in standing.edited  # and so may say anything
        facts = {} if edited else summary(folder)
        if self._quiet or not (facts or edited):
            return
        rows = [*(_facts(standing, facts) if facts else ()), *_state(folder, standing)]
        width = max(len(name) for name, _ in rows)
        self.say()
        for name, text in rows:
            self.say(f"{name.ljust(width)}  {text}")


def unread(stream: IO[str]) -> None:
    """Send nowhere what else is printed to a stream that nobody reads any more."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


class _Bar:
    """A progress bar that appears with the first report of progress."""

    def __init__(self, label: str, stream: IO[str]) -> None:
        self._label, self._stream = label, stream
        self._bar: Any = None

    def move(self, done: int, total: int, note: str = "") -> None:
        """Show `done` of `total` steps."""
        if not self._stream.isatty():
            return
        if self._bar is None:
            from tqdm import tqdm

            self._bar = tqdm(desc=f"  {self._label}", total=total, leave=False, dynamic_ncols=True)
        self._bar.set_postfix_str(note, refresh=False)
        self._bar.update(done - self._bar.n)

    def close(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.close()


def _facts(standing: Standing, summary: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    parameters, memory = summary["parameters"], summary["memory"]
    share = parameters["budget_share"]
    of_budget = "" if share is None else f"  ({share:.2%} of the budget)"
    yield "spec", f"{summary['name']}  ({standing.spec})"
    yield "seed", str(summary["seed"])
    yield "parameters", f"{parameters['total']:,}{of_budget}"
    yield "memory", _memory(memory)
    for verdict in ("met", "violated"):
        if names := ", ".join(_constraint(c) for c in summary["constraints"][verdict]):
            yield verdict, names
    for row in summary["constraints"]["violated"]:
        if row["nearest"]:
            yield "to meet it", f"{row['constraint']}: {row['nearest']}"
    for row in summary["benchmarks"]:
        yield f"{row['benchmark']}", _benchmark(row)


def _memory(memory: Mapping[str, Any]) -> str:
    if memory.get("computed") is None:
        return "not computed"
    required = memory.get("required")
    allowed = "" if required is None else f" of {format_bytes(required)}"
    return f"{format_bytes(memory['computed'])}{allowed}"


def _constraint(row: Mapping[str, Any]) -> str:
    margin = row["margin"]
    return f"{row['constraint']}" + ("" if margin is None else f" ({margin:+.1%})")


def _benchmark(row: Mapping[str, Any]) -> str:
    if row["value"] is None:
        return str(row["status"])
    said = "baselines" if row["status"] == "measured" else row["status"]
    others = ", ".join(f"{name} {_score(value)}" for name, value in row["baselines"].items())
    return f"{row['title']} {_score(row['value'])}  ({said}: {others})"


def _score(value: float) -> str:
    return f"{value:.4g}" if abs(value) < 1e4 else f"{value:,.0f}"


def _state(folder: Path, standing: Standing) -> Iterator[tuple[str, str]]:
    done = f"{standing.ran} tasks ran, {standing.restored} restored"
    yield "rebuilt", f"{done}, {standing.current} were up to date"
    for key in standing.unused:
        yield "unused", f"{key} is declared, and nothing in the package was made from it"
    for path in standing.edited:
        yield "edited by hand", f"{path}, kept"
    for path in standing.conflicts:
        yield "conflict", f"{path} is edited and its inputs changed: see {path}.new"
    yield "package", str(folder)
