"""blueprint/constraints.json: each constraint of the spec beside what the model takes, and why.

The model is the measured one: its parameters, operations and Config come from the probe. Memory is
that of weights, cache and activations in their formats; latency and throughput follow a roofline
of the declared device.
"""

from __future__ import annotations

from collections.abc import Iterator

from metagen.families.demand import Cost, Demand
from metagen.files import json_bytes
from metagen.package.launch import PLAN
from metagen.sizing import alternatives, devices, measured, need, search, training
from metagen.sizing.devices import Device, Roofline
from metagen.sizing.measured import (
    COUNTED,
    INPUTS,
    NO_LIMIT,
    Entry,
    Measured,
    Requirement,
    entry,
    row,
    unknown,
)
from metagen.sizing.need import DEVICE, LATENCY, MEMORY, THROUGHPUT
from metagen.units import INFINITE, rate_unit, spell_context
from metagen.work import Desk, Recipe

TARGET = "blueprint/constraints.json"
FORECAST = "trained/forecast.json"  # has the verdicts on the targets of the trained model
FULL = "throughput_at_full_context"
FORMATS = f"{COUNTED}; formats of code/infer.py"
NO_DEVICE = "no device is declared"


def work(desk: Desk) -> dict[str, bytes]:
    """Compare the measured model with every constraint, declared or not."""
    model, target = measured.read(desk), devices.target(desk)
    device = devices.shared(target, model.family, model.everything) if target else None
    line = devices.roofline(desk, device, model.family, model.operations) if device else None
    verdicts = [
        *_size(desk, model, device),
        _latency(desk, model, line),
        *_throughput(desk, model, line),
        *training.verdicts(desk, model),
        *desk.entry(FORECAST, "verdicts"),
    ]
    return {TARGET: json_bytes(_with_changes(desk, model, verdicts))}


def _with_changes(desk: Desk, model: Measured, verdicts: list[Entry]) -> list[Entry]:
    """Add the nearest feasible changes to violated constraints; search only if there are any."""
    if not any(each["verdict"] == "violated" for each in verdicts):
        return verdicts
    family = model.family
    best = search.solve(family, need.needs(desk, family), desk.source(family.published))
    changes = alternatives.nearest(desk, best, model.parameters)
    return [
        {**each, "nearest": each["nearest"] or changes.get(each["constraint"])} for each in verdicts
    ]


def _size(desk: Desk, model: Measured, device: Device | None) -> list[Entry]:
    """Return the entries on parameters, memory and context."""
    most, least = (desk.key(f"constraints.parameter_budget.{bound}") for bound in ("max", "min"))
    return [
        _parameters("parameter_budget.max", model, most, "<="),
        _parameters("parameter_budget.min", model, least, ">="),
        *_parts(model),
        _budget(desk, model.demand),
        _device(model.demand, device),
        *_context(desk, model),
    ]


def _parameters(name: str, model: Measured, bound: int | None, relation: str) -> Entry:
    formula = f"{model.parameters:,}" + (f" {relation} {bound:,}" if bound else "")
    required = Requirement(bound, bound, "required" if relation == ">=" else "allowed")
    return entry(name, model.parameters, "parameters", formula, COUNTED, required)


def _parts(model: Measured) -> list[Entry]:
    """Return the parts of the memory, each with its arithmetic."""
    words = model.family.explained(model.everything, model.parameters, model.use)
    return [
        entry(name, size, "bytes", f"{words[name]} = {size:,} bytes", FORMATS, NO_LIMIT)
        for name, size in model.demand.parts.items()
        if name in words
    ]


def _sum(demand: Demand) -> str:
    listed = " + ".join(f"{name} {size:,}" for name, size in demand.parts.items() if size)
    return f"{listed} = {demand.memory:,} bytes"


def _budget(desk: Desk, demand: Demand) -> Entry:
    allowed = desk.key("constraints.memory_budget")
    return entry(
        MEMORY, demand.memory, "bytes", _sum(demand), FORMATS, Requirement(allowed, allowed)
    )


def _device(demand: Demand, device: Device | None) -> Entry:
    usable = device.usable_memory if device else None
    formula, source = _sum(demand), FORMATS
    if device and usable and device.memory:
        count = f"{device.number} x " if device.number > 1 else ""
        formula += f"; usable {device.usable:.0%} of {count}{device.memory:,.0f} bytes = {usable:,}"
        source += f"; {row(device)}"
    required = Requirement(usable, usable, "available")
    cites = [device.cite] if device else []
    return entry(DEVICE, demand.memory, "bytes", formula, source, required, cites=cites)


def _context(desk: Desk, model: Measured) -> Iterator[Entry]:
    """Yield the entry on the window of a family that has one: configured, and trained on."""
    if model.tokens is None:
        return
    declared, window = desk.key("constraints.context_window"), model.tokens
    trained, limit = model.trained or window, None if declared == INFINITE else declared
    formula = f"{window:,} tokens configured; trained on {trained:,}"
    if declared == INFINITE:
        formula += "; the largest power of two that the other constraints allow"
    partly = trained < min(window, limit or window)
    required = Requirement(declared, limit, "required", partly)
    source = "Config of code/model.py; data.seq_len of blueprint/architecture.yaml"
    nearest = f"context_window {spell_context(trained)}, the length of training"
    yield entry("context_window", window, "tokens", formula, source, required, nearest)


def _latency(desk: Desk, model: Measured, line: Roofline | None) -> Entry:
    declared = desk.key("constraints.latency")
    limit = need.latency(declared)
    # A class such as `batch` sets no limit, so the figure stands for itself.
    relation = None if declared and limit is None else "allowed"
    if line is None or line.device.flops is None:
        reason = f"no speed of {line.device.name} is known" if line else NO_DEVICE
        return unknown(LATENCY, declared, "s", reason, relation)
    demand = model.demand
    work, bits = demand.first, demand.weight_bits
    peak = line.device.number * line.device.flops
    share = line.arithmetic_share
    formula = (
        f"first output {_input(model)}{_where(model, line)}: {work.flops:.3g} FLOP / "
        f"({share.value:.2g} x {peak:.4g} FLOP/s) = {line.arithmetic(work):.3g} s; "
        f"{_read(work, line, bits)} = {line.traffic(work, bits):.3g} s; "
        f"{_started(work, line)} = {line.launches(work):.3g} s; {line.together}, "
        f"{line.seconds(work, bits):.3g} s" + (f"; {declared} allows {limit:g} s" if limit else "")
    )
    source = f"blueprint/flops.json; {share.source}; {_source(line, bits)}"
    between, computed = line.between(work, bits), line.seconds(work, bits)
    required = Requirement(declared, limit, relation)
    cites = line.cites(bits)
    return entry(LATENCY, computed, "s", formula, source, required, None, between, cites)


def _throughput(desk: Desk, model: Measured, line: Roofline | None) -> list[Entry]:
    declared = desk.key("constraints.throughput")
    usual, rate = rate_unit(model.family.task.work_unit), need.throughput(desk.key, model.family)
    unit = rate.unit if rate else usual
    if line is None:
        return [unknown(THROUGHPUT, declared, unit, NO_DEVICE, "required")]
    required = Requirement(declared, rate.value if rate else None, "required")
    demand = model.demand
    entries = [_speed(THROUGHPUT, demand.steady, model, line, _input(model), required, unit)]
    if demand.last:
        after = f"after {model.tokens:,} tokens"
        entries.append(_speed(FULL, demand.last, model, line, after, NO_LIMIT, unit))
    return entries


def _input(model: Measured) -> str:
    """Return the length of the input, and how often the model runs, before an output."""
    length = model.family.input_length(model.everything, model.use)
    unit = model.family.words.unit + ("" if length == 1 else "s")
    runs = model.demand.passes
    words = f"after {length:,} {unit} of input" + (f", {runs} passes" if runs > 1 else "")
    batch = model.use.batch
    return words + (f", for {batch:,} requests at once" if batch > 1 else "")


def _where(model: Measured, line: Roofline) -> str:
    """Return on how many devices the model runs, which may be fewer than are declared."""
    number = "one" if line.device.number == 1 else line.device.number
    return f" on {number} {line.device.model}"


def _speed(
    name: str,
    work: Cost,
    model: Measured,
    line: Roofline,
    after: str,
    required: Requirement,
    unit: str,
) -> Entry:
    bits, worth = model.demand.weight_bits, model.demand.worth
    given = model.demand.batch * worth.get(unit, 1)
    times = {
        _read(work, line, bits): line.traffic(work, bits),
        f"{work.flops:.3g} FLOP of arithmetic": line.arithmetic(work),
        _started(work, line): line.launches(work),
    }
    listed = "; ".join(f"{words} = {each:.3g} s" for words, each in times.items() if each)
    low, high = (given / each for each in reversed(line.between(work, bits)))
    computed = given / line.seconds(work, bits)
    formula = f"{after}{_where(model, line)}: {listed}; {line.together}"
    formula += f", so {given:,g} / {line.seconds(work, bits):.3g} s = {_three(computed)} {unit}"
    for other in sorted(worth.keys() - {unit}):
        formula += f", which is {_three(computed * worth[other] / worth.get(unit, 1))} {other}"
    shares = f"{line.arithmetic_share.source}; {_source(line, bits)}"
    ends, cites = (low, high), line.cites(bits)
    return entry(name, computed, unit, formula, shares, required, None, ends, cites)


def _three(rate: float) -> str:
    return f"{float(f'{rate:.3g}'):,g}"


def _read(work: Cost, line: Roofline, bits: int) -> str:
    peak = line.device.number * line.device.bandwidth
    return f"{work.bytes:.4g} bytes / ({line.shares[bits].value:.2g} x {peak:.4g} bytes/s)"


def _started(work: Cost, line: Roofline) -> str:
    calls = f"{work.calls:,} x " if work.calls > 1 else ""
    return f"{calls}{line.operations:,} operations started"


def _source(line: Roofline, bits: int) -> str:
    return f"{line.shares[bits].source}; {line.launch_source}; {row(line.device)}"


RECIPES = (
    Recipe(
        "blueprint:constraints",
        work,
        (*INPUTS, PLAN, FORECAST),
        (TARGET,),
        "a verdict for every constraint",
    ),
)
