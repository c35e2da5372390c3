"""blueprint/sensitivity.json: what one step more or less of each constraint would buy.

Each step is a search of its own, over the same spec with that one constraint changed. A constraint
is binding when the search would choose another design without it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from metagen.families.family import Load, Value
from metagen.files import json_bytes
from metagen.sizing import found
from metagen.sizing.found import Found
from metagen.sizing.limits import LATENCY_CLASSES, MEMORIES
from metagen.units import INFINITE, Rate, parse_latency, parse_rate
from metagen.work import Desk, Recipe

TARGET = "blueprint/sensitivity.json"
STEPS = (0.75, 1.25)
DOUBLING = (0.5, 2.0)


def work(desk: Desk) -> dict[str, bytes]:
    """Search once as specified, and once for each step of each declared constraint."""
    base = found.sized(desk)
    tried = [_step(desk, base, key, *values) for key, *values in _steps(desk)]
    content = {
        "specified": _outcome(base),
        "binding": [name for name, *_ in _CONSTRAINTS if _binds(desk, base, name)],
        "steps": [step for step in tried if step],
    }
    return {TARGET: json_bytes(content)}


def _steps(desk: Desk) -> Iterator[tuple[str, Any, Any]]:
    """Yield (constraint, declared value, another value)."""
    for name, factors, change in _CONSTRAINTS:
        declared = desk.key(f"constraints.{name}")
        if declared and declared != INFINITE:
            for factor in factors:
                if (value := change(declared, factor)) is not None:
                    yield name, declared, value


def _scaled(declared: int, factor: float) -> int:
    return round(declared * factor)


def _rate(declared: str, factor: float) -> str:
    rate = parse_rate(declared)
    return str(Rate(round(rate.value * factor, 6), rate.unit))


def _latency(declared: str, factor: float) -> str | None:
    """Return a time one step off, or the next class that sets a limit."""
    value = parse_latency(declared)
    if isinstance(value, float):
        return f"{round(1000 * value * factor, 6):g}ms"
    classes = [name for name, limit in LATENCY_CLASSES.items() if limit]
    at = classes.index(value) + (1 if factor > 1 else -1) if value in classes else -1
    return classes[at] if 0 <= at < len(classes) else None


_Change = Callable[[Any, float], Any]
# Each constraint with its steps and how it is changed.
_CONSTRAINTS: tuple[tuple[str, tuple[float, ...], _Change], ...] = (
    ("parameter_budget.max", STEPS, _scaled),
    ("memory_budget", STEPS, _scaled),
    ("context_window", DOUBLING, _scaled),
    ("throughput", STEPS, _rate),
    ("latency", STEPS, _latency),
)


def _step(desk: Desk, base: Found, name: str, declared: Any, value: Any) -> dict[str, Any] | None:
    """Return what a step gives, None where pinned dimensions allow no such model."""
    changed = {f"constraints.{name}": value, **_least(desk, name, value)}
    other = found.otherwise(desk, base.family, changed)
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
    """Return a minimum that a smaller budget still reaches."""
    least = "constraints.parameter_budget.min"
    below = name == "parameter_budget.max" and (desk.key(least) or 0) > value
    return {least: value} if below else {}


def _outcome(one: Found) -> dict[str, Any]:
    load = one.design.load
    return {
        "parameters": one.design.parameters,
        "memory": {**_parts(load), "total": load.memory},
        "memory_allowed": min(
            (b.allowed for b in one.need.limits if b.constraint in MEMORIES), default=None
        ),
        "exceeded": [limit.constraint for limit in one.need.limits if limit.excess(load)],
    }


def _parts(load: Load) -> dict[str, int]:
    return {"weights": load.weights, "cache": load.cache, "activations": load.activations}


def _changes(base: Found, other: Found) -> list[dict[str, Any]]:
    """Return what a step changes of what is searched: shape and levers, not what follows."""
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


def _binds(desk: Desk, base: Found, name: str) -> bool:
    """Return whether the search would choose another design without a declared constraint."""
    key = f"constraints.{name}"
    if desk.key(key) is None:
        return False
    other = found.otherwise(desk, base.family, {key: None})
    return other is None or bool(_changes(base, other))


RECIPES = (
    Recipe("blueprint:sensitivity", work, (), (TARGET,), "what a step of each constraint buys"),
)
