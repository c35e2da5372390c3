"""The search for the dimensions of a model: every candidate is counted exactly and scored.

The search knows no family: it walks the axes that a family brings, drops what breaks the
family's rules, and keeps the best candidate. Better means, in this order: within the parameter
budget, the budget filled, the limits on memory and time kept (or exceeded least), and then the
lowest score: the distance from published shapes, the unfilled budget, and the price of levers.

It goes in two passes. The first leaves every lever at its plain value and ranks the shapes. Where
the best one breaks a limit, the second pulls the levers, in all combinations, on the best few.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from metagen.errors import SpecError
from metagen.families.family import Axis, Dims, Family, Load, Need, Value
from metagen.families.trend import Trend
from metagen.units import INFINITE

FILL = 0.99
BEAM = 4  # shapes on which levers are pulled
UNFILLED_COST = 100.0  # one usual deviation of shape for each unfilled percent
EXCESS_STEP = 0.02  # logarithm; a lever that gains less against a lost limit is not pulled
WINDOW_COST = 1.0  # for each halving of a window that may be as large as the limits allow


@dataclass(frozen=True)
class Design:
    """The dimensions and formats that were chosen.

    Attributes:
        dims: Each dimension of the model, in the order of its `Config`.
        formats: Each number format of deployment.
        parameters: Exact count.
        load: What it takes to run it.
        fits: Whether every limit is kept.
        candidates: How many candidates were counted.
    """

    dims: dict[str, Value]
    formats: dict[str, Value]
    parameters: int
    load: Load
    fits: bool
    candidates: int

    @property
    def everything(self) -> dict[str, Value]:
        """Dimensions and formats together."""
        return {**self.dims, **self.formats}


def search(family: Family, need: Need, trend: Trend) -> Design:
    """Return the best candidate; the same need always gives the same one.

    Raises:
        SpecError: Pinned dimensions contradict each other or leave no candidate.
    """
    axes = family.axes(need, trend)
    plain = [_ranked(family, each, need, trend) for each in _walk(family, axes, need.pins)]
    if not plain:
        raise SpecError(f"no model has all the pinned dimensions {_listed(need.pins)}")
    shapes = heapq.nsmallest(BEAM, plain, key=_shape_rank)
    counted, best = len(plain), shapes[0]
    if best.excess or need.context == INFINITE:
        grids = ({a.name: each.dims[a.name] for a in axes if a.grid} for each in shapes)
        fixed = ({**grid, **need.pins} for grid in grids)
        pulled = [
            _ranked(family, each, need, trend)
            for one in fixed
            for each in _walk(family, axes, one, pull=True)
        ]
        counted, best = counted + len(pulled), min(pulled, key=_rank)
    return _design(family, best.dims, need, counted)


def put_back(axes: tuple[Axis, ...], dims: Dims, pins: Dims, name: str) -> dict[str, Value]:
    """Return a design with one lever at its plain value; what follows from it follows."""
    chosen: dict[str, Value] = {}
    for axis in axes:
        kept, choices = dims.get(axis.name), list(axis.choices(chosen))
        stays = axis.grid or axis.name in pins or (kept in choices and axis.name != name)
        value = kept if stays else choices[0]
        if value is not None:
            chosen[axis.name] = value
    return chosen


@dataclass(frozen=True)
class _Candidate:
    """One design with what decides between it and another, the first difference first."""

    above: float
    below: float
    excess: int
    cost: float
    dims: dict[str, Value]


def _rank(candidate: _Candidate) -> tuple[float, float, float, float]:
    return candidate.above, candidate.below, candidate.excess, candidate.cost


def _shape_rank(candidate: _Candidate) -> tuple[float, float, float]:
    return candidate.above, candidate.below, candidate.cost


def _ranked(family: Family, walked: _Walked, need: Need, trend: Trend) -> _Candidate:
    dims, price = walked
    parameters = family.count(dims)
    cost = family.cost(dims, trend) + price
    cost += UNFILLED_COST * max(0.0, 1 - parameters / need.parameters)
    if need.context == INFINITE:
        cost -= WINDOW_COST * math.log2(family.context(dims) or 1)
    return _Candidate(
        above=max(0.0, parameters / need.parameters - 1),
        below=max(0.0, 1 - parameters / need.floor),
        excess=math.ceil(need.excess(family.load(dims)) / EXCESS_STEP) if need.limits else 0,
        cost=cost,
        dims=dims,
    )


def _design(family: Family, chosen: Dims, need: Need, candidates: int) -> Design:
    load = family.load(chosen)
    return Design(
        dims={name: chosen[name] for name in family.dims if name in chosen},
        formats={name: chosen[name] for name in family.formats},
        parameters=family.count(chosen),
        load=load,
        fits=not need.excess(load),
        candidates=candidates,
    )


def _listed(pins: Dims) -> str:
    return ", ".join(f"{name}: {value}" for name, value in pins.items())


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
    for dims, price in _branches(axes, fixed, {}, 0.0, pull):
        if not any(rule.broken(dims) for rule in family.rules):
            yield dims, price


def _branches(
    axes: tuple[Axis, ...], fixed: Dims, chosen: dict[str, Value], price: float, pull: bool
) -> Iterator[_Walked]:
    if not axes:
        yield chosen, price
        return
    axis, rest = axes[0], axes[1:]
    for value, extra in _choices(axis, fixed, chosen, pull):
        longer = chosen if value is None else {**chosen, axis.name: value}
        yield from _branches(rest, fixed, longer, price + extra, pull)


def _choices(
    axis: Axis, fixed: Dims, chosen: Dims, pull: bool
) -> Iterable[tuple[Value | None, float]]:
    if axis.name in fixed:
        return [(fixed[axis.name], 0.0)]
    values = list(axis.choices(chosen))
    if axis.price is None:
        return [(value, 0.0) for value in values]
    return [(value, axis.price(chosen, value)) for value in (values if pull else values[:1])]
