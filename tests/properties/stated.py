"""What the files of a package state, and a count of the quantities that were compared."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from metagen import entries, families

from .tally import Tally


@dataclass
class Package:
    """The files of a package, read when a check asks for them."""

    folder: Path
    _read: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.folder.name.removeprefix("run-")

    def __getitem__(self, path: str) -> Any:
        """Return the content of a structured file."""
        if path not in self._read:
            self._read[path] = entries.parse(path, self.bytes(path))
        return self._read[path]

    def bytes(self, path: str) -> bytes:
        return (self.folder / path).read_bytes()

    def text(self, path: str) -> str:
        return (self.folder / path).read_text()

    @property
    def design(self) -> dict[str, Any]:
        return dict(self["blueprint/architecture.yaml"])

    @cached_property
    def constraints(self) -> dict[str, dict[str, Any]]:
        return {row["constraint"]: row for row in self["blueprint/constraints.json"]}

    def computed(self, name: str) -> Any:
        return self.constraints.get(name, {}).get("computed")

    @property
    def plan(self) -> dict[str, Any]:
        return dict(self["code/launch/plan.json"])

    @cached_property
    def family(self) -> families.family.Family:
        return families.named(self.design["family"])

    @cached_property
    def units_trained(self) -> float:
        """What train.py reads in all its updates, in units that operations are counted for."""
        train, model = self.design["train"], {**self.design["model"], **self.design["infer"]}
        amount = self.family.task.amount(self.design["data"])
        unit = amount * self.family.training_length(model)
        return float(train["steps"] * train["batch_size"] * unit)

    def key(self, name: str) -> Any:
        value = self["spec_resolved.yaml"]
        for part in name.split("."):
            value = (value or {}).get(part)
        return value

    @property
    def measured(self) -> list[dict[str, Any]]:
        rows = self["benchmarks/results.json"]
        return [row for row in rows if row["status"] == "measured"]


@dataclass
class Ledger:
    """Counts what was compared in one package."""

    package: Package
    tally: Tally

    def same(self, kind: str, quantity: str, near: float = 1e-9, **values: Any) -> None:
        """Compare one quantity where it is stated; a place that does not state it has None."""
        known = {place: value for place, value in values.items() if value is not None}
        if len(known) > 1:
            first, *others = known.values()
            stated = ", ".join(f"{place} {value}" for place, value in known.items())
            self.holds(kind, f"{quantity}: {stated}", all(_equal(first, o, near) for o in others))

    def holds(self, kind: str, case: str, holds: bool) -> None:
        """Count one comparison."""
        self.tally.count("quantities compared")
        self.tally.check(bool(holds), kind, f"{self.package}: {case}")


def _equal(one: Any, other: Any, near: float) -> bool:
    numbers = all(isinstance(v, int | float) and not isinstance(v, bool) for v in (one, other))
    if numbers:
        return abs(one - other) <= near * max(abs(one), abs(other))
    return bool(one == other)
