"""The declared training run: operations, days, tokens per parameter, energy and CO2."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

from metagen.sizing import devices
from metagen.sizing.devices import COMPUTE_SOURCE, COMPUTE_USE, Device
from metagen.sizing.measured import (
    COUNTED,
    NO_LIMIT,
    Entry,
    Measured,
    Requirement,
    entry,
    row,
    unknown,
)
from metagen.units import parse_amount, parse_duration, parse_hardware, same_things, spell_count
from metagen.work import Desk

COMPUTE, TIME, DATA = "training_compute", "training_time", "data_per_parameter"
ENERGY, CARBON = "training_energy", "training_co2"
DAY, HOUR = 86400, 3600

ENERGY_SOURCE = (
    "devices x power x hours x PUE: Patterson et al., 2021, arXiv:2104.10350, section 2.5"
)
PUE = 1.58
PUE_SOURCE = (
    "PUE 1.58, industry average of 2023: Uptime Institute, "
    "journal.uptimeinstitute.com/large-data-centers-are-mostly-more-efficient-analysis-confirms"
)
CARBON_INTENSITY = 0.481  # kg of CO2 equivalent a kWh
CARBON_SOURCE = (
    "0.481 kg/kWh, world average of 2023: Ember by Statista, statista.com/statistics/943137"
)


@dataclass(frozen=True)
class _Run:
    """The declared run; a part is None where it is not declared or not known.

    Attributes:
        data: Units of data over the whole run, all epochs.
        device: The devices, with their number.
        seconds: The declared duration.
        declared: Spec texts of hardware and duration.
        gaps: Why a part is None, in words, by its key below `training`.
        epochs: Passes over the data.
        thing: Unit of the data, such as `tokens`.
    """

    data: float | None
    device: Device | None
    seconds: float | None
    declared: tuple[str | None, str | None]
    gaps: dict[str, str]
    epochs: int = 1
    thing: str = ""

    def missing(self, *keys: str) -> str:
        """Return why some of the run's parts are None, in words."""
        return "; ".join(self.gaps[key] for key in keys if key in self.gaps)


def verdicts(desk: Desk, model: Measured) -> list[Entry]:
    """Return the entries on training; the formula of an unknown figure names what is missing."""
    run = _run(desk, model)
    needed = model.training_flops * run.data if run.data else None
    kaplan = model.family.training_flops
    if kaplan and run.data:
        needed = kaplan * model.parameters * run.data
    return [
        _compute(model, run, needed),
        _time(model, run, needed),
        _data(model, run),
        *_energy(run, needed),
    ]


def _run(desk: Desk, model: Measured) -> _Run:
    size, hardware, duration = (
        desk.key(f"training.{name}")
        for name in ("data.size", "compute.hardware", "compute.duration")
    )
    declared = {"data.size": size, "compute.hardware": hardware, "compute.duration": duration}
    gaps = {n: f"training.{n} is not declared" for n, value in declared.items() if value is None}
    amount, thing = parse_amount(size) if size else (None, "")
    if size and not same_things(thing, model.family.task.training_unit):
        amount, gaps["data.size"] = None, f"the data is in {thing}"
    device = _device(desk, hardware)
    if hardware and device is None:
        gaps["compute.hardware"] = f"no speed of {parse_hardware(hardware)[1]} is known"
    epochs = desk.key("training.config.epochs") or 1
    return _Run(
        data=amount * epochs if amount else None,
        device=device,
        seconds=parse_duration(duration) if duration else None,
        declared=(hardware, duration),
        gaps=gaps,
        epochs=epochs,
        thing=thing,
    )


def _device(desk: Desk, hardware: str | None) -> Device | None:
    if not hardware:
        return None
    number, name = parse_hardware(hardware)
    device = devices.named(desk, name)
    return replace(device, number=number) if device and device.flops else None


def _speed(device: Device) -> float:
    return device.number * (device.flops or 0) * (1.0 if device.measured else COMPUTE_USE)


def _speed_words(device: Device) -> str:
    use = "" if device.measured else f" x {COMPUTE_USE:g}"
    return f"{device.number} x {device.flops:.4g} FLOP/s{use}"


def _source(model: Measured, device: Device) -> str:
    use = "" if device.measured else f"{COMPUTE_SOURCE}; "
    rule = "6 FLOP a parameter and token: Kaplan et al., 2020, arXiv:2001.08361, section 2.1; "
    measured = COUNTED if model.family.training_flops else "blueprint/flops.json"
    return f"{measured}; {rule if model.family.training_flops else ''}{use}{row(device)}"


def _needed_words(model: Measured, data: float) -> str:
    """Return the needed operations with their arithmetic, beside the measured ones."""
    factor, unit = model.family.training_flops, model.family.task.training_unit
    measured = f"{model.training_flops:,.0f} FLOP x {data:.4g} {unit}"
    if factor is None:
        return f"{measured} = {model.training_flops * data:.4g} FLOP"
    needed = factor * model.parameters * data
    return (
        f"{factor} x {model.parameters:,} x {data:.4g} {unit} = {needed:.4g} FLOP "
        f"(measured on the code, with attention: {measured} = {model.training_flops * data:.4g})"
    )


def _compute(model: Measured, run: _Run, needed: float | None) -> Entry:
    if run.data is None or run.device is None or run.seconds is None:
        return unknown(COMPUTE, None, "FLOP", run.missing(*run.gaps))
    delivered = _speed(run.device) * run.seconds
    formula = (
        f"needed {_needed_words(model, run.data)}; delivered {_speed_words(run.device)} x "
        f"{run.seconds:,.0f} s = {delivered:.4g}"
    )
    required, nearest = Requirement(delivered, delivered, "delivered"), _nearest(run, needed or 0)
    return entry(COMPUTE, needed, "FLOP", formula, _source(model, run.device), required, nearest)


def _time(model: Measured, run: _Run, needed: float | None) -> Entry:
    duration = run.declared[1]
    if run.data is None or run.device is None or needed is None:
        return unknown(TIME, duration, "days", run.missing("data.size", "compute.hardware"))
    days = needed / _speed(run.device) / DAY
    formula = (
        f"{_needed_words(model, run.data)} / ({_speed_words(run.device)}) / {DAY:,} s = "
        f"{days:,.4g} days"
    )
    required = Requirement(duration, run.seconds / DAY if run.seconds else None)
    nearest = _nearest(run, needed)
    return entry(TIME, days, "days", formula, _source(model, run.device), required, nearest)


def _nearest(run: _Run, needed: float) -> str | None:
    """Return what would meet the declared time: more time, more devices, or less data."""
    if not (run.device and run.data and run.seconds and run.declared[0]):
        return None
    factor = needed / (_speed(run.device) * run.seconds)
    number, name = parse_hardware(run.declared[0])
    return (
        f"training.compute.duration {math.ceil(run.seconds * factor / DAY)} days, or "
        f"training.compute.hardware {math.ceil(number * factor)}x{name}, or training.data.size "
        f"{spell_count(run.data / factor / run.epochs, up=False)} {run.thing}"
    )


def _data(model: Measured, run: _Run) -> Entry:
    unit = f"{model.family.task.training_unit} per parameter"
    if run.data is None:
        return unknown(DATA, None, unit, run.missing("data.size"), None)
    ratio, source = run.data / model.parameters, COUNTED
    formula = f"{run.data:.4g} / {model.parameters:,} = {ratio:,.4g}"
    if optimal := model.family.optimal_units:
        formula += f"; compute-optimal is about {optimal[0]:g}, and more buys a better small model"
        source += f"; {optimal[1]}"
    return entry(DATA, ratio, unit, formula, source, NO_LIMIT)


def _energy(run: _Run, needed: float | None) -> Iterator[Entry]:
    """Yield the estimates of energy and CO2 for the declared duration, or else the needed one."""
    device = run.device
    if device is None or device.power is None or not (run.seconds or needed):
        gaps = run.missing(*run.gaps)
        reason = gaps or f"no power of {device.model if device else 'the hardware'} is known"
        for name, unit in ((ENERGY, "kWh"), (CARBON, "kg CO2e")):
            yield unknown(name, None, unit, reason, None)
        return
    hours = (run.seconds or (needed or 0) / _speed(device)) / HOUR
    energy = device.number * device.power * hours * PUE / 1000
    formula = (
        f"{device.number} x {device.power:g} W x {hours:,.4g} h x {PUE:g} = {energy:,.0f} kWh, "
        "an estimate at full power"
    )
    sources = f"{ENERGY_SOURCE}; {PUE_SOURCE}; power of {device.model}, {device.power_source}"
    yield entry(ENERGY, energy, "kWh", formula, sources, NO_LIMIT)
    carbon = CARBON_INTENSITY * energy
    words = f"{energy:,.0f} kWh x {CARBON_INTENSITY:g} kg/kWh = {carbon:,.0f} kg, an estimate"
    yield entry(CARBON, carbon, "kg CO2e", words, CARBON_SOURCE, NO_LIMIT)
