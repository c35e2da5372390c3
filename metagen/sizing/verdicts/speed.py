"""Latency and throughput: a roofline of the declared device, at batch 1."""

from __future__ import annotations

from metagen.families.family import Work
from metagen.sizing import limits
from metagen.sizing.limits import LATENCY, THROUGHPUT
from metagen.sizing.roofline import Roofline
from metagen.sizing.verdicts.entry import Asked, Entry, entry, unknown
from metagen.sizing.verdicts.measured import Measured
from metagen.sizing.verdicts.memory import row
from metagen.units import rate_unit
from metagen.work import Desk

FULL = "throughput_at_full_context"
NO_DEVICE = "no device is declared"


def verdicts(desk: Desk, model: Measured, line: Roofline | None) -> list[Entry]:
    """Return the entries on the time to the first output and the rate of those after it."""
    return [_latency(desk, model, line), *_throughput(desk, model, line)]


def _latency(desk: Desk, model: Measured, line: Roofline | None) -> Entry:
    declared = desk.key("constraints.latency")
    if line is None or line.device.flops is None:
        reason = f"no speed of {line.device.name} is known" if line else NO_DEVICE
        return unknown(LATENCY, declared, "s", reason)
    load, limit = model.load, limits.latency(declared)
    arithmetic, traffic = line.arithmetic(load.first), line.traffic(load.first, load.weight_bits)
    peak = line.device.number * line.device.flops
    read = f"{_read(load.first, line, load.weight_bits)} = {traffic:.3g} s"
    formula = (
        f"first output {_input(model)}: the larger of {load.first.flops:.4g} FLOP / "
        f"({line.compute_use:g} x {peak:.4g} FLOP/s) = {arithmetic:.3g} s and {read}"
        + (f"; {declared} allows {limit:g} s" if limit else "")
    )
    source = f"blueprint/flops.json; {line.compute_source}{_source(line, load.weight_bits)}"
    computed = max(arithmetic, traffic)
    return entry(LATENCY, computed, "s", formula, source, Asked(declared, limit))


def _throughput(desk: Desk, model: Measured, line: Roofline | None) -> list[Entry]:
    declared = desk.key("constraints.throughput")
    unit = rate_unit(model.family.work_unit)
    rate = limits.rate(desk.key, model.family)
    if line is None:
        return [unknown(THROUGHPUT, declared, unit, NO_DEVICE)]
    asked = Asked(declared, rate.value if rate else None, at_least=True)
    load = model.load
    entries = [_speed(THROUGHPUT, load.steady, model, line, _input(model), asked)]
    if load.last:
        after = f"after {model.tokens:,} tokens"
        entries.append(_speed(FULL, load.last, model, line, after, Asked()))
    return entries


def _input(model: Measured) -> str:
    """Return what is read, and how often the model runs, before an output."""
    length = model.family.input_length(model.everything)
    unit = model.family.words.unit + ("" if length == 1 else "s")
    runs = model.load.passes
    return f"after {length:,} {unit} of input" + (f", {runs} passes" if runs > 1 else "")


def _speed(
    name: str, work: Work, model: Measured, line: Roofline, after: str, asked: Asked
) -> Entry:
    bits = model.load.weight_bits
    computed, unit = 1 / line.seconds(work, bits), rate_unit(model.family.work_unit)
    limited = "memory" if line.traffic(work, bits) >= line.arithmetic(work) else "arithmetic"
    formula = f"{after}, 1 / ({_read(work, line, bits)}) = {1 / line.traffic(work, bits):,.4g}"
    if limited == "arithmetic":
        formula += f"; arithmetic allows {1 / line.arithmetic(work):,.4g}"
    return entry(name, computed, unit, f"{formula} {unit}", _source(line, bits), asked)


def _read(work: Work, line: Roofline, bits: int) -> str:
    peak = line.device.number * line.device.bandwidth
    return f"{work.bytes:,.0f} bytes / ({line.shares[bits].value:.3f} x {peak:,.0f} bytes/s)"


def _source(line: Roofline, bits: int) -> str:
    return f"{line.shares[bits].source}; {row(line.device)}"
