"""The nearest feasible change for a constraint that is violated, found by the search itself.

Each answer is a value that the spec could have: the constraint itself loosened to what the best
design takes, the largest context or parameter count at which it is kept, or another device.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from metagen.blueprint import devices, limits, spelling
from metagen.blueprint.found import Found, searched
from metagen.blueprint.need import Goal, goal
from metagen.blueprint.varied import varied
from metagen.families.family import Limit
from metagen.units import INFINITE, parse_rate, plain
from metagen.work import Desk

SHORTEST = 1024  # tokens; no shorter window is worth an answer
SHARES = range(1, 20)  # twentieths of the parameter budget to try
CONTEXT, BUDGET = "constraints.context_window", "constraints.parameter_budget.max"


def nearest(desk: Desk, found: Found, published: bytes) -> dict[str, str]:
    """Return, for each limit that a design exceeds, the changes that would keep it."""
    load = found.design.load
    exceeded = [limit for limit in found.need.limits if limit.excess(load)]
    return {
        limit.constraint: ", or ".join(_changes(desk, found, limit, published))
        for limit in exceeded
    }


def _changes(desk: Desk, found: Found, limit: Limit, published: bytes) -> Iterator[str]:
    def kept(key: str, value: Any) -> bool:
        changed = varied(desk, {key: value})
        wanted = _only(goal(changed, found.family), limit.constraint, found)
        return searched(found.family, wanted, published).design.fits

    alone = _only(found.goal, limit.constraint, found)
    best = searched(found.family, alone, published).design
    yield from _loosened(desk, limit, limit.used((found.design if best.fits else best).load))
    yield from _shorter(desk, kept)
    yield from _smaller(desk, kept)
    yield from _elsewhere(desk, found, limit)


def _only(wanted: Goal, constraint: str, found: Found) -> Goal:
    """Return a goal without the limits, other than one, that are exceeded anyway."""
    others = {b.constraint for b in found.need.limits if b.excess(found.design.load)} - {constraint}
    needs = (
        replace(n, limits=tuple(b for b in n.limits if b.constraint not in others))
        for n in wanted.needs
    )
    return replace(wanted, needs=tuple(needs))


def _loosened(desk: Desk, limit: Limit, used: float) -> Iterator[str]:
    """Yield the limit itself at what the best design takes of it."""
    if limit.constraint == limits.MEMORY:
        yield f"memory_budget {spelling.memory(used)}"
    if limit.constraint == limits.THROUGHPUT:
        unit = parse_rate(desk.key("constraints.throughput")).unit
        yield f"throughput {plain(spelling.rounded(1 / used, up=False))} {unit}"
    if limit.constraint == limits.LATENCY:
        yield f"latency {plain(spelling.rounded(1000 * used, up=True))}ms"


def _shorter(desk: Desk, kept: Callable[[str, Any], bool]) -> Iterator[str]:
    """Yield the longest context below the declared one: a power of two, or three quarters of it."""
    declared = desk.key(CONTEXT)
    if declared and declared != INFINITE:
        powers = [2**n for n in range(SHORTEST.bit_length() - 1, declared.bit_length() + 1)]
        windows = sorted({w for p in powers for w in (p, p * 3 // 2) if w < declared})
        if best := _largest(windows, lambda window: kept(CONTEXT, window)):
            yield f"context_window {spelling.context(best)}"


def _smaller(desk: Desk, kept: Callable[[str, Any], bool]) -> Iterator[str]:
    """Yield the largest parameter budget below the declared one."""
    declared = desk.key(BUDGET)
    if declared:
        least = desk.key("constraints.parameter_budget.min") or 1
        sizes = sorted({int(spelling.rounded(declared * n / 20, up=False)) for n in SHARES})
        sizes = [size for size in sizes if size >= least]
        if best := _largest(sizes, lambda size: kept(BUDGET, size)):
            yield f"parameter_budget.max {spelling.count(best, up=False)}"


def _elsewhere(desk: Desk, found: Found, limit: Limit) -> Iterator[str]:
    """Yield the smallest device on which the best design keeps the limit."""
    if limit.constraint != limits.MEMORY:
        fitting = [
            device
            for device in devices.table(desk).values()
            if device.memory and _keeps(limits.of(desk, found.family, device), limit, found)
        ]
        for device in sorted(fitting, key=lambda each: (each.memory, each.bandwidth))[:1]:
            yield f"device {device.name}"


def _keeps(bounds: tuple[Limit, ...], limit: Limit, found: Found) -> bool:
    same = [bound for bound in bounds if bound.constraint in (limit.constraint, limits.DEVICE)]
    names = {bound.constraint for bound in same}
    return limit.constraint in names and not any(b.excess(found.design.load) for b in same)


def _largest(values: list[int], good: Callable[[int], bool]) -> int | None:
    """Return the largest good value of an ascending list whose good ones come first."""
    low, high = 0, len(values)
    while low < high:
        middle = (low + high) // 2
        if good(values[middle]):
            low = middle + 1
        else:
            high = middle
    return values[low - 1] if low else None
