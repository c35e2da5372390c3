"""The bounds that the constraints of a spec set on the search: memory, throughput, latency."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

from metagen.errors import Problem, SpecError
from metagen.families.family import Family, Key, Limit, Load
from metagen.sizing import roofline
from metagen.sizing.devices import Device
from metagen.sizing.roofline import Roofline
from metagen.units import Rate, format_bytes, parse_latency, parse_rate, plain, rate_unit
from metagen.work import Desk

MEMORY, DEVICE, THROUGHPUT, LATENCY = "memory_budget", "device_memory", "throughput", "latency"
MEMORIES = (MEMORY, DEVICE)

# Seconds until the first output for each class of `constraints.latency`; None sets no limit.
# 0.1 s feels instantaneous and 1 s keeps a train of thought (Miller, 1968; Nielsen, Usability
# Engineering, 1993, section 5.5).
LATENCY_CLASSES = {"real-time": 0.1, "near-real-time": 1.0, "batch": None, "offline": None}


def of(desk: Desk, family: Family, device: Device | None) -> tuple[Limit, ...]:
    """Return the limits that a spec declares for a device, in the order of its constraints."""
    declared = rate(desk.key, family)
    found = [*_memory(desk, device)]
    if device:
        line = roofline.of(desk, device)
        found += [*_throughput(desk, family, declared, line), *_latency(desk, line)]
    return tuple(found)


def rate(key: Key, family: Family) -> Rate | None:
    """Return the declared throughput, which counts what the family gives out.

    Raises:
        SpecError: It counts another thing.
    """
    declared = key("constraints.throughput")
    if not declared:
        return None
    found, unit = parse_rate(declared), rate_unit(family.work_unit)
    if found.unit != unit:
        sentence = f"throughput is {declared}, and this model counts {unit}"
        hint = f"write {plain(Decimal(repr(found.value)))} {unit}, if that is what is meant"
        raise SpecError([Problem(sentence, "constraints.throughput", hint)])
    return found


def _memory(desk: Desk, device: Device | None) -> Iterator[Limit]:
    budget = desk.key("constraints.memory_budget")
    if budget:
        source = f"{format_bytes(budget, 4)} are allowed by memory_budget"
        yield Limit(MEMORY, budget, lambda load: load.memory, memory_said, source, int)
    usable = device and device.usable_memory
    if device and usable:
        share = f"{device.usable:.0%} of the memory of {device.name}"
        source = f"{format_bytes(usable, 4)} are usable, {share}"
        yield Limit(DEVICE, usable, lambda load: load.memory, memory_said, source, int)


def memory_said(load: Load) -> str:
    """Return the memory of a load with its parts."""
    parts = {"weights": load.weights, "cache": load.cache, "activations": load.activations}
    listed = " + ".join(f"{name} {format_bytes(size)}" for name, size in parts.items() if size)
    return f"{format_bytes(load.memory, 4)} ({listed})"


def _throughput(
    desk: Desk, family: Family, declared: Rate | None, line: Roofline
) -> Iterator[Limit]:
    if declared:

        def said(load: Load) -> str:
            speed = 1 / line.seconds(load.steady, load.weight_bits)
            asked = _asked(load, line)
            unit = family.work_unit
            return f"{asked} for each {unit}, so {speed:,.1f} {unit}/s on {line.device.name}"

        yield Limit(
            THROUGHPUT,
            1 / declared.value,
            lambda load: line.seconds(load.steady, load.weight_bits),
            said,
            f"throughput of {desk.key('constraints.throughput')} is asked for",
            lambda seconds: 1 / seconds,
        )


def _asked(load: Load, line: Roofline) -> str:
    """Return what bounds an output after the first, in words: arithmetic or what is read."""
    if line.arithmetic(load.steady) > line.traffic(load.steady, load.weight_bits):
        return f"{load.steady.flops:.4g} operations"
    return f"{format_bytes(round(load.steady.bytes))} to read"


def latency(declared: str | None) -> float | None:
    """Return the seconds that a declared latency allows, None where it sets no limit."""
    value = parse_latency(declared) if declared else None
    return LATENCY_CLASSES[value] if isinstance(value, str) else value


def _latency(desk: Desk, line: Roofline) -> Iterator[Limit]:
    declared = desk.key("constraints.latency")
    allowed = latency(declared)
    if allowed and line.device.flops:

        def used(load: Load) -> float:
            return line.seconds(load.first, load.weight_bits)

        def said(load: Load) -> str:
            return f"{used(load):.3g} s to the first output on {line.device.name}"

        source = f"latency {declared} allows {allowed:g} s"
        yield Limit(LATENCY, allowed, used, said, source)
