"""The training run that the package is set to: operations, days, memory, energy and CO2.

The run is that of `code/launch/plan.json`: the updates of `code/train.py`, on the devices that
share them, in the mode that the launch scripts start. Its operations are those of
`blueprint/flops.json` with what the mode computes again, and its speed is a share of the devices'
peak, which is a range.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from metagen.package.launch import PASSING, PLAN, STATES
from metagen.sizing import devices, shares
from metagen.sizing.devices import Device
from metagen.sizing.measured import (
    COUNTED,
    NO_LIMIT,
    Entry,
    Measured,
    Range,
    Requirement,
    entry,
    row,
    unknown,
)
from metagen.sizing.shares import Share
from metagen.units import parse_duration, parse_hardware, parse_intensity, spell_count
from metagen.work import Desk

COMPUTE, TIME, MEMORY = "training_compute", "training_time", "training_memory"
DATA, ENERGY, CARBON = "data_per_parameter", "training_energy", "training_co2"
DAY, HOUR = 86400, 3600
DIGITS = 3  # significant digits of an estimate
HARDWARE, DURATION = "training.compute.hardware", "training.compute.duration"

ENERGY_SOURCE = (
    "devices x power x hours x PUE: Patterson et al., 2021, arXiv:2104.10350, section 2.5"
)
# Entries of the bibliography for the energy, its overhead and its CO2.
CITES = ("carbonfootprint", "uptime", "ember")
PUE = 1.58
PUE_SOURCE = (
    "PUE 1.58, industry average of 2023: Uptime Institute, intelligence update 221, November 2023"
)
INTENSITY = "training.compute.carbon_intensity"
CARBON_INTENSITY = 0.480  # kg of CO2 equivalent a kWh
CARBON_SOURCE = "0.480 kg/kWh, world average of 2023: Ember, Global Electricity Review 2024"


@dataclass(frozen=True)
class _Run:
    """The run of code/launch/plan.json on known devices.

    Attributes:
        model: The measured model.
        plan: The plan.
        device: The devices that the plan uses, with their number.
        share: The share of their peak that training reaches.
        seconds: The declared duration, None if none is.
        most: Devices that can share an update, at most.
    """

    model: Measured
    plan: dict[str, Any]
    device: Device
    share: Share
    seconds: float | None
    most: int

    @cached_property
    def mode(self) -> dict[str, Any]:
        """The mode that the launch scripts start."""
        chosen: dict[str, Any] = self.plan["modes"][self.plan["chosen"]]
        return chosen

    @cached_property
    def needed(self) -> float:
        """Operations of the run."""
        return float(self.model.training_flops * self.plan["units"] * self.mode["operations"])

    def speed(self, share: float) -> float:
        """Return the operations a second of all devices."""
        return self.device.number * (self.device.flops or 0) * share

    def time(self, share: float) -> float:
        """Return the seconds that the run takes."""
        return self.needed / self.speed(share)

    def between(self, factor: float) -> Range | None:
        """Return the range of a figure that is proportional to the time; None if it has none."""
        low, high = (factor * self.time(share) for share in (self.share.high, self.share.low))
        return (low, high) if low < high else None

    @property
    def cites(self) -> tuple[str, ...]:
        """The bibliography's entries of the sources."""
        return (*self.share.cites, self.device.cite)

    @property
    def source(self) -> str:
        return f"{PLAN}; blueprint/flops.json; {self.share.source}; {row(self.device)}"


def verdicts(desk: Desk, model: Measured) -> list[Entry]:
    """Return the entries on training; the formula of an unknown figure says what is missing."""
    plan = desk.entry(PLAN)
    run, duration = _run(desk, model, plan), desk.key(DURATION)
    if isinstance(run, str):
        return [
            unknown(COMPUTE, None, "FLOP", run),
            unknown(TIME, duration, "days", run),
            unknown(MEMORY, None, "bytes", run),
            _data(desk, model, plan),
            *_powerless(run),
        ]
    return [
        _compute(run),
        _time(desk, run),
        _memory(desk, run),
        _data(desk, model, plan),
        *_energy(run, *carbon_of_a_kwh(desk.key(INTENSITY))),
    ]


def _run(desk: Desk, model: Measured, plan: dict[str, Any]) -> _Run | str:
    """Return the run, or why it cannot be judged."""
    hardware, duration = desk.key(HARDWARE), desk.key(DURATION)
    if hardware is None:
        return f"{HARDWARE} is not declared"
    known = devices.table(desk).get(plan["device"])
    if known is None or not known.flops:
        return f"no speed of {parse_hardware(hardware)[1]} is known"
    device = replace(known, number=plan["devices"])
    habits = model.family.task.habits(model.everything, model.parameters, desk.key)
    grows = desk.key("training.config.batch_size") is None
    return _Run(
        model=model,
        plan=plan,
        device=device,
        share=shares.of_training(desk, model.family, device),
        seconds=parse_duration(duration) if duration else None,
        most=max(plan["batch_size"], habits.most if grows else 0),
    )


def _estimate(figure: float) -> float:
    """Return an estimate with as many digits as it supports."""
    return float(f"{figure:.{DIGITS}g}")


def _rounded(judged: Entry) -> Entry:
    """Return an entry that was judged by its exact figures, with those of an estimate."""
    names = ("computed", "low", "high")
    return judged | {n: judged[n] if judged[n] is None else _estimate(judged[n]) for n in names}


def _needed_words(run: _Run) -> str:
    plan, model = run.plan, run.model
    steps = f"{plan['steps']:,} updates x {plan['batch_size']:,} samples"
    if plan["units_per_sample"] > 1:
        steps += f" x {plan['units_per_sample']:,} {plan['unit']}"
    again = ""
    if run.mode["operations"] > 1:
        again = f" x {run.mode['operations']:.3g} ({run.mode['grad_checkpoint']} recomputation)"
    return f"{model.training_flops:,.0f} FLOP x {steps}{again} = {run.needed:.4g} FLOP"


def _speed_words(run: _Run) -> str:
    return f"{run.device.number:,} x {run.device.flops:.4g} FLOP/s x {run.share.words}"


def _idle_words(run: _Run) -> str:
    """Return how many declared devices have no part of an update, in words; "" if none."""
    plan = run.plan
    if not plan["idle"]:
        return ""
    samples = f"an update has {plan['batch_size']:,} samples"
    return f"; {plan['idle']:,} of {plan['declared']:,} declared devices are idle: {samples}"


def _compute(run: _Run) -> Entry:
    """Return the entry on operations, which the same range decides as that on time."""
    if run.seconds is None:
        words = f"needed {_needed_words(run)}; {DURATION} is not declared"
        return entry(COMPUTE, run.needed, "FLOP", words, run.source, cites=run.cites)
    share, seconds = run.share, run.seconds
    low, middle, high = (run.speed(s) * seconds for s in (share.low, share.middle, share.high))
    between = f" ({low:.3g} to {high:.3g})" if low < high else ""
    formula = (
        f"needed {_needed_words(run)}; delivered {_speed_words(run)} x {seconds:,.0f} s = "
        f"{middle:.3g}{between} FLOP{_idle_words(run)}"
    )
    delivered = Requirement(_estimate(middle), middle, "delivered")
    # The uncertainty is that of what is delivered; the figure itself is counted.
    ends = (run.needed * middle / high, run.needed * middle / low)
    judged = entry(COMPUTE, run.needed, "FLOP", formula, run.source, delivered, _nearest(run), ends)
    return judged | {"low": None, "high": None}


def _time(desk: Desk, run: _Run) -> Entry:
    days, between = run.time(run.share.middle) / DAY, run.between(1 / DAY)
    ends = f" ({between[0]:,.3g} to {between[1]:,.3g})" if between else ""
    formula = (
        f"{_needed_words(run)} / ({_speed_words(run)}) / {DAY:,} s = {days:,.3g}{ends} days"
        f"{_idle_words(run)}"
    )
    allowed = Requirement(desk.key(DURATION), run.seconds and run.seconds / DAY)
    nearest, cites = _nearest(run), run.cites
    judged = entry(TIME, days, "days", formula, run.source, allowed, nearest, between, cites)
    return _rounded(judged)


def _nearest(run: _Run) -> str | None:
    """Return what would meet the declared time at the lowest share, each change alone."""
    if not run.seconds:
        return None
    factor = run.time(run.share.low) / run.seconds
    changes = [f"{DURATION} {math.ceil(run.seconds * factor / DAY)} days"]
    number = run.device.number * 2 ** math.ceil(math.log2(max(1, factor)))
    if number <= run.most:
        changes.append(f"{HARDWARE} {number}x{run.device.model}")
    if run.plan["passes"] and run.plan["passes_are"] != "at least":
        once = run.plan["units"] / run.plan["passes"] / factor
        changes.append(f"training.data.size {spell_count(once, up=False)} {run.plan['unit']}")
    return ", or ".join(changes)


def _memory(desk: Desk, run: _Run) -> Entry:
    """Return the entry on the memory of one device, in the mode of the launch scripts."""
    mode, plan = run.mode, run.plan
    listed = " + ".join(f"{name} {mode[name]:,}" for name in (*STATES, *PASSING) if mode[name])
    again = {"none": "no"}.get(mode["grad_checkpoint"], mode["grad_checkpoint"])
    number, samples = plan["devices"], plan["samples_at_once"]
    formula = (
        f"on {'each of ' if number > 1 else ''}{number:,} device{'s' if number > 1 else ''}, "
        f"--parallel {mode['parallel']}, {again} recomputation, "
        f"{samples:,} sample{'s' if samples > 1 else ''} at once: {listed} = "
        f"{mode['total']:,} bytes; at most {mode['most']:,} with what is not counted"
    )
    usable = plan["usable_memory"]
    available = Requirement(usable, usable, "available")
    between = (mode["total"], mode["most"])
    source = f"{PLAN}, counted on code/train.py; {row(run.device)}"
    nearest = _larger(desk, run)
    cites = (run.device.cite, "torchtitan")
    return entry(
        MEMORY, mode["total"], "bytes", formula, source, available, nearest, between, cites
    )


def _larger(desk: Desk, run: _Run) -> str | None:
    """Return hardware that would hold the run: more of the same devices, or larger ones."""
    whole, sharded = run.plan["modes"][-2:]  # Both recompute everything.
    passing = sharded["most"] - sum(sharded[name] for name in STATES)
    states = sum(whole[name] for name in STATES)
    usable = replace(run.device, number=1).usable_memory or 0
    changes = []
    if usable > passing:
        number = 2 ** math.ceil(math.log2(max(1.0, states / (usable - passing))))
        if run.device.number < number <= run.most:
            changes.append(f"{HARDWARE} {number}x{run.device.model}")
    number = run.device.number
    sizes = {n: d.usable_memory for n, d in devices.table(desk).items() if d.usable_memory}
    holding = [n for n, size in sizes.items() if size >= states / number + passing]
    if holding:
        changes.append(f"{HARDWARE} {number}x{min(holding, key=lambda n: sizes[n])}")
    return ", or ".join(changes) or None


def _data(desk: Desk, model: Measured, plan: dict[str, Any]) -> Entry:
    """Return the entry on the data of one pass for each parameter, beside that of all passes."""
    unit, seen = f"{plan['unit']} per parameter", plan["units"]
    passes = _passes(desk, model, plan)
    if passes is None:
        reason = f"train.py reads {seen:.4g} {plan['unit']}; the spec does not count them"
        return unknown(DATA, None, unit, reason, None)
    words = plan["passes_are"] or "about"
    ratio, most = seen / passes / model.parameters, "at most " if words == "at least" else ""
    formula = f"{most}{seen / passes:.4g} / {model.parameters:,} = {ratio:,.3g}"
    if round(passes) > 1:
        formula += f"; {seen / model.parameters:,.3g} in {words} {passes:,.3g} passes"
    source = f"{COUNTED}; {PLAN}"
    if optimal := model.family.optimal_units:
        formula += f"; compute-optimal is about {optimal[0]:g}, and more buys a better small model"
        source += f"; {optimal[1]}"
    return entry(DATA, ratio, unit, formula, source, NO_LIMIT)


def _passes(desk: Desk, model: Measured, plan: dict[str, Any]) -> float | None:
    """Return how often the run reads its data; None where no one counts it in the task's units."""
    if desk.key("training.data.size"):
        return plan["passes"] and float(plan["passes"])
    task = model.family.task
    schedule = task.schedule(model.everything, model.parameters, desk.key, reduced=False)
    return schedule.epochs if schedule.data else None


def carbon_of_a_kwh(declared: str | None) -> tuple[float, str, tuple[str, ...]]:
    """Return the kilograms of CO2 equivalent, their source and the bibliography's entries.

    They are those that the spec declares, and else the world's average.
    """
    if declared is None:
        return CARBON_INTENSITY, CARBON_SOURCE, CITES[2:]
    return parse_intensity(declared) / 1000, f"{declared}: {INTENSITY} of the spec", ()


def _energy(
    run: _Run, intensity: float, intensity_source: str, origin: tuple[str, ...]
) -> Iterator[Entry]:
    """Yield the estimates of energy and CO2 for the time that the run needs."""
    device = run.device
    if device.power is None:
        yield from _powerless(f"no power of {device.model} is known")
        return
    rate = device.number * device.power * PUE / 1000 / HOUR  # kWh a second
    hours, energy = run.time(run.share.middle) / HOUR, rate * run.time(run.share.middle)
    formula = (
        f"{device.number:,} x {device.power:g} W x {_estimate(hours):,g} h x {PUE:g} = "
        f"{_figure(energy)} kWh, an estimate at full power for the time that training needs"
    )
    sources = f"{ENERGY_SOURCE}; {PUE_SOURCE}; power of {row(device)}"
    between = run.between(rate)
    cites = (*CITES[:2], device.cite)
    spent = entry(ENERGY, energy, "kWh", formula, sources, NO_LIMIT, None, between, cites)
    yield _rounded(spent)
    carbon, ends = intensity * energy, run.between(intensity * rate)
    words = f"{_figure(energy)} kWh x {intensity:g} kg/kWh = {_figure(carbon)} kg, an estimate"
    made = entry(CARBON, carbon, "kg CO2e", words, intensity_source, NO_LIMIT, None, ends, origin)
    yield _rounded(made)


def _powerless(reason: str) -> Iterator[Entry]:
    for name, unit in ((ENERGY, "kWh"), (CARBON, "kg CO2e")):
        yield unknown(name, None, unit, reason, None)


def _figure(number: float) -> str:
    """Return an estimate as text, without an exponent."""
    rounded = _estimate(number)
    return f"{rounded:,.0f}" if rounded >= 100 else f"{rounded:g}"
