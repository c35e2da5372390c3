"""From a spec's constraints to what the search must meet, with a reason for each default."""

from __future__ import annotations

import difflib
import math
from dataclasses import dataclass

from metagen.errors import Problem, SpecError
from metagen.families.family import Dims, Family, Key, Limit, Need, Value
from metagen.sizing import devices, limits
from metagen.sizing.search import FILL
from metagen.units import INFINITE, format_bytes
from metagen.work import Desk

# For a spec that declares neither a budget nor a memory: about the smallest GPT-2.
DEFAULT_PARAMETERS = 125_000_000
WEIGHT_SHARE = 0.5  # of the memory, where it alone decides the size
WEIGHT_BYTES = 2  # bf16, as trained
MOST = 2 * 10**12  # parameters to try, whatever the memory


@dataclass(frozen=True)
class Goal:
    """What to search for, and why.

    Attributes:
        needs: What to try, in order; the first whose design keeps the limits is taken.
        reason: Where the parameter count comes from.
    """

    needs: tuple[Need, ...]
    reason: str


def goal(desk: Desk, family: Family) -> Goal:
    """Read the constraints of a spec.

    Raises:
        SpecError: A pinned dimension is unknown, of the wrong type or contradicts another key.
    """
    bounds = limits.of(desk, family, devices.target(desk))
    sizes, reason = _sizes(desk, bounds)
    context = desk.key("constraints.context_window")
    least = desk.key("constraints.parameter_budget.min") or 0
    fixed, checked = family.fixed(desk.key), pins(desk.key, family)
    needs = (
        Need(size, min(size, max(least, math.ceil(FILL * size))), bounds, context, checked, fixed)
        for size in sizes
    )
    return Goal(tuple(needs), reason)


def _sizes(desk: Desk, bounds: tuple[Limit, ...]) -> tuple[list[int], str]:
    """Return the parameter counts to try, largest first, and where they come from."""
    most = desk.key("constraints.parameter_budget.max")
    least = desk.key("constraints.parameter_budget.min")
    memory = min((b for b in bounds if b.constraint in limits.MEMORIES), default=None, key=_allowed)
    if most:
        return [most], f"parameter_budget.max, {most:,}"
    if least:
        return [math.ceil(least / FILL)], f"parameter_budget.min, {least:,}; no maximum is declared"
    if memory:
        first = min(MOST, int(memory.allowed * WEIGHT_SHARE / WEIGHT_BYTES))
        reason = f"no parameter_budget is declared; weights in bf16 take at most {WEIGHT_SHARE:.0%}"
        sizes = [max(1, first // 2**step) for step in range(4)]
        return sizes, f"{reason} of {format_bytes(int(memory.allowed), 4)} of memory"
    reason = "no parameter_budget, memory_budget or device is declared; the default"
    return [DEFAULT_PARAMETERS], f"{reason} is {DEFAULT_PARAMETERS:,}"


def _allowed(limit: Limit) -> float:
    return limit.allowed


def pins(key: Key, family: Family) -> dict[str, Value]:
    """Check what fixes dimensions and return them with the types of the model's `Config`.

    Raises:
        SpecError: One is unknown or of the wrong type, or contradicts another key.
    """
    declared = key("architecture.dims") or {}
    problems = [p for name, value in declared.items() if (p := _wrong(name, value, family))]
    if problems:
        raise SpecError(problems)
    known = {**family.dims, **family.formats}
    fixed = family.fixed(key)
    checked = fixed | {name: known[name](value) for name, value in declared.items()}
    broken = [
        Problem(
            f"{name}: {checked[name]} contradicts the {value} that another key declares",
            f"architecture.dims.{name}",
            "leave one of the two out",
        )
        for name, value in fixed.items()
        if checked[name] != value
    ]
    broken += [
        Problem(_contradiction(rule.names, checked), "architecture.dims", rule.sentence)
        for rule in family.rules
        if rule.broken(checked)
    ]
    broken += _against_context(checked, key("constraints.context_window"), family)
    if broken:
        raise SpecError(broken)
    return checked


def _against_context(checked: Dims, declared: int | str | None, family: Family) -> list[Problem]:
    """Refuse pins that leave no room for the declared context."""
    name = family.context_dim
    if name is None or declared in (None, INFINITE) or checked.get(name, declared) == declared:
        return []
    sentence = f"{name}: {checked[name]:,} contradicts constraints.context_window: {declared:,}"
    hint = "leave one of the two out, or make them equal"
    return [Problem(sentence, f"architecture.dims.{name}", hint)]


def _contradiction(names: tuple[str, ...], pinned: Dims) -> str:
    listed = " and ".join(f"{name}: {pinned[name]}" for name in names)
    return f"{listed} contradict each other" if len(names) > 1 else f"{listed} cannot be built"


def _wrong(name: str, value: object, family: Family) -> Problem | None:
    place = f"architecture.dims.{name}"
    known = {**family.dims, **family.formats}
    if name not in known:
        close = difflib.get_close_matches(name, known, n=1, cutoff=0)
        hint = f"did you mean {close[0]}? dimensions: {', '.join(known)}"
        return Problem(f"{family.name} has no dimension {name}", place, hint)
    kind = known[name]
    if kind is bool:
        good = isinstance(value, bool)
    else:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        good = number and value > 0 and (kind is float or value == int(value))  # type: ignore
    wanted = {bool: "true or false", int: "a whole number above 0", float: "a number above 0"}
    return None if good else Problem(f"found {value!r}, allowed is {wanted[kind]}", place)
