"""Why a task is made again, as a person would say it, and which edits that goes back to."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

_BRIEF = 60  # characters of an old and a new value, up to which a cause shows both
_SHOWN = 3  # items of a list that are named, before the rest is counted


@dataclass(frozen=True)
class Cause:
    """One thing that is no longer what it was when a task last ran.

    Attributes:
        what: What changed, such as `description changed` or `blueprint/params.json changed`.
        by: What a person, or the machine, did that led to it; empty when it was done directly.
    """

    what: str
    by: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.what}, by {_listed(self.by)}" if self.by else self.what


FIRST = Cause("made for the first time")


def value_changed(name: str, before: str, now: str) -> Cause:
    """Say that a value changed, with both where they are brief."""
    brief = len(before) + len(now) <= _BRIEF
    return Cause(f"{name} {before} -> {now}" if brief else f"{name} changed")


def file_changed(path: str, causes: Iterable[Cause]) -> Cause:
    """Say that a file of the package changed, and what that goes back to."""
    return Cause(f"{path} changed", roots(causes))


def roots(causes: Iterable[Cause]) -> tuple[str, ...]:
    """Return what some causes go back to, each once."""
    found = (root for cause in causes for root in cause.by or (cause.what,))
    return tuple(root for root in dict.fromkeys(found) if root != FIRST.what)


def sentence(causes: Iterable[Cause]) -> str:
    """Return some causes as a sentence; files that changed for the same reasons are named once."""
    causes = list(causes)
    direct = [cause.what for cause in causes if not cause.by]
    groups: dict[tuple[str, ...], list[str]] = {}
    for cause in causes:
        if cause.by:
            groups.setdefault(cause.by, []).append(cause.what.removesuffix(" changed"))
    followed = (f"{_listed(whats)} changed, by {_listed(by)}" for by, whats in groups.items())
    return "; ".join([*([_listed(direct)] if direct else []), *followed])


def _listed(items: Iterable[str]) -> str:
    """Return some items with commas, the last ones counted when there are many."""
    texts = list(items)
    rest = len(texts) - _SHOWN
    return ", ".join(texts[:_SHOWN]) + (f" and {rest} more" if rest > 0 else "")
