"""The nearest feasible change for a constraint that is violated, found by the search itself.

Each answer is a value that the spec could have: the constraint itself loosened to what the best
design takes, the largest context or parameter count at which it is kept, or another device. The
search has tried each one, with every other constraint as it stands; a parameter budget is named
only where its design is within it.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from metagen.families.family import Limit
from metagen.sizing import devices, limits, spelling
from metagen.sizing.found import Found, otherwise, searched
from metagen.sizing.need import Goal
from metagen.units import INFINITE, parse_bytes, parse_rate, plain
from metagen.work import Desk

SHORTEST = 1024  # tokens; no shorter window is worth an answer
SHARES = range(1, 20)  # twentieths of the parameter budget to try
SLACK = 1.05  # where neither the best design's figure nor that of the limit alone is kept
STEPS = [1.1**step for step in range(25)]  # of a parameter budget, up to about tenfold
CONTEXT, BUDGET = "constraints.context_window", "constraints.parameter_budget.max"
LEAST = "constraints.parameter_budget.min"
DEVICE = "constraints.device"


def nearest(desk: Desk, found: Found, parameters: int) -> dict[str, str]:
    """Return, for each constraint that a model breaks, the changes that would keep it.

    Args:
        desk: Over the spec.
        found: The design that the search gave.
        parameters: Measured count, which an edit of the model may have changed.
    """
    load = found.design.load
    exceeded = [limit for limit in found.need.limits if limit.excess(load)]
    changes = {limit.constraint: ", or ".join(_changes(desk, found, limit)) for limit in exceeded}
    changes |= dict(_budgets(desk, found, parameters))
    return {constraint: text for constraint, text in changes.items() if text}


def _budgets(desk: Desk, found: Found, parameters: int) -> Iterator[tuple[str, str]]:
    """Yield each bound of the parameter budget that is broken, at a value that a design keeps."""
    extra = parameters - found.design.parameters

    def counted(key: str, bound: int) -> int | None:
        other = otherwise(desk, found.family, {key: bound})
        return other.design.parameters + extra if other else None

    for key, keeps in ((BUDGET, operator.le), (LEAST, operator.ge)):
        declared, up = desk.key(key), key == BUDGET
        if declared and not keeps(parameters, declared):
            sizes = (parameters * step if up else parameters / step for step in STEPS)
            bounds = (int(spelling.rounded(size, up=up)) for size in sizes)
            bound = next((b for b in bounds if (n := counted(key, b)) and keeps(n, b)), None)
            name = key.removeprefix("constraints.")
            if bound:
                yield name, f"{name} {spelling.count(bound, up=up)}"


Kept = Callable[[str, Any], bool]


def _changes(desk: Desk, found: Found, limit: Limit) -> Iterator[str]:
    def kept(key: str, value: Any) -> bool:
        """Search the changed spec and tell whether its design keeps the limit."""
        other = otherwise(desk, found.family, {key: value})
        if other is None:
            return False
        checked = (limit.constraint, limits.DEVICE) if key == DEVICE else (limit.constraint,)
        bounds = (bound for bound in other.need.limits if bound.constraint in checked)
        return not any(bound.excess(other.design.load) for bound in bounds)

    alone = searched(
        found.family, _only(found.goal, limit), desk.source(found.family.published)
    ).design
    used = [limit.used(each.load) for each in (alone, found.design)]
    yield from _loosened(desk, limit, [*used, SLACK * used[-1]], kept)
    yield from _shorter(desk, kept)
    yield from _smaller(desk, found, kept)
    yield from _elsewhere(desk, found, limit, kept)


def _only(wanted: Goal, limit: Limit) -> Goal:
    """Return a goal with no other limit than one."""
    return replace(wanted, needs=tuple(replace(n, limits=(limit,)) for n in wanted.needs))


def _loosened(desk: Desk, limit: Limit, used: list[float], kept: Kept) -> Iterator[str]:
    """Yield the limit itself, at the tightest of some values that the search then keeps."""
    key = f"constraints.{limit.constraint}"
    parse: Callable[[str], Any] = parse_bytes if limit.constraint == limits.MEMORY else str
    texts = [text for value in used if (text := _spelled(desk, limit, value))]
    for text in [each for each in texts if kept(key, parse(each))][:1]:
        yield f"{limit.constraint} {text}"


def _spelled(desk: Desk, limit: Limit, used: float) -> str:
    """Return a value of a limit as the spec would write it; "" for one that no key sets."""
    if limit.constraint == limits.MEMORY:
        return spelling.memory(used)
    if limit.constraint == limits.LATENCY:
        return f"{plain(spelling.rounded(1000 * used, up=True))}ms"
    return _rate(desk, used) if limit.constraint == limits.THROUGHPUT else ""


def _rate(desk: Desk, seconds: float) -> str:
    unit = parse_rate(desk.key("constraints.throughput")).unit
    return f"{plain(spelling.rounded(1 / seconds, up=False))} {unit}"


def _shorter(desk: Desk, kept: Kept) -> Iterator[str]:
    """Yield the longest context below the declared one: a power of two, or three quarters of it."""
    declared = desk.key(CONTEXT)
    if declared and declared != INFINITE:
        powers = [2**n for n in range(SHORTEST.bit_length() - 1, declared.bit_length() + 1)]
        windows = sorted({w for p in powers for w in (p, p * 3 // 2) if w < declared})
        if best := _last(windows, lambda window: kept(CONTEXT, window)):
            yield f"context_window {spelling.context(best)}"


def _smaller(desk: Desk, found: Found, kept: Kept) -> Iterator[str]:
    """Yield the largest parameter budget below the declared one, unless no design is within it."""
    declared = desk.key(BUDGET)
    if declared:
        least = desk.key(LEAST) or 1
        sizes = sorted({int(spelling.rounded(declared * n / 20, up=False)) for n in SHARES})
        sizes = [size for size in sizes if size >= least]
        best = _last(sizes, lambda size: kept(BUDGET, size))
        other = otherwise(desk, found.family, {BUDGET: best}) if best else None
        if best and other and other.design.parameters <= best:
            yield f"parameter_budget.max {spelling.count(best, up=False)}"


def _elsewhere(desk: Desk, found: Found, limit: Limit, kept: Kept) -> Iterator[str]:
    """Yield the smallest device of the table on which the limit is kept."""
    if limit.constraint != limits.MEMORY:
        sized = (device for device in devices.table(desk).values() if device.memory)
        ordered = sorted(sized, key=lambda each: (each.memory, each.bandwidth))
        fitting = (d for d in ordered if _keeps(limits.of(desk, found.family, d), limit, found))
        if device := next((d for d in fitting if kept(DEVICE, d.model)), None):
            yield f"device {device.model}"


def _keeps(bounds: tuple[Limit, ...], limit: Limit, found: Found) -> bool:
    same = [bound for bound in bounds if bound.constraint in (limit.constraint, limits.DEVICE)]
    names = {bound.constraint for bound in same}
    return limit.constraint in names and not any(b.excess(found.design.load) for b in same)


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
