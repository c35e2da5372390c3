"""The measured model, and the verdict on one of its figures: required beside computed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from metagen import families
from metagen.families.demand import ALONE, Cost, Demand, Use
from metagen.families.family import Family, Value
from metagen.sizing import need
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
        trained: Tokens of a training sequence, None for a family without a context window.
        operations: Operators that one call of the model starts.
        use: Requests at once and the length of a prompt, as declared.
    """

    family: Family
    everything: dict[str, Value]
    parameters: int
    points: list[dict[str, Any]]
    training_flops: float
    trained: int | None = None
    operations: int = 0
    use: Use = ALONE

    @property
    def tokens(self) -> int | None:
        """The context window, None for a family without one."""
        return self.family.context(self.everything)

    @property
    def demand(self) -> Demand:
        """What running the measured model takes of its hardware."""
        family, dims, use = self.family, self.everything, self.use
        closed = family.demand(dims, use)
        extra = HALF * (self.parameters - family.count(dims))
        units = use.batch * closed.passes * family.input_length(dims, use)
        flops = units * flops_at(self.points, family.mean_length(dims, use))

        def with_extra(work: Cost) -> Cost:
            return replace(work, bytes=work.bytes + work.calls * extra)

        return replace(
            closed,
            weights=closed.weights + extra,
            first=replace(with_extra(closed.first), flops=flops),
            next=closed.next and with_extra(closed.next),
            last=closed.last and with_extra(closed.last),
        )


def read(desk: Desk) -> Measured:
    """Read the results of the probe."""
    family = families.of_package(desk)
    dims = desk.entry(GRAPH, "config")
    formats = {name: desk.entry(families.ARCHITECTURE, "infer", name) for name in family.formats}
    everything = {**dims, **formats}
    window = family.context(everything)
    return Measured(
        family=family,
        everything=everything,
        parameters=desk.entry(PARAMS, "total"),
        points=desk.entry(FLOPS, "points"),
        training_flops=family.training_length(everything) * desk.entry(FLOPS, "training_per_unit"),
        trained=window and desk.entry(families.ARCHITECTURE, "data").get("seq_len", window),
        operations=desk.entry(GRAPH, "operations"),
        use=need.use(desk.key),
    )


def flops_at(points: list[dict[str, Any]], length: float) -> float:
    """Return the operations per unit at a length, on the line between the measured ones."""
    known = sorted((p["length"], p["forward_per_unit"]) for p in points)
    for (x, low), (y, high) in pairwise(known):
        if x <= length <= y:
            return float(low + (high - low) * (length - x) / (y - x))
    return float(min(known, key=lambda point: abs(point[0] - length))[1])


Range = tuple[float, float]  # the lowest and the highest value of an estimate


NO_CHANGE = ("met", "figure", "not declared")  # Verdicts beside which no change is proposed.


@dataclass(frozen=True)
class Requirement:
    """What a spec requires of one figure.

    Attributes:
        shown: The value as it is declared; None where nothing is declared.
        limit: The value to compare with, in the figure's unit; None where no number meets it.
        relation: What the limit is to the figure: `required` is the least that meets it, and
            `allowed`, `available` and `delivered` are the most; None for a figure without a limit.
        partly: Whether the figure holds in part only, as a window that is longer than what the
            model is trained on.
    """

    shown: Any = None
    limit: float | None = None
    relation: str | None = "allowed"
    partly: bool = False

    def verdict(self, computed: float | None, between: Range) -> tuple[str, float | None]:
        """Return the verdict and the share of the requirement that is left.

        A figure is `open` if one end of its range meets the requirement and the other does not, or
        if it is not known. It is `bounded` if nothing finite meets the requirement, or if it is met
        in part only.
        """
        if self.relation is None:
            return "figure", None
        if self.shown is None:
            return "not declared", None
        if computed is None:
            return "open", None
        if self.limit is None:
            return "bounded", None
        met = {self._room(end) >= 0 for end in between}
        good = "bounded" if self.partly else "met"
        verdict = "open" if len(met) > 1 else good if met.pop() else "violated"
        return verdict, self._room(computed) / self.limit

    def _room(self, computed: float) -> float:
        assert self.limit is not None
        least = self.relation == "required"
        return computed - self.limit if least else self.limit - computed


NO_LIMIT = Requirement(relation=None)  # for a figure that no key of a spec limits


def entry(
    name: str,
    computed: float | None,
    unit: str,
    formula: str,
    source: str,
    required: Requirement = Requirement(),
    nearest: str | None = None,
    between: Range | None = None,
    cites: Iterable[str] = (),
) -> Entry:
    """Return one entry; `nearest` names changes that would meet a constraint that is not met.

    `between` is the range of an estimate, from which its verdict follows; it is None for a figure
    that is exact. `cites` names the bibliography's entries of its sources.
    """
    low, high = between or (computed, computed)
    verdict, margin = required.verdict(computed, (low, high))  # type: ignore[arg-type]
    return {
        "constraint": name,
        "required": required.shown,
        "limit": required.limit,
        "relation": required.relation,
        "computed": computed,
        "low": between and low,
        "high": between and high,
        "unit": unit,
        "formula": formula,
        "source": source,
        "cites": ",".join(dict.fromkeys(cites)),
        "verdict": verdict,
        "margin": margin,
        "nearest": None if verdict in NO_CHANGE else nearest,
    }


def unknown(
    name: str, required: Any, unit: str, reason: str, relation: str | None = "allowed"
) -> Entry:
    """Return an entry for a figure that cannot be computed, with the reason as its formula."""
    return entry(name, None, unit, reason, "the spec", Requirement(required, relation=relation))


def row(device: Device) -> str:
    """Return where the figures of a device come from."""
    return f"{TABLE}, {device.model}: {device.sources}"
