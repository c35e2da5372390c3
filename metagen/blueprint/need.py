"""From a spec's constraints to what the search must meet, with a reason for each default."""

from __future__ import annotations

import difflib
import math
from dataclasses import dataclass

from metagen.blueprint import devices
from metagen.blueprint.sizing import FILL, WEIGHT_BYTES
from metagen.errors import Problem, SpecError
from metagen.families.family import Dims, Family, Need, Value
from metagen.units import format_bytes
from metagen.work import Desk

# For a spec that declares neither a budget nor a memory: about the smallest GPT-2.
DEFAULT_PARAMETERS = 125_000_000
WEIGHT_SHARE = 0.5  # of the memory, where it alone decides the size


@dataclass(frozen=True)
class Goal:
    """What to search for, and why.

    Attributes:
        needs: What to try, in order; the first whose design fits the memory is taken.
        size_reason: Where the parameter count comes from.
        memory_reason: Where the limit on memory comes from, "" when there is none.
    """

    needs: tuple[Need, ...]
    size_reason: str
    memory_reason: str


def goal(desk: Desk, family: Family) -> Goal:
    """Read the constraints of a spec.

    Raises:
        SpecError: A pinned dimension is unknown, of the wrong type or contradicts another.
    """
    memory, memory_reason = _memory(desk)
    sizes, size_reason = _sizes(desk, memory)
    context = desk.key("constraints.context_window")
    least = desk.key("constraints.parameter_budget.min") or 0
    checked = pins(desk.key("architecture.dims") or {}, family)
    needs = (
        Need(size, min(size, max(least, math.ceil(FILL * size))), memory, context, checked)
        for size in sizes
    )
    return Goal(tuple(needs), size_reason, memory_reason)


def _memory(desk: Desk) -> tuple[int | None, str]:
    """Return the tighter of memory_budget and the device's usable memory."""
    limits: list[tuple[int, str]] = []
    if budget := desk.key("constraints.memory_budget"):
        limits.append((budget, f"memory_budget, {format_bytes(budget, 4)}"))
    device = devices.target(desk)
    if device and device.usable_memory:
        share = f"{device.usable:.0%} of its memory"
        text = f"{device.name}, {format_bytes(device.usable_memory, 4)} usable ({share})"
        limits.append((device.usable_memory, text))
    return min(limits, default=(None, ""))


def _sizes(desk: Desk, memory: int | None) -> tuple[list[int], str]:
    """Return the parameter counts to try, largest first, and where they come from."""
    most = desk.key("constraints.parameter_budget.max")
    least = desk.key("constraints.parameter_budget.min")
    if most:
        return [most], f"parameter_budget.max, {most:,}"
    if least:
        return [math.ceil(least / FILL)], f"parameter_budget.min, {least:,}; no maximum is declared"
    if memory:
        first = int(memory * WEIGHT_SHARE / WEIGHT_BYTES)
        reason = f"no parameter_budget is declared; weights in bf16 take at most {WEIGHT_SHARE:.0%}"
        return [max(1, first // 2**step) for step in range(4)], f"{reason} of the memory"
    reason = "no parameter_budget, memory_budget or device is declared; the default"
    return [DEFAULT_PARAMETERS], f"{reason} is {DEFAULT_PARAMETERS:,}"


def pins(declared: Dims, family: Family) -> dict[str, Value]:
    """Check pinned dimensions and return them with the types of the model's `Config`."""
    problems = [p for name, value in declared.items() if (p := _wrong(name, value, family))]
    if problems:
        raise SpecError(problems)
    checked = {name: family.dims[name](value) for name, value in declared.items()}
    broken = [
        Problem(_contradiction(rule.names, checked), "architecture.dims", rule.sentence)
        for rule in family.rules
        if set(rule.names) <= set(checked) and not rule.holds(checked)
    ]
    if broken:
        raise SpecError(broken)
    return checked


def _contradiction(names: tuple[str, ...], pinned: Dims) -> str:
    listed = " and ".join(f"{name}: {pinned[name]}" for name in names)
    return f"{listed} contradict each other" if len(names) > 1 else f"{listed} cannot be built"


def _wrong(name: str, value: object, family: Family) -> Problem | None:
    place = f"architecture.dims.{name}"
    if name not in family.dims:
        close = difflib.get_close_matches(name, family.dims, n=1, cutoff=0)
        hint = f"did you mean {close[0]}? dimensions: {', '.join(family.dims)}"
        return Problem(f"{family.name} has no dimension {name}", place, hint)
    kind = family.dims[name]
    if kind is bool:
        good = isinstance(value, bool)
    else:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        good = number and value > 0 and (kind is float or value == int(value))  # type: ignore
    wanted = {bool: "true or false", int: "a whole number above 0", float: "a number above 0"}
    return None if good else Problem(f"found {value!r}, allowed is {wanted[kind]}", place)
