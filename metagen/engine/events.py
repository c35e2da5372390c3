"""What a build says to a program: one JSON object a line, on standard output."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from metagen.engine.standing import Standing, summary
from metagen.engine.terminal import Terminal
from metagen.errors import MetagenError
from metagen.work import Recipe

if TYPE_CHECKING:
    from metagen.engine.engine import Outcome
    from metagen.engine.package import Package


class Events(Terminal):
    """Writes events where a `Terminal` writes lines; the last one is `end`."""

    @contextmanager
    def working(
        self, package: Package, recipe: Recipe
    ) -> Iterator[Callable[[int, int, str], None]]:
        """Yield the function by which a task tells how far it is."""

        def move(done: int, total: int, note: str = "") -> None:
            self._tell("progress", package, task=recipe.name, done=done, total=total, note=note)

        yield move

    def done(self, package: Package, outcome: Outcome, recipe: Recipe) -> None:
        """Tell what was made and why; a task that was current tells nothing."""
        if outcome.action != "current":
            self._tell("task", package, **_told(outcome, recipe), changed=outcome.changed)

    def planned(self, package: Package, outcome: Outcome, recipe: Recipe) -> None:
        """Tell what would be made, and why."""
        self._tell("plan", package, **_told(outcome, recipe))

    def kept(self, package: Package, paths: Iterable[str]) -> None:
        """Tell which edited files stay as they are."""
        self._paths("kept", package, paths)

    def removed(self, package: Package, paths: Iterable[str]) -> None:
        """Tell which outputs of former tasks went."""
        self._paths("removed", package, paths)

    def displaced(self, package: Package, paths: Iterable[str]) -> None:
        """Tell which files stood in the way of new ones."""
        self._paths("displaced", package, paths)

    def discarded(self, package: Package, paths: Iterable[str]) -> None:
        """Tell which edits were given up."""
        self._paths("discarded", package, paths)

    def failed(self, task: str, message: str) -> None:
        """Tell why a task failed."""
        self._tell("failure", task=task, message=message.strip())

    def error(self, error: MetagenError) -> None:
        """Tell what is wrong."""
        for problem in error.problems:
            self._tell("error", **vars(problem))

    def warn(self, warnings: Iterable[object]) -> None:
        """Tell what may be wrong."""
        for problem in warnings:
            self._tell("warning", **vars(problem))

    def summary(self, folder: Path, standing: Standing) -> None:
        """Tell what `docs/summary.json` holds, and how the package stands."""
        told = {**summary(folder), **asdict(standing)}
        self.say(json.dumps({"event": "summary", "run": folder.name, **told}))

    def ended(self, status: int) -> None:
        """Tell the exit status."""
        self._tell("end", status=status)

    def _paths(self, event: str, package: Package, paths: Iterable[str]) -> None:
        if found := list(paths):
            self._tell(event, package, paths=found)

    def _tell(self, event: str, package: Package | None = None, **fields: Any) -> None:
        run = {"run": package.run} if package else {}
        self.say(json.dumps({"event": event, **run, **fields}))


def _told(outcome: Outcome, recipe: Recipe) -> dict[str, Any]:
    causes = [str(cause) for cause in outcome.causes]
    return {
        "task": recipe.name,
        "action": outcome.action,
        "targets": list(recipe.targets),
        "causes": causes,
    }
