"""All that a search must meet: the size, the limits and the pins of a spec."""

from __future__ import annotations

import math
from collections.abc import Iterator

from metagen.amounts import parse_amount
from metagen.errors import Problem, SpecError
from metagen.families import configs
from metagen.families.demand import Demand, Limit, Need, Use
from metagen.families.family import Dims, Family, Lookup, Value
from metagen.sizing import devices, shares
from metagen.sizing.devices import Device, Roofline
from metagen.units import (
    INFINITE,
    Rate,
    format_bytes,
    nearest,
    parse_duration,
    parse_hardware,
    parse_latency,
    parse_rate,
    rate_unit,
)
from metagen.work import Desk

MEMORY, DEVICE, THROUGHPUT, LATENCY = "memory_budget", "device_memory", "throughput", "latency"
MEMORIES = (MEMORY, DEVICE)

FILL = 0.99  # a design that uses less of its budget ranks below all that use this share
# The size of a spec that declares neither a budget nor a memory: about the smallest GPT-2.
DEFAULT_BUDGET = 125_000_000
WEIGHT_SHARE = 0.5  # Weights get half of the memory where only the memory decides the size.
WEIGHT_BYTES = 2  # Parameters are trained in bf16.
MOST = 2 * 10**12  # parameters; no larger budget is tried, whatever the memory
# Largest values of a pinned dimension: published vocabularies reach 901,629 (XLM-V,
# arXiv:2301.10472), depths 1,000 layers (DeepNet, arXiv:2203.00555).
MOST_WIDTH, MOST_DEPTH, MOST_CONTEXT = 2**20, 2**10, 2**30
MOST_LEVELS = 17  # Levels halve an image, whose side has at most 2**16 pixels.
MOST_REAL = 1e12
_DEPTHS = ("layers", "depth", "level")  # Words in the names of dimensions that repeat a layer.

# Seconds until the first output for each class of `constraints.latency`; None sets no limit.
# 0.1 s feels instantaneous and 1 s keeps a train of thought (Miller, 1968; Nielsen, Usability
# Engineering, 1993, section 5.5).
LATENCY_CLASSES = {"real-time": 0.1, "near-real-time": 1.0, "batch": None, "offline": None}


def needs(desk: Desk, family: Family) -> tuple[Need, ...]:
    """Return what to search for, largest size first; the first whose design fits is taken.

    Raises:
        SpecError: A pinned dimension is unknown, of the wrong type or contradicts another key.
    """
    desk.source(family.template)  # The fields of its Config are the family's dimensions.
    bounds = limits(desk, family, devices.target(desk))
    budgets, reason = _budgets(desk, family, bounds)
    window = context(desk.key, family)
    least = desk.key("constraints.parameter_budget.min") or 0
    fixed, checked = family.fixed(desk.key), pins(desk.key, family)
    return tuple(
        Need(
            budget=budget,
            floor=min(budget, max(least, math.ceil(FILL * budget))),
            limits=bounds,
            context=window,
            pins=checked,
            fixed=fixed,
            reason=reason,
            use=use(desk.key),
        )
        for budget in budgets
    )


def _budgets(desk: Desk, family: Family, bounds: tuple[Limit, ...]) -> tuple[list[int], str]:
    """Return the parameter counts to try, largest first, and where they come from."""
    most = desk.key("constraints.parameter_budget.max")
    least = desk.key("constraints.parameter_budget.min")
    memory = min((b for b in bounds if b.constraint in MEMORIES), default=None, key=_allowed)
    if most:
        return [most], f"parameter_budget.max, {most:,}"
    if least:
        return [math.ceil(least / FILL)], f"parameter_budget.min, {least:,}; no maximum is declared"
    if memory:
        first = min(MOST, int(memory.allowed * WEIGHT_SHARE / WEIGHT_BYTES))
        reason = f"no parameter_budget is declared; weights in bf16 take at most {WEIGHT_SHARE:.0%}"
        sizes = [max(1, first // 2**step) for step in range(4)]
        return sizes, f"{reason} of {format_bytes(int(memory.allowed), 4)} of memory"
    silent = "no parameter_budget, memory_budget or device is declared"
    if optimal := _optimal(desk, family):
        size, reason = optimal
        return [max(1, min(MOST, round(size)))], f"{silent}; {reason}"
    run = ("training.data.size", "training.compute.duration")
    if not family.optimal_units and any(desk.key(name) for name in run):
        silent += f"; no compute-optimal size is published for {family.name}"
    return [DEFAULT_BUDGET], f"{silent}; the default is {DEFAULT_BUDGET:,}"


def _optimal(desk: Desk, family: Family) -> tuple[float, str] | None:
    """Return the compute-optimal count of the declared training, with its arithmetic.

    Hoffmann et al., 2022, arXiv:2203.15556: D = 20 N units of data for N parameters; Kaplan et al.,
    2020, arXiv:2001.08361, section 2.1: C = 6 N D operations. Of compute and data, the scarcer one
    decides. None where the family has no such rule, or nothing of it is declared.
    """
    if not family.optimal_units:
        return None
    per, source = family.optimal_units
    data, compute = _data(desk, family), _compute(desk, family)
    if compute and data and 6 * per * (data / per) ** 2 > compute[0]:
        size = compute[0] / (6 * data)
        return size, f"{compute[1]}, C = 6ND of {data:.3g} {_units(family)}: {size:.3g} parameters"
    if data:
        size, words = data / per, f"{data:.3g} {_units(family)}"
        return size, f"compute-optimal for {words}, D = {per:g} N: {size:.3g} parameters ({source})"
    if compute:
        size = math.sqrt(compute[0] / (6 * per))
        rule = f"C = 6ND and D = {per:g} N: {size:.3g} parameters, {per * size:.3g}"
        return size, f"compute-optimal for {compute[1]}, {rule} {_units(family)} ({source})"
    return None


def _units(family: Family) -> str:
    return family.task.training_unit


def _data(desk: Desk, family: Family) -> float | None:
    """Return the declared training data in the family's units."""
    declared = desk.key("training.data.size")
    amount, thing = parse_amount(declared) if declared else (0.0, "")
    return amount if amount and thing in family.task.units else None


def _compute(desk: Desk, family: Family) -> tuple[float, str] | None:
    """Return the operations of the declared hardware and duration, in words too.

    The share of the peak is the lowest of the published ones, so that the run ends in time.
    """
    hardware, duration = (desk.key(f"training.compute.{n}") for n in ("hardware", "duration"))
    if not (hardware and duration):
        return None
    number, name = parse_hardware(hardware)
    device = devices.by_prefix(desk, name)
    if device is None or not device.flops:
        return None
    share = shares.of_training(desk, family, device).low
    operations = number * device.flops * share * parse_duration(duration)
    words = f"{hardware} for {duration} at {share:.0%} of {device.flops:.4g} FLOP/s"
    return operations, f"{words} = {operations:.3g} FLOP"


def _allowed(limit: Limit) -> float:
    return limit.allowed


def limits(desk: Desk, family: Family, device: Device | None) -> tuple[Limit, ...]:
    """Return the limits that a spec declares for a device, in the order of its constraints."""
    # A rate in the wrong unit is refused whether or not a device turns it into a limit.
    device = devices.shared(device, family) if device else None
    rate, bounds = throughput(desk.key, family), [*_memory(desk, device)]
    if device:
        line = devices.roofline(desk, device, family)
        bounds += [*_throughput(desk, rate, line, family.words.unit), *_latency(desk, line)]
    return tuple(bounds)


def _memory(desk: Desk, device: Device | None) -> Iterator[Limit]:
    budget = desk.key("constraints.memory_budget")
    if budget:
        source = f"memory_budget allows {format_bytes(budget, 4)}"
        yield Limit(MEMORY, budget, lambda demand: demand.memory, memory_text, source, int)
    usable = device and device.usable_memory
    if device and usable:
        share = f"{device.usable:.0%} of the memory of {device.name}"
        source = f"{format_bytes(usable, 4)} are usable, {share}"
        yield Limit(DEVICE, usable, lambda demand: demand.memory, memory_text, source, int)


def memory_text(demand: Demand) -> str:
    """Return the memory of a demand with its parts, such as `20.1 GB (weights 16.1 GB + ...)`."""
    sizes = demand.parts.items()
    listed = " + ".join(f"{name} {format_bytes(size)}" for name, size in sizes if size)
    return f"{format_bytes(demand.memory, 4)} ({listed})"


def _throughput(desk: Desk, rate: Rate | None, line: Roofline, output: str) -> Iterator[Limit]:
    """Yield the limit of a declared rate; `output` is what one piece of work gives."""
    if rate:

        def used(demand: Demand) -> float:
            return line.interval(demand) / demand.worth.get(rate.unit, 1)

        def text(demand: Demand) -> str:
            thing = output if rate.unit in demand.worth else rate.unit.removesuffix("/s")
            bottleneck = _bottleneck(demand, line)
            each = f"{thing} of {demand.batch} requests" if demand.batch > 1 else thing
            seconds = line.interval(demand) * demand.batch
            return f"{bottleneck} for each {each} take {seconds:.3g} s on {line.device.name}"

        yield Limit(
            THROUGHPUT,
            1 / rate.value,
            used,
            text,
            f"a throughput of {desk.key('constraints.throughput')} is required",
            lambda seconds: 1 / seconds,
        )


def use(key: Lookup) -> Use:
    """Return how a spec uses the model."""
    return Use(key("constraints.batch") or 1, key("constraints.prompt_length"))


def context(key: Lookup, family: Family) -> int | str | None:
    """Return the declared window; None for a family without one, of which the commands warn."""
    window: int | str | None = key("constraints.context_window") if family.windowed else None
    return window


def throughput(key: Lookup, family: Family) -> Rate | None:
    """Return the declared throughput, None where none is declared.

    Raises:
        SpecError: It counts something that the family does not produce.
    """
    declared = key("constraints.throughput")
    if not declared:
        return None
    rate, unit = parse_rate(declared), rate_unit(family.task.work_unit)
    counted = (unit, *family.task.rates)
    if rate.unit not in counted:
        listed = " or ".join(counted)
        sentence = f"{declared} is not a throughput of {family.name}, which is counted in {listed}"
        hint = f"write {rate.value:g} {unit}, if that is what you mean, or leave the key out"
        raise SpecError([Problem(sentence, "constraints.throughput", hint)])
    return rate


def _bottleneck(demand: Demand, line: Roofline) -> str:
    """Return what limits the rate of outputs: the arithmetic, or the bytes to read."""
    if line.arithmetic(demand.steady) > line.traffic(demand.steady, demand.weight_bits):
        return f"{demand.steady.flops:.4g} operations"
    return f"{format_bytes(round(demand.steady.bytes))} to read"


def latency(declared: str | None) -> float | None:
    """Return the seconds that a declared latency allows, None where it sets no limit."""
    value = parse_latency(declared) if declared else None
    return LATENCY_CLASSES[value] if isinstance(value, str) else value


def _latency(desk: Desk, line: Roofline) -> Iterator[Limit]:
    declared = desk.key("constraints.latency")
    allowed = latency(declared)
    if allowed and line.device.flops:

        def used(demand: Demand) -> float:
            return line.seconds(demand.first, demand.weight_bits)

        def text(demand: Demand) -> str:
            work = (
                f"{demand.first.flops:.3g} operations and {format_bytes(int(demand.first.bytes))}"
            )
            return f"{work} before the first output take {used(demand):.3g} s on {line.device.name}"

        source = f"latency {declared} allows {allowed:g} s"
        yield Limit(LATENCY, allowed, used, text, source)


def pins(key: Lookup, family: Family) -> dict[str, Value]:
    """Check the fixed dimensions and return them with the types of the model's `Config`.

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
            "remove one of the two",
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
    """Return a problem where the context window is pinned to other than the declared one."""
    name = family.context_dim
    if name is None or declared in (None, INFINITE) or checked.get(name, declared) == declared:
        return []
    sentence = f"{name}: {checked[name]:,} contradicts constraints.context_window: {declared:,}"
    hint = "remove one of the two, or make them equal"
    return [Problem(sentence, f"architecture.dims.{name}", hint)]


def _contradiction(names: tuple[str, ...], pinned: Dims) -> str:
    listed = " and ".join(f"{name}: {pinned[name]}" for name in names)
    return f"{listed} contradict each other" if len(names) > 1 else f"{listed} cannot be built"


def _wrong(name: str, value: object, family: Family) -> Problem | None:
    place = f"architecture.dims.{name}"
    known = {**family.dims, **family.formats}
    if name not in known:
        near = " or ".join(configs.ours(name, known)) or nearest(name, known)
        asked = f"did you mean {near}? " if near else ""
        hint = f"{asked}dimensions: {', '.join(known)}"
        return Problem(f"{family.name} has no dimension {name}", place, hint)
    kind = known[name]
    if kind is bool:
        good, allowed = isinstance(value, bool), "true or false"
    else:
        largest = _largest(name, family)
        number = isinstance(value, int | float) and not isinstance(value, bool)
        zero = name in family.zeros
        above = number and (value > 0 or (zero and value == 0))  # type: ignore[operator]
        good = above and value <= largest and (kind is float or value == int(value))  # type: ignore
        whole = "a whole number" if kind is int else "a number"
        allowed = f"{whole} of 0 or more" if zero else f"{whole} above 0"
        allowed = f"{allowed}, at most {largest:,.0f}"
    return None if good else Problem(f"{value!r} is not allowed: give {allowed}", place)


def _largest(name: str, family: Family) -> float:
    """Return the largest value that a dimension may be pinned to."""
    if {**family.dims, **family.formats}[name] is float:
        return MOST_REAL
    if name in (family.context_dim, "n_levels"):
        return MOST_LEVELS if name == "n_levels" else MOST_CONTEXT
    return MOST_DEPTH if any(word in name for word in _DEPTHS) else MOST_WIDTH
