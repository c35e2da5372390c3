"""The same spec with one constraint changed: what would meet it, and what a step of it buys.

`nearest` names the smallest changes that would meet a violated constraint: the constraint itself
loosened to what the best design takes, the largest context or parameter count at which it is met,
or another device. The search has tried each value, with every other constraint unchanged. A
parameter budget is named only where its design is within it.

`blueprint/sensitivity.json` has one search for each step of each declared constraint. A constraint
is binding when the search would choose another design without it.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from decimal import Decimal
from functools import cache, partial
from typing import Any

from metagen import units
from metagen.families.demand import Demand, Limit, Need
from metagen.families.family import Family, Value
from metagen.files import json_bytes
from metagen.sizing import devices, need
from metagen.sizing.need import LATENCY_CLASSES, MEMORIES
from metagen.sizing.search import Solution, alternative, solution, solve
from metagen.units import INFINITE, Rate, UnitError, parse_bytes, parse_latency, parse_rate, plain
from metagen.work import Desk, Recipe

TARGET = "blueprint/sensitivity.json"
MOST_DECIMALS = 12  # More are noise in a number that a person copies into a spec.
SHORTEST = 1024  # tokens; a shorter window is not worth proposing
SHARES = range(1, 20)  # twentieths of the parameter budget to try
SLACK = 1.05  # fallback: the best design's figure plus 5%
GROWTH = [1.1**step for step in range(25)]  # Budgets to try: up to about ten times as large.
CONTEXT, BUDGET = "constraints.context_window", "constraints.parameter_budget.max"
LEAST = "constraints.parameter_budget.min"
DEVICE = "constraints.device"
STEPS = (0.75, 1.25)
DOUBLING = (0.5, 2.0)


def nearest(desk: Desk, best: Solution, parameters: int) -> dict[str, str]:
    """Return, for each constraint that a model violates, the changes that would meet it.

    Args:
        desk: Over the spec.
        best: The solution of the spec.
        parameters: Measured count, which an edit of the model may have changed.
    """

    @cache
    def other(key: str, value: Any) -> Solution | None:
        return alternative(desk, best.family, {key: value})

    demand = best.design.demand
    exceeded = [limit for limit in best.need.limits if limit.excess(demand)]
    changes = {
        limit.constraint: ", or ".join(_feasible(desk, best, limit, other)) for limit in exceeded
    }
    changes |= dict(_budgets(desk, best, parameters, other))
    return {constraint: text for constraint, text in changes.items() if text}


Other = Callable[[str, Any], Solution | None]


def _budgets(
    desk: Desk, best: Solution, parameters: int, other: Other
) -> Iterator[tuple[str, str]]:
    """Yield each violated bound of the parameter budget, at a value that a design meets."""
    extra = parameters - best.design.parameters

    def counted(key: str, bound: int) -> int | None:
        changed = other(key, bound)
        return changed.design.parameters + extra if changed else None

    for key, meets in ((BUDGET, operator.le), (LEAST, operator.ge)):
        declared, up = desk.key(key), key == BUDGET
        if declared and not meets(parameters, declared):
            sizes = (parameters * step if up else parameters / step for step in GROWTH)
            bounds = (int(units.rounded(size, up=up)) for size in sizes)
            bound = _met(bounds, partial(counted, key), meets)
            name = key.removeprefix("constraints.")
            if bound:
                yield name, f"{name} {units.spell_count(bound, up=up)}"


def _met(
    bounds: Iterable[int],
    counted: Callable[[int], int | None],
    meets: Callable[[int, int], bool],
) -> int | None:
    """Return the first bound that its own design meets.

    A design that misses its bound is the nearest that its search has found, so the bounds up to it
    are passed over. That saves a search for each of them where a step of one dimension is larger.
    """
    reached = None
    for bound in bounds:
        if reached is None or meets(reached, bound):
            reached = counted(bound)
            if reached is not None and meets(reached, bound):
                return bound
    return None


Meets = Callable[[str, Any], bool]


def _feasible(desk: Desk, best: Solution, limit: Limit, other: Other) -> Iterator[str]:
    """Yield the changes of the spec whose design meets a limit."""

    def meets(key: str, value: Any) -> bool:
        """Search the changed spec and return whether its design meets the limit."""
        changed = other(key, value)
        if changed is None:
            return False
        checked = (limit.constraint, need.DEVICE) if key == DEVICE else (limit.constraint,)
        bounds = (bound for bound in changed.need.limits if bound.constraint in checked)
        return not any(bound.excess(changed.design.demand) for bound in bounds)

    family = best.family
    alone = solve(family, _only(desk, best, limit), desk.source(family.published)).design
    used = [limit.used(each.demand) for each in (alone, best.design)]
    yield from _loosened(desk, limit, [*used, SLACK * used[-1]], meets)
    yield from _shorter(desk, family, meets)
    yield from _smaller(desk, meets, other)
    yield from _elsewhere(desk, best, limit, meets)


def _only(desk: Desk, best: Solution, limit: Limit) -> Iterator[Need]:
    """Yield what the spec needs with one limit alone."""
    return (replace(each, limits=(limit,)) for each in need.needs(desk, best.family))


def _loosened(desk: Desk, limit: Limit, used: list[float], meets: Meets) -> Iterator[str]:
    """Yield the limit itself, at the tightest of some values that the search then meets."""
    key = f"constraints.{limit.constraint}"
    spelled = (_spelled(desk, limit, value) for value in used)
    texts = [text for text in spelled if text and _parsed(limit, text)]
    if text := next((each for each in texts if meets(key, _parsed(limit, each))), ""):
        yield f"{limit.constraint} {text}"


def _parsed(limit: Limit, text: str) -> Any:
    """Return a limit as the spec holds it; None where a spec cannot state so much."""
    parse: Callable[[str], Any] = {
        need.MEMORY: parse_bytes,
        need.THROUGHPUT: lambda rate: str(parse_rate(rate)),
        need.LATENCY: units.spell_latency,
    }[limit.constraint]
    try:
        return parse(text)
    except UnitError:
        return None


def _spelled(desk: Desk, limit: Limit, used: float) -> str:
    """Return a value of a limit as the spec would write it; "" for a limit without a key."""
    if limit.constraint == need.MEMORY:
        return units.spell_memory(used)
    if limit.constraint == need.LATENCY:
        return f"{plain(units.rounded(1000 * used, up=True))}ms"
    return _spelled_rate(desk, used) if limit.constraint == need.THROUGHPUT else ""


def _spelled_rate(desk: Desk, seconds: float) -> str:
    unit = parse_rate(desk.key("constraints.throughput")).unit
    return f"{plain(units.rounded(1 / seconds, up=False))} {unit}"


def _shorter(desk: Desk, family: Family, meets: Meets) -> Iterator[str]:
    """Yield the longest context below the declared one: a power of two, or three quarters of it."""
    declared = need.context(desk.key, family)
    if isinstance(declared, int):
        powers = [2**n for n in range(SHORTEST.bit_length() - 1, declared.bit_length() + 1)]
        windows = sorted({w for p in powers for w in (p, p * 3 // 2) if w < declared})
        if longest := _last(windows, lambda window: meets(CONTEXT, window)):
            yield f"context_window {units.spell_context(longest)}"


def _smaller(desk: Desk, meets: Meets, other: Other) -> Iterator[str]:
    """Yield the largest parameter budget below the declared one, unless no design is within it."""
    declared = desk.key(BUDGET)
    if declared:
        least = desk.key(LEAST) or 1
        sizes = sorted({int(units.rounded(declared * n / 20, up=False)) for n in SHARES})
        sizes = [size for size in sizes if size >= least]
        size = _last(sizes, lambda size: meets(BUDGET, size))
        smaller = other(BUDGET, size) if size else None
        if size and smaller and smaller.design.parameters <= size:
            yield f"parameter_budget.max {units.spell_count(size, up=False)}"


def _elsewhere(desk: Desk, best: Solution, limit: Limit, meets: Meets) -> Iterator[str]:
    """Yield the smallest device of the table on which the limit is met."""
    if limit.constraint != need.MEMORY:
        known = (device for device in devices.table(desk).values() if device.memory)
        ordered = sorted(known, key=lambda each: (each.memory, each.bandwidth))
        fitting = (d for d in ordered if _fits(need.limits(desk, best.family, d), limit, best))
        if device := next((d for d in fitting if meets(DEVICE, d.model)), None):
            yield f"device {device.model}"


def _fits(bounds: tuple[Limit, ...], limit: Limit, best: Solution) -> bool:
    same = [bound for bound in bounds if bound.constraint in (limit.constraint, need.DEVICE)]
    names = {bound.constraint for bound in same}
    return limit.constraint in names and not any(b.excess(best.design.demand) for b in same)


def _last(values: list[int], good: Callable[[int], bool]) -> int | None:
    """Return the last good value of a list whose good ones come first; it is tried itself."""
    low, high = 0, len(values)
    while low < high:
        middle = (low + high) // 2
        if good(values[middle]):
            low = middle + 1
        else:
            high = middle
    return values[low - 1] if low else None


def sensitivity(desk: Desk) -> dict[str, bytes]:
    """Search once as specified, and once for each step of each declared constraint."""
    base = solution(desk)
    searched = [_step(desk, base, key, *values) for key, *values in _steps(desk, base.family)]
    content = {
        "specified": _outcome(base),
        "binding": [name for name, *_ in _CONSTRAINTS if _binds(desk, base, name)],
        "steps": [step for step in searched if step],
    }
    return {TARGET: json_bytes(content)}


def _steps(desk: Desk, family: Family) -> Iterator[tuple[str, Any, Any]]:
    """Yield (constraint, declared value, another value)."""
    for name, factors, change in _CONSTRAINTS:
        declared = desk.key(f"constraints.{name}")
        if name == "context_window":
            declared = need.context(desk.key, family)
        if declared and declared != INFINITE:
            for factor in factors:
                if (value := change(declared, factor)) is not None:
                    yield name, declared, value


def _scaled(declared: int, factor: float) -> int:
    return round(declared * factor)


def _rate(declared: str, factor: float) -> str | None:
    rate = parse_rate(declared)
    value = _digits(rate.value * factor)
    return value and str(Rate(float(value), rate.unit))


def _digits(value: float) -> str | None:
    """Return six significant digits of a number; None for one too small to be written."""
    text = plain(Decimal(f"{value:.6g}"))
    return text if len(text.partition(".")[2]) <= MOST_DECIMALS else None


def _latency(declared: str, factor: float) -> str | None:
    """Return a time one step off, or the next class that sets a limit."""
    value = parse_latency(declared)
    if isinstance(value, float):
        milliseconds = _digits(1000 * value * factor)
        return milliseconds and f"{milliseconds}ms"
    classes = [name for name, limit in LATENCY_CLASSES.items() if limit]
    at = classes.index(value) + (1 if factor > 1 else -1) if value in classes else -1
    return classes[at] if 0 <= at < len(classes) else None


_Change = Callable[[Any, float], Any]
# Each constraint with the factors of its steps and the function that applies one.
_CONSTRAINTS: tuple[tuple[str, tuple[float, ...], _Change], ...] = (
    ("parameter_budget.max", STEPS, _scaled),
    ("memory_budget", STEPS, _scaled),
    ("context_window", DOUBLING, _scaled),
    ("throughput", STEPS, _rate),
    ("latency", STEPS, _latency),
)


def _step(
    desk: Desk, base: Solution, name: str, declared: Any, value: Any
) -> dict[str, Any] | None:
    """Return the result of a step, None where pinned dimensions allow no such model."""
    changed = {f"constraints.{name}": value, **_least(desk, name, value)}
    other = alternative(desk, base.family, changed)
    if other is None:
        return None
    return {
        "constraint": name,
        "declared": declared,
        "value": value,
        **_outcome(other),
        "changes": _changes(base, other),
    }


def _least(desk: Desk, name: str, value: Any) -> dict[str, Any]:
    """Return a lower minimum where a smaller budget would be below the declared one."""
    least = "constraints.parameter_budget.min"
    below = name == "parameter_budget.max" and (desk.key(least) or 0) > value
    return {least: value} if below else {}


def _outcome(one: Solution) -> dict[str, Any]:
    demand = one.design.demand
    return {
        "parameters": one.design.parameters,
        "memory": {**_parts(demand), "total": demand.memory},
        "memory_allowed": min(
            (b.allowed for b in one.need.limits if b.constraint in MEMORIES), default=None
        ),
        "exceeded": [limit.constraint for limit in one.need.limits if limit.excess(demand)],
    }


def _parts(demand: Demand) -> dict[str, int]:
    return {"weights": demand.weights, "cache": demand.cache, "activations": demand.activations}


def _changes(base: Solution, other: Solution) -> list[dict[str, Any]]:
    """Return the changes of the searched dimensions: shape and levers, not what follows."""
    axes = base.family.axes(base.need, base.trend)
    searched = [axis.name for axis in axes if axis.grid or axis.price]
    before, after = base.design.everything, other.design.everything
    return [
        {"name": name, "from": _shown(before, name), "to": _shown(after, name)}
        for name in searched
        if before.get(name) != after.get(name)
    ]


def _shown(everything: dict[str, Value], name: str) -> Value | str:
    return everything.get(name, "none")


def _binds(desk: Desk, base: Solution, name: str) -> bool:
    """Return whether the search would choose another design without a declared constraint."""
    key = f"constraints.{name}"
    if desk.key(key) is None:
        return False
    other = alternative(desk, base.family, {key: None})
    return other is None or bool(_changes(base, other))


RECIPES = (
    Recipe(
        "blueprint:sensitivity", sensitivity, (), (TARGET,), "what a step of each constraint buys"
    ),
)
