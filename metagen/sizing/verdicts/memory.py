"""Size and memory: the parameter count, and weights, cache and activations in their formats."""

from __future__ import annotations

from metagen.families.family import Load
from metagen.sizing.devices import Device
from metagen.sizing.limits import DEVICE, MEMORY
from metagen.sizing.verdicts.entry import Asked, Entry, entry
from metagen.sizing.verdicts.measured import COUNTED, Measured
from metagen.units import INFINITE
from metagen.work import Desk

FORMATS = f"{COUNTED}; formats of code/infer.py"


def verdicts(desk: Desk, model: Measured, device: Device | None) -> list[Entry]:
    """Return the entries on parameters, memory and context."""
    most, least = (desk.key(f"constraints.parameter_budget.{bound}") for bound in ("max", "min"))
    return [
        _parameters("parameter_budget.max", model, most, "<="),
        _parameters("parameter_budget.min", model, least, ">="),
        *_parts(model),
        _budget(desk, model.load),
        _device(model.load, device),
        _context(desk, model),
    ]


def _parameters(name: str, model: Measured, bound: int | None, relation: str) -> Entry:
    formula = f"{model.parameters:,}" + (f" {relation} {bound:,}" if bound else "")
    asked = Asked(bound, bound, at_least=relation == ">=")
    return entry(name, model.parameters, "parameters", formula, COUNTED, asked)


def _parts(model: Measured) -> list[Entry]:
    """Return what the memory is made of, each with its arithmetic."""
    words, load = model.family.explained(model.everything, model.parameters), model.load
    sizes = {"weights": load.weights, "cache": load.cache, "activations": load.activations}
    return [
        entry(name, size, "bytes", f"{words[name]} = {size:,} bytes", FORMATS)
        for name, size in sizes.items()
        if name in words
    ]


def _sum(load: Load) -> str:
    parts = {"weights": load.weights, "cache": load.cache, "activations": load.activations}
    listed = " + ".join(f"{name} {size:,}" for name, size in parts.items() if size)
    return f"{listed} = {load.memory:,} bytes"


def _budget(desk: Desk, load: Load) -> Entry:
    allowed = desk.key("constraints.memory_budget")
    return entry(MEMORY, load.memory, "bytes", _sum(load), FORMATS, Asked(allowed, allowed))


def _device(load: Load, device: Device | None) -> Entry:
    usable = device.usable_memory if device else None
    formula, source = _sum(load), FORMATS
    if device and usable and device.memory:
        count = f"{device.number} x " if device.number > 1 else ""
        formula += f"; usable {device.usable:.0%} of {count}{device.memory:,.0f} bytes = {usable:,}"
        source += f"; {row(device)}"
    return entry(DEVICE, load.memory, "bytes", formula, source, Asked(usable, usable))


def _context(desk: Desk, model: Measured) -> Entry:
    wanted = desk.key("constraints.context_window")
    asked = Asked(wanted, None if wanted == INFINITE else wanted, at_least=True)
    formula = f"{model.tokens:,} tokens" if model.tokens else "the model has no context window"
    if wanted == INFINITE:
        formula += ", the largest power of two that the other constraints allow"
    source = "Config of code/model.py"
    return entry("context_window", model.tokens, "tokens", formula, source, asked)


def row(device: Device) -> str:
    """Return where the figures of a device come from."""
    return f"data/devices.csv, {device.model}: {device.sources}"
