"""The figures of the measured model that several verdicts share."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from metagen import families
from metagen.families.family import Family, Load, Value, Work
from metagen.work import Desk

PARAMS, FLOPS, GRAPH = (f"blueprint/{name}.json" for name in ("params", "flops", "graph"))
INPUTS = (families.ARCHITECTURE, PARAMS, FLOPS, GRAPH)
COUNTED = "blueprint/params.json, counted on code/model.py"
HALF = 2  # bytes of a parameter that the closed form does not know of


@dataclass(frozen=True)
class Measured:
    """The model as the probe found it, in the formats that code/infer.py is set to.

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
    def load(self) -> Load:
        """What the measured model asks of its hardware."""
        closed = self.family.load(self.everything)
        extra = HALF * (self.parameters - self.family.count(self.everything))
        length = self.family.input_length(self.everything)
        flops = closed.passes * length * flops_near(self.points, length)
        return replace(
            closed,
            weights=closed.weights + extra,
            first=Work(flops, closed.first.bytes + closed.passes * extra),
            next=closed.next and replace(closed.next, bytes=closed.next.bytes + extra),
            last=closed.last and replace(closed.last, bytes=closed.last.bytes + extra),
        )


def read(desk: Desk) -> Measured:
    """Read what the probe found."""
    family = families.built(desk)
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
    """Return the operations per unit at the measured length that is nearest to one asked for."""
    nearest = min(points, key=lambda p: abs(p["length"] - length))
    return float(nearest["forward_per_unit"])
