"""Why a task runs: what changed since it ran last, and the edits that this goes back to."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

_BRIEF = 60  # A cause shows the old and the new value if both together have at most 60 characters.
_LISTED = 3  # A list in a cause names three items, and counts the rest.


@dataclass(frozen=True)
class Cause:
    """One change since a task last ran.

    Attributes:
        what: What changed, such as `description changed` or `blueprint/params.json changed`.
        by: The edits that a changed file goes back to; empty for a change outside the package.
    """

    what: str
    by: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.what}, by {_listed(self.by)}" if self.by else self.what


FIRST = Cause("made for the first time")


def value_changed(name: str, before: str, now: str) -> Cause:
    """Return the cause of a value, which shows both values if they are brief."""
    brief = len(before) + len(now) <= _BRIEF
    return Cause(f"{name} {before} -> {now}" if brief else f"{name} changed")


def file_changed(path: str, causes: Iterable[Cause]) -> Cause:
    """Return the cause of a package file, from the causes of the task that made it."""
    return Cause(f"{path} changed", roots(causes))


def roots(causes: Iterable[Cause]) -> tuple[str, ...]:
    """Return the first changes that some causes go back to, each once."""
    changes = (root for cause in causes for root in cause.by or (cause.what,))
    return tuple(root for root in dict.fromkeys(changes) if root != FIRST.what)


def sentence(causes: Iterable[Cause]) -> str:
    """Join causes to a sentence; files that changed for the same reason are named together."""
    causes = list(causes)
    direct = [cause.what for cause in causes if not cause.by]
    groups: dict[tuple[str, ...], list[str]] = {}
    for cause in causes:
        if cause.by:
            groups.setdefault(cause.by, []).append(cause.what.removesuffix(" changed"))
    followed = (f"{_listed(whats)} changed, by {_listed(by)}" for by, whats in groups.items())
    return _listed([*([_listed(direct)] if direct else []), *followed], "; ")


def _listed(items: Iterable[str], mark: str = ", ") -> str:
    texts = list(items)
    rest = len(texts) - _LISTED
    return mark.join(texts[:_LISTED]) + (f" and {rest} more" if rest > 0 else "")
