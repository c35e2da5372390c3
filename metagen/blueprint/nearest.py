"""The nearest feasible change for a constraint that is violated, found by the search itself.

Each answer is a value that the spec could have: the constraint itself loosened to what the best
design takes, the largest context or parameter count at which it is kept, or another device. The
search has tried each one, with every other constraint as it stands.
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
from metagen.units import INFINITE, parse_bytes, parse_rate, plain
from metagen.work import Desk

SHORTEST = 1024  # tokens; no shorter window is worth an answer
SHARES = range(1, 20)  # twentieths of the parameter budget to try
SLACK = 1.05  # where neither the best design's figure nor that of the limit alone is kept
CONTEXT, BUDGET = "constraints.context_window", "constraints.parameter_budget.max"
DEVICE = "constraints.device"


def nearest(desk: Desk, found: Found, published: bytes) -> dict[str, str]:
    """Return, for each limit that a design exceeds, the changes that would keep it."""
    load = found.design.load
    exceeded = [limit for limit in found.need.limits if limit.excess(load)]
    changes = {
        limit.constraint: ", or ".join(_changes(desk, found, limit, published))
        for limit in exceeded
    }
    return {constraint: text for constraint, text in changes.items() if text}


Kept = Callable[[str, Any], bool]


def _changes(desk: Desk, found: Found, limit: Limit, published: bytes) -> Iterator[str]:
    def kept(key: str, value: Any) -> bool:
        """Search the changed spec and tell whether its design keeps the limit."""
        changed = varied(desk, {key: value})
        other = searched(found.family, goal(changed, found.family), published)
        checked = (limit.constraint, limits.DEVICE) if key == DEVICE else (limit.constraint,)
        bounds = (bound for bound in other.need.limits if bound.constraint in checked)
        return not any(bound.excess(other.design.load) for bound in bounds)

    alone = searched(found.family, _only(found.goal, limit), published).design
    used = [limit.used(each.load) for each in (alone, found.design)]
    yield from _loosened(desk, limit, [*used, SLACK * used[-1]], kept)
    yield from _shorter(desk, kept)
    yield from _smaller(desk, kept)
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
        if best := _largest(windows, lambda window: kept(CONTEXT, window)):
            yield f"context_window {spelling.context(best)}"


def _smaller(desk: Desk, kept: Kept) -> Iterator[str]:
    """Yield the largest parameter budget below the declared one."""
    declared = desk.key(BUDGET)
    if declared:
        least = desk.key("constraints.parameter_budget.min") or 1
        sizes = sorted({int(spelling.rounded(declared * n / 20, up=False)) for n in SHARES})
        sizes = [size for size in sizes if size >= least]
        if best := _largest(sizes, lambda size: kept(BUDGET, size)):
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
