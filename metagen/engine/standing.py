"""How a package stands at the end of a build, for the summary."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from metagen.errors import Problem

SUMMARY, CONSTRAINTS = "docs/summary.json", "blueprint/constraints.json"


@dataclass(frozen=True)
class Standing:
    """What was done for a package, and what a person did to it.

    Attributes:
        spec: The spec's file.
        ran: Tasks that ran.
        restored: Tasks whose outputs came back without a run.
        current: Tasks that had nothing to do.
        unused: Keys that somebody declared and nothing was made from.
        edited: Files that a person changed.
        conflicts: Edited files that new text waits beside.
        warnings: What may be wrong with the spec.
    """

    spec: str
    ran: int
    restored: int
    current: int
    unused: tuple[str, ...]
    edited: tuple[str, ...]
    conflicts: tuple[str, ...]
    warnings: tuple[Problem, ...]

    @property
    def is_clean(self) -> bool:
        """Whether every file is what the tasks made."""
        return not self.edited and not self.conflicts

    def settled(self) -> Standing:
        """Return how the package stands when nothing is done to it."""
        return replace(self, ran=0, restored=0, current=self.ran + self.restored + self.current)


def summary(folder: Path) -> dict[str, Any]:
    """Return what docs/summary.json of a run folder says; empty when it was not made.

    Also empty when a person made something else of it: what edits are kept is told all the same.
    """
    try:
        found = json.loads((folder / SUMMARY).read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def violated(folder: Path) -> bool:
    """Tell whether blueprint/constraints.json of a run folder names violated constraints."""
    path = folder / CONSTRAINTS
    rows = json.loads(path.read_bytes()) if path.is_file() else ()
    return any(row["verdict"] == "violated" for row in rows)
