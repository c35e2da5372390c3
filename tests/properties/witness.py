"""A witness at the desk: what each task read and made, noted without the engine's help.

The engine decides by its own traces. So that these cannot testify for themselves, the work of
every recipe is wrapped: the wrapper stands between the work and the desk, and notes each value
that is handed through.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from metagen import files
from metagen.engine.graph import Graph
from metagen.work import Desk, Recipe

Reads = dict[str, str]


@dataclass
class Log:
    """What the tasks of one build did.

    Attributes:
        reads: By task that ran: each request, and the value returned.
        made: By task that ran: the sha256 of each of its outputs.
        codes: By task that ran: the modules whose code it depends on besides its own.
    """

    reads: dict[str, Reads] = field(default_factory=dict)
    made: dict[str, dict[str, str]] = field(default_factory=dict)
    codes: dict[str, set[str]] = field(default_factory=dict)

    @property
    def ran(self) -> set[str]:
        """The tasks that ran."""
        return set(self.reads)


class _Witness:
    """Hands everything on to the real desk and notes it."""

    def __init__(self, desk: Desk, reads: Reads, codes: set[str]) -> None:
        self._desk, self._reads, self._codes = desk, reads, codes

    def __getattr__(self, method: str) -> Callable[..., Any]:
        real = getattr(self._desk, method)

        def noted(*arguments: Any) -> Any:
            request = f"{method} {' '.join(map(str, arguments))}"
            try:
                value = real(*arguments)
            except LookupError:
                self._reads[request] = "LookupError"
                raise
            self._reads[request] = _text(value)
            if method == "code":
                self._codes.add(arguments[0])
            return value

        return noted

    def progress(self, *arguments: Any) -> None:
        """Hand on without a note: this is no read."""
        self._desk.progress(*arguments)


def _text(value: Any) -> str:
    return files.sha256(value) if isinstance(value, bytes) else repr(value)


def nothing(moment: str, task: str) -> None:
    """Do nothing as a task begins or ends."""


Moment = Callable[[str, str], None]


def watched(graph: Graph, log: Log, moment: Moment = nothing) -> Graph:
    """Return a graph whose recipes are watched.

    Args:
        graph: What is built.
        log: Where it is noted.
        moment: Called with "begins" or "ends" and the name of each task at work.
    """
    recipes = tuple(replace(r, work=_watched(r, log, moment)) for r in graph.recipes)
    return replace(graph, recipes=recipes)


def _watched(recipe: Recipe, log: Log, moment: Moment) -> Any:
    @functools.wraps(recipe.work)  # the engine tells a work's code by its name
    def work(desk: Desk) -> dict[str, bytes]:
        moment("begins", recipe.name)
        reads: Reads = {"graph": repr((recipe.inputs, recipe.targets))}
        codes: set[str] = set()
        log.reads[recipe.name], log.codes[recipe.name] = reads, codes
        made = recipe.work(_Witness(desk, reads, codes))  # type: ignore[arg-type]
        log.made[recipe.name] = _digests(made)
        moment("ends", recipe.name)
        return made

    return work


def _digests(made: dict[str, bytes]) -> dict[str, str]:
    """Hash outputs in a frame of the witness's own, which the profiler of `code` leaves out.

    A comprehension in `work` would do up to Python 3.11; since 3.12 (PEP 709) it has no frame, and
    the hashing would count as the task's own work.
    """
    return {path: files.sha256(data) for path, data in made.items()}


def needed(before: Log, after: Log) -> set[str]:
    """Return the tasks that must run between two specs, judged by clean builds of both."""
    return {task for task, reads in after.reads.items() if before.reads.get(task) != reads}
