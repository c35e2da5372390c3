"""The search for the dimensions of a model: every candidate is counted exactly and scored.

The search itself knows no family: it walks the axes that a family brings, drops what breaks the
family's rules, and keeps the best candidate. Better means, in this order: within the parameter
budget, the budget filled, the limits on memory and time met (or exceeded least), and then the
lowest score: the distance from published shapes, the unfilled budget, and the price of levers.

It goes in two passes. `shapes` leaves every lever at its plain value and ranks the shapes. Where
the best one breaks a limit, `pull_levers` tries all combinations of levers on the best few. Limits
decide only between those that fill the budget best, so nothing else is held against them.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, NamedTuple, cast

from metagen import families
from metagen.errors import Problem, SpecError
from metagen.families.axes import Axis
from metagen.families.demand import Demand, Need, Use
from metagen.families.family import Dims, Family, Value
from metagen.families.trend import Line, Trend
from metagen.sizing.need import MOST, needs
from metagen.units import INFINITE
from metagen.work import Desk

BEAM = 4  # shapes on which levers are pulled
UNFILLED_COST = 100.0  # one usual deviation of shape for each unfilled percent
EXCESS_STEP = 0.02  # excesses are compared in steps of 2%: a smaller gain is not worth a lever
WINDOW_COST = 1.0  # A window of half the length costs as much as one usual deviation of shape.
# More candidates than any usual spec has: odd pins make spaces of any size, and of these only every
# n-th design is counted, so that there are about `THINNED`.
MOST_WALKED, THINNED = 7_000, 1_500
MOST_SHAPES = 256  # results of `shapes` in the cache, each of `BEAM` designs
MOST_PULLS = 16  # results of `pull_levers` in the cache, each of up to a thousand designs


@dataclass(frozen=True)
class Design:
    """The dimensions and formats that were chosen.

    Attributes:
        dims: Each dimension of the model, in the order of its `Config`.
        formats: Each number format of deployment.
        parameters: Exact count.
        demand: What it takes to run it.
        fits: Whether every limit is met.
        candidates: How many candidates were counted.
    """

    dims: dict[str, Value]
    formats: dict[str, Value]
    parameters: int
    demand: Demand
    fits: bool
    candidates: int

    @property
    def everything(self) -> dict[str, Value]:
        """Dimensions and formats together."""
        return {**self.dims, **self.formats}


@dataclass(frozen=True)
class Solution:
    """The design for a spec, and what led to it.

    Attributes:
        family: The family of the model.
        need: What the design was searched for.
        trend: What published models near that size look like.
        design: The best candidate.
    """

    family: Family
    need: Need
    trend: Trend
    design: Design


def solution(desk: Desk) -> Solution:
    """Search the architecture for a spec.

    Raises:
        SpecError: No family builds the spec, or its pinned dimensions cannot be built.
    """
    family = families.of_spec(desk)
    return solve(family, needs(desk, family), desk.source(family.published))


def check_pins(desk: Desk, family: Family) -> None:
    """Refuse pinned dimensions that no model has, or none that can be planned.

    Raises:
        SpecError: They leave no candidate, or the smallest has more than `MOST` parameters.
    """
    need = needs(desk, family)[-1]
    if not need.pins.keys() - need.fixed.keys():
        return
    _, best = shapes(family, need, _trend(family, desk.source(family.published), need.budget))
    if not best:
        raise SpecError(_no_model(need.pins))
    count = family.count(best[0].dims)
    if count > max(MOST, need.budget):
        sentence = f"the pinned dimensions make a model of {count:,} parameters or more"
        hint = f"pin smaller dimensions: no model above {MOST:,} parameters is planned"
        raise SpecError(Problem(sentence, "architecture.dims", hint))


def _no_model(pins: Dims) -> Problem:
    listed = ", ".join(f"{name}: {value}" for name, value in pins.items())
    hint = "leave one of them out, and the search chooses it"
    return Problem(f"no model has all the pinned dimensions {listed}", "architecture.dims", hint)


def solve(family: Family, sizes: Iterable[Need], published: bytes) -> Solution:
    """Return the solution of the first need whose design meets the limits, or else of the last."""
    for need in sizes:
        trend = _trend(family, published, need.budget)
        design = search(family, need, trend)
        if design.fits:
            break
    return Solution(family, need, trend, design)


@lru_cache(maxsize=MOST_SHAPES)
def _trend(family: Family, published: bytes, budget: int) -> Trend:
    return family.fit(published, budget)


def alternative(desk: Desk, family: Family, changes: Mapping[str, Any]) -> Solution | None:
    """Return the solution of a spec with some keys changed; None where its pins allow no model."""
    try:
        sizes = needs(cast(Desk, _Alternative(desk, changes)), family)
        return solve(family, sizes, desk.source(family.published))
    except SpecError:
        return None


@dataclass(frozen=True)
class _Alternative:
    """A desk over the same spec with other values for some keys.

    It answers for those keys itself, so that only reads of the true spec are recorded.
    """

    desk: Desk
    changes: Mapping[str, Any]

    def key(self, name: str) -> Any:
        return self.changes[name] if name in self.changes else self.desk.key(name)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.desk, name)


def search(family: Family, need: Need, trend: Trend) -> Design:
    """Return the best candidate; the same need always gives the same one.

    Raises:
        SpecError: Pinned dimensions contradict each other or leave no candidate.
    """
    counted, best = shapes(family, need, trend)
    if not best:
        raise SpecError(_no_model(need.pins))
    chosen = best[0]
    if need.context == INFINITE or (
        need.limits and need.excess(family.demand(chosen.dims, need.use))
    ):
        pulled, rivals = pull_levers(family, need, trend)
        counted, chosen = counted + pulled, _nearest(need, rivals)
    return _design(family, chosen.dims, need, counted)


class Candidate(NamedTuple):
    """One design with what decides between it and another, the first difference first.

    Attributes:
        above: The share by which it exceeds the budget.
        below: The share of the floor that it leaves unfilled.
        cost: Its score.
        dims: Its dimensions and formats.
    """

    above: float
    below: float
    cost: float
    dims: Dims

    @property
    def misses(self) -> tuple[float, float]:
        """How far it is from the budget."""
        return self.above, self.below


def _rank(candidate: Candidate) -> tuple[float, float, float]:
    return candidate.above, candidate.below, candidate.cost


def shapes(family: Family, need: Need, trend: Trend) -> tuple[int, tuple[Candidate, ...]]:
    """Return how many shapes there are with plain levers, and the best few of them, best first.

    Limits play no part: searches that differ in their limits alone count the shapes only once.
    """
    return counted_shapes(family, *_without_limits(need, trend))


_Pairs = tuple[tuple[str, Value], ...]
_Lines = tuple[tuple[str, Line], ...]
_Levels = tuple[tuple[str, float], ...]
_Size = tuple[int, int, int | str | None]
_Fixed = tuple[_Pairs, _Pairs]
_Published = tuple[_Lines, _Levels]


def _without_limits(need: Need, trend: Trend) -> tuple[_Size, _Fixed, _Published]:
    """Return a need and a trend as values that a cache can compare, the limits left out."""
    return (
        (need.budget, need.floor, need.context),
        (tuple(need.pins.items()), tuple(need.fixed.items())),
        (tuple(trend.lines.items()), tuple(trend.levels.items())),
    )


def _with_no_limit(size: _Size, fixed: _Fixed, published: _Published) -> tuple[Need, Trend]:
    (budget, floor, context), (pins, declared) = size, map(dict, fixed)
    need = Need(budget, floor, context=context, pins=pins, fixed=declared)
    return need, Trend(dict(published[0]), dict(published[1]))


@lru_cache(maxsize=MOST_SHAPES)
def counted_shapes(
    family: Family, size: _Size, fixed: _Fixed, published: _Published
) -> tuple[int, tuple[Candidate, ...]]:
    """Return `shapes` from values that a cache can compare."""
    need, trend = _with_no_limit(size, fixed, published)
    axes = family.axes(need, trend)
    candidates = [_candidate(family, each, need, trend) for each in _walk(family, axes, need.pins)]
    return len(candidates), tuple(heapq.nsmallest(BEAM, candidates, key=_rank))


_Rivals = tuple[tuple[Candidate, Demand], ...]


def pull_levers(family: Family, need: Need, trend: Trend) -> tuple[int, _Rivals]:
    """Return how many designs the levers make of the best shapes, and those that fill it best.

    Each of these comes with its demand. Searches that differ in their limits alone share them,
    unless the limits decide the window.
    """
    if need.context == INFINITE:
        return _pulled(family, need, trend)
    return pulled(family, *_without_limits(need, trend), need.use)


@lru_cache(maxsize=MOST_PULLS)
def pulled(
    family: Family, size: _Size, fixed: _Fixed, published: _Published, use: Use
) -> tuple[int, _Rivals]:
    """Return `pull_levers` from values that a cache can compare."""
    need, trend = _with_no_limit(size, fixed, published)
    return _pulled(family, replace(need, use=use), trend)


def _pulled(family: Family, need: Need, trend: Trend) -> tuple[int, _Rivals]:
    axes, (_, best) = family.axes(need, trend), shapes(family, need, trend)
    grids = ({a.name: each.dims[a.name] for a in axes if a.grid} for each in best)
    candidates = [
        _candidate(family, each, need, trend)
        for grid in grids
        for each in _walk(family, axes, {**grid, **need.pins}, pull=True)
    ]
    fullest = min(each.misses for each in candidates)
    rivals = (each for each in candidates if each.misses == fullest)
    return len(candidates), tuple((each, family.demand(each.dims, need.use)) for each in rivals)


def _nearest(need: Need, rivals: _Rivals) -> Candidate:
    """Return the design that exceeds the limits least, or else has the lowest score."""
    steps = (math.ceil(need.excess(demand) / EXCESS_STEP) for _, demand in rivals)
    weighed = zip(steps, (each for each, _ in rivals), strict=True)
    return min(weighed, key=lambda pair: (pair[0], pair[1].cost))[1]


def put_back(axes: tuple[Axis, ...], dims: Dims, pins: Dims, name: str) -> dict[str, Value]:
    """Return a design with one lever at its plain value; what follows from it follows."""
    chosen: dict[str, Value] = {}
    for axis in axes:
        current, choices = dims.get(axis.name), list(axis.choices(chosen))
        stays = axis.grid or axis.name in pins or (current in choices and axis.name != name)
        value = current if stays else choices[0]
        if value is not None:
            chosen[axis.name] = value
    return chosen


def _candidate(family: Family, walked: _Walked, need: Need, trend: Trend) -> Candidate:
    dims, price = walked
    parameters = family.count(dims)
    cost = family.deviation(dims, trend) + price
    cost += UNFILLED_COST * max(0.0, 1 - parameters / need.budget)
    if need.context == INFINITE:
        cost -= WINDOW_COST * math.log2(family.context(dims) or 1)
    return Candidate(
        above=max(0.0, parameters / need.budget - 1),
        below=max(0.0, 1 - parameters / need.floor),
        cost=cost,
        dims=dims,
    )


def _design(family: Family, chosen: Dims, need: Need, candidates: int) -> Design:
    demand = family.demand(chosen, need.use)
    return Design(
        dims={name: chosen[name] for name in family.dims if name in chosen},
        formats={name: chosen[name] for name in family.formats},
        parameters=family.count(chosen),
        demand=demand,
        fits=not need.excess(demand),
        candidates=candidates,
    )


_Walked = tuple[dict[str, Value], float]


def _walk(
    family: Family, axes: tuple[Axis, ...], fixed: Dims, *, pull: bool = False
) -> Iterator[_Walked]:
    """Yield every candidate that keeps the rules, with the price of its levers.

    Args:
        family: Whose rules are kept.
        axes: The space, in order.
        fixed: Values that are not searched.
        pull: Whether levers leave their plain values.
    """
    walked: list[_Walked] = [({}, 0.0)]
    for axis in axes:
        walked = [
            (dims if value is None else {**dims, axis.name: value}, price + extra)
            for dims, price in walked
            for value, extra in _choices(axis, fixed, dims, pull)
        ]
        if len(walked) > MOST_WALKED:
            walked = walked[:: math.ceil(len(walked) / THINNED)]
    for dims, price in walked:
        if not any(rule.broken(dims) for rule in family.rules):
            yield dims, price


def _choices(
    axis: Axis, fixed: Dims, chosen: Dims, pull: bool
) -> Iterable[tuple[Value | None, float]]:
    if axis.name in fixed:
        value = fixed[axis.name]
        return [(None if axis.off is not None and value == axis.off else value, 0.0)]
    values = list(axis.choices(chosen))
    if axis.price is None:
        return [(value, 0.0) for value in values]
    return [(value, axis.price(chosen, value)) for value in (values if pull else values[:1])]
