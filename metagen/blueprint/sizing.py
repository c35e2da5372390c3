"""The search for the dimensions of a model: every candidate is counted exactly and scored.

The search knows no family: it walks the axes that a family brings, drops what breaks the
family's rules, and keeps the best candidate. Better means, in this order: within the parameter
budget, the budget filled to 97% or more, weights and cache within the memory, and then the
lowest score, which weighs the distance from published shapes against the unfilled budget.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from metagen.errors import SpecError
from metagen.families.family import Axis, Dims, Family, Need, Value
from metagen.families.trend import Trend
from metagen.units import INFINITE

FILL = 0.97
WEIGHT_BYTES = 2  # bf16, the format of deployment
UNFILLED_COST = 100.0  # one usual deviation of shape for each unfilled percent
EXCESS_COST = 2.0  # for each factor of e above the memory, where no candidate fits
WINDOW_COST = 1.0  # for each halving of a window that may be as large as memory allows


@dataclass(frozen=True)
class Design:
    """The dimensions that were chosen.

    Attributes:
        dims: Each dimension, in the order of the model's `Config`.
        parameters: Exact count.
        fits_memory: Whether weights and cache stay within the memory.
        candidates: How many candidates were counted.
    """

    dims: dict[str, Value]
    parameters: int
    fits_memory: bool
    candidates: int


def footprint(family: Family, dims: Dims, parameters: int) -> int:
    """Return the bytes of the weights and of one sequence's cache at the full context."""
    tokens = family.context(dims)
    return parameters * WEIGHT_BYTES + (family.cache_bytes(dims, tokens) if tokens else 0)


def search(family: Family, need: Need, trend: Trend) -> Design:
    """Return the best candidate; the same need always gives the same one.

    Raises:
        SpecError: Pinned dimensions contradict each other or leave no candidate.
    """
    best, counted = None, 0
    for dims in _candidates(family, need, trend):
        counted += 1
        rank = _rank(family, dims, need, trend)
        if best is None or rank < best[0]:
            best = (rank, dims)
    if best is None:
        raise SpecError(f"no model has all the pinned dimensions {_listed(need.pins)}")
    dims = {name: best[1][name] for name in family.dims}
    return Design(dims, family.count(dims), best[0][2] == 0, counted)


def _listed(pins: Dims) -> str:
    return ", ".join(f"{name}: {value}" for name, value in pins.items())


def _candidates(family: Family, need: Need, trend: Trend) -> Iterator[Dims]:
    axes = family.axes(need, trend)
    for dims in _walk(axes, need.pins, {}):
        if all(rule.holds(dims) for rule in family.rules):
            yield dims


def _walk(axes: tuple[Axis, ...], pins: Dims, chosen: dict[str, Value]) -> Iterator[Dims]:
    if not axes:
        yield chosen
        return
    axis, rest = axes[0], axes[1:]
    choices: Iterable[Value] = (pins[axis.name],) if axis.name in pins else axis.choices(chosen)
    for value in choices:
        yield from _walk(rest, pins, {**chosen, axis.name: value})


def _rank(
    family: Family, dims: Dims, need: Need, trend: Trend
) -> tuple[float, float, float, float]:
    parameters = family.count(dims)
    excess = max(0.0, parameters / need.parameters - 1)
    missing = max(0.0, 1 - parameters / need.floor)
    squeeze = _squeeze(footprint(family, dims, parameters), need.memory)
    score = family.cost(dims, trend) + EXCESS_COST * squeeze
    score += UNFILLED_COST * max(0.0, 1 - parameters / need.parameters)
    if need.context == INFINITE:
        score -= WINDOW_COST * math.log2(family.context(dims) or 1)
    return excess, missing, float(squeeze > 0), score


def _squeeze(required: int, allowed: int | None) -> float:
    """Return the logarithm of the factor by which memory is exceeded, 0 when it is not."""
    return max(0.0, math.log(required / allowed)) if allowed else 0.0
