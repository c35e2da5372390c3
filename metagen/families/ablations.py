"""Ablations: changes of one design choice at a time, which show what the choice contributes.

A family names changes of dimensions (`Family.changes`), its task those of settings of its training
(`Task.switches`). The names are the same for each design, so a spec can select some before anything
is sized.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from metagen.errors import Problem, SpecError
from metagen.families.family import Family, Lookup
from metagen.units import nearest

KEY = "evaluation.ablations"
ALL = "all"
MODEL = "model"
SECTIONS = (MODEL, "data", "train", "eval", "infer")
Sections = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Ablation:
    """One change, for a design with its settings.

    Attributes:
        name: The change in words.
        change: The new values, by dimension or by `section.setting`.
        reason: Why the design cannot show it; "" where it can.
    """

    name: str
    change: Mapping[str, Any]
    reason: str = ""

    def apply(self, sections: Sections) -> dict[str, dict[str, Any]]:
        """Return the dimensions and settings with the change."""
        changed = {section: dict(sections[section]) for section in SECTIONS}
        for name, value in self.change.items():
            section, _, setting = name.rpartition(".")
            changed[section or MODEL][setting] = value
        return changed


def names(family: Family) -> tuple[str, ...]:
    """Return the names of a family's ablations."""
    switches = (name for name, _, _ in family.task.switches)
    return tuple(dict.fromkeys((*family.changed(family.written), *switches)))


def selected(family: Family, key: Lookup) -> tuple[str, ...]:
    """Return the names of the ablations that a spec selects, in the family's order."""
    wanted = key(KEY)
    return tuple(name for name in names(family) if name in wanted or ALL in wanted)


def check(family: Family, key: Lookup) -> None:
    """Check the names that a spec selects.

    Raises:
        SpecError: The family has no such ablation; the error lists those that it has.
    """
    known = names(family)
    unknown = [name for name in key(KEY) if name not in (*known, ALL)]
    if unknown:
        raise SpecError([_unknown(family, name, known) for name in unknown])


def _unknown(family: Family, name: str, known: Iterable[str]) -> Problem:
    every = tuple(known)
    near = nearest(name, every)
    meant = f"did you mean {near}? " if near else ""
    hint = f"{meant}the ablations of {family.name}: {', '.join(every)}"
    return Problem(f"{KEY}: the {family.name} family has no ablation {name!r}", KEY, hint)


def slug(name: str) -> str:
    """Return the name of an ablation as part of a file's name; names of a family differ in it."""
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")


def of_design(family: Family, sections: Sections) -> list[Ablation]:
    """Return every ablation of a family for the dimensions and settings of one size."""
    dims = sections[MODEL]
    changed = family.changed(dims)
    found = [Ablation(n, change, _barred(family, dims, change)) for n, change in changed.items()]
    return [*found, *(_switched(sections, *switch) for switch in family.task.switches)]


def variants(family: Family, dims: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Return by its name each change of dimensions that a design can show."""
    changed = family.changed(dims)
    return {n: change for n, change in changed.items() if not _barred(family, dims, change)}


def _barred(family: Family, dims: Mapping[str, Any], change: Mapping[str, Any]) -> str:
    """Return why a change of dimensions cannot be made; "" where it can."""
    if absent := [name for name in change if name not in dims]:
        return f"it has no dimension {absent[0]}"
    after = {**dims, **change}
    if after == dims:
        return "it is so already"
    return next((rule.sentence for rule in family.rules if rule.broken(after)), "")


def _switched(sections: Sections, name: str, setting: str, value: Any) -> Ablation:
    section, _, field = setting.partition(".")
    same = sections[section][field] == value
    return Ablation(name, {setting: value}, "it is so already" if same else "")
