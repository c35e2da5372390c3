"""The measured model, and the verdict on one of its figures: required beside computed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from metagen import families
from metagen.families.demand import Cost, Demand
from metagen.families.family import Family, Value
from metagen.sizing.devices import TABLE, Device
from metagen.work import Desk

PARAMS, FLOPS, GRAPH = (f"blueprint/{name}.json" for name in ("params", "flops", "graph"))
INPUTS = (families.ARCHITECTURE, PARAMS, FLOPS, GRAPH)
COUNTED = "blueprint/params.json, counted on code/model.py"
HALF = 2  # bytes of a parameter that an edit added to the model, so that no closed form counts it

Entry = dict[str, Any]


@dataclass(frozen=True)
class Measured:
    """The model as the probe measured it, in the formats that code/infer.py is set to.

    Attributes:
        family: Its family.
        everything: Dimensions of its Config, and the formats.
        parameters: Counted on the model.
        points: FLOPs of a forward pass at some lengths, for each unit of them.
        training_flops: FLOPs of a training step for each unit of training data.
    """

    family: Family
    everything: dict[str, Value]
    parameters: int
    points: list[dict[str, Any]]
    training_flops: float

    @property
    def tokens(self) -> int | None:
        """The context window, None for a family without one."""
        return self.family.context(self.everything)

    @property
    def demand(self) -> Demand:
        """What running the measured model takes of its hardware."""
        closed = self.family.demand(self.everything)
        extra = HALF * (self.parameters - self.family.count(self.everything))
        length = self.family.input_length(self.everything)
        flops = closed.passes * length * flops_near(self.points, length)
        return replace(
            closed,
            weights=closed.weights + extra,
            first=Cost(flops, closed.first.bytes + closed.passes * extra),
            next=closed.next and replace(closed.next, bytes=closed.next.bytes + extra),
            last=closed.last and replace(closed.last, bytes=closed.last.bytes + extra),
        )


def read(desk: Desk) -> Measured:
    """Read the results of the probe."""
    family = families.of_package(desk)
    dims = desk.entry(GRAPH, "config")
    formats = {name: desk.entry(families.ARCHITECTURE, "infer", name) for name in family.formats}
    everything = {**dims, **formats}
    return Measured(
        family=family,
        everything=everything,
        parameters=desk.entry(PARAMS, "total"),
        points=desk.entry(FLOPS, "points"),
        training_flops=family.training_length(everything) * desk.entry(FLOPS, "training_per_unit"),
    )


def flops_near(points: list[dict[str, Any]], length: int) -> float:
    """Return the operations per unit at the measured length that is nearest to this one."""
    nearest = min(points, key=lambda p: abs(p["length"] - length))
    return float(nearest["forward_per_unit"])


@dataclass(frozen=True)
class Requirement:
    """What a spec requires of one figure.

    Attributes:
        shown: The value as it is shown; None where nothing is declared.
        limit: The value to compare with; None where it sets no limit.
        at_least: Whether more is better.
    """

    shown: Any = None
    limit: float | None = None
    at_least: bool = False

    def verdict(self, computed: float | None) -> tuple[str, float | None]:
        """Return the verdict and the share of the requirement that is left."""
        if self.shown is None or computed is None:
            return "not declared", None
        if self.limit is None:
            return "met", None
        room = computed - self.limit if self.at_least else self.limit - computed
        return ("met" if room >= 0 else "violated"), room / self.limit


def entry(
    name: str,
    computed: float | None,
    unit: str,
    formula: str,
    source: str,
    required: Requirement = Requirement(),
    nearest: str | None = None,
) -> Entry:
    """Return one entry; `nearest` names changes that would meet a violated constraint."""
    verdict, margin = required.verdict(computed)
    return {
        "constraint": name,
        "required": required.shown,
        "computed": computed,
        "unit": unit,
        "formula": formula,
        "source": source,
        "verdict": verdict,
        "margin": margin,
        "nearest": nearest if verdict == "violated" else None,
    }


def unknown(name: str, required: Any, unit: str, reason: str) -> Entry:
    """Return an entry for a figure that cannot be computed, with the reason as its formula."""
    return entry(name, None, unit, reason, "the spec", Requirement(required))


def row(device: Device) -> str:
    """Return where the figures of a device come from."""
    return f"{TABLE}, {device.model}: {device.sources}"
