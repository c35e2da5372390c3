"""`trained/plan.json`: what was planned for the training, beside what the training did.

A plan of a figure is what the package computed or declared before the training; no loss is
forecast, so losses have no plan. Each side names its source, and a row has at least one side.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from metagen import families
from metagen.files import json_bytes
from metagen.measure.results import FULL_MODEL, NOT_TRAINED
from metagen.package.launch import PLAN as LAUNCH
from metagen.sizing import devices, shares
from metagen.sizing.training import DAY, ENERGY, HOUR, PUE, TIME
from metagen.units import JOULES_PER_KWH
from metagen.work import Desk

TARGET = "trained/plan.json"
CONSTRAINTS = "blueprint/constraints.json"
INPUTS = (families.ARCHITECTURE, CONSTRAINTS, LAUNCH, FULL_MODEL)
_TIMES = ((HOUR, "hours"), (60, "minutes"), (1, "seconds"))
DIGITS = 4  # significant digits of a quotient

Side = tuple[Any, str]  # A value, None if it is not known, and its source.


def compared(desk: Desk) -> dict[str, bytes]:
    """Return the rows of the table; none without a trained model."""
    model = desk.entry(FULL_MODEL)
    rows = [] if model["status"] == NOT_TRAINED else [*_rows(_Plan(desk), _Training(model))]
    return {TARGET: json_bytes(rows)}


class _Plan:
    """The planned figures, with their sources."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.launch: dict[str, Any] = desk.entry(LAUNCH)
        self.rows = {row["constraint"]: row for row in desk.entry(CONSTRAINTS)}
        self.declared = self.launch["declared"] is not None
        self.family = families.of_package(desk)

    def of_launch(self, name: str, *, where: bool = True) -> Side:
        return (self.launch[name] if where else None), f"{LAUNCH}: {name}"

    def computed(self, name: str, factor: float = 1.0) -> Side:
        """Return the computed figure of a constraint, times a factor."""
        value = self.rows.get(name, {}).get("computed")
        return _rounded(value, factor), f"{CONSTRAINTS}: {name}"

    def memory(self) -> Side:
        """Return the counted bytes of a device in the mode that the launch scripts start."""
        mode = self.launch["modes"][self.launch["chosen"]]
        return (mode["total"] if self.declared else None), f"{LAUNCH}: modes"

    def throughput(self) -> Side:
        days, source = self.computed(TIME)
        speed = self.launch["units"] / (days * DAY) if days else None
        return _rounded(speed), f"{LAUNCH}: units; {source}"

    def share(self) -> Side:
        """Return the share of the devices' peak that the plan counts with."""
        known = devices.table(self.desk).get(self.launch["device"])
        if known is None or not known.flops:
            return None, shares.TABLE
        device = replace(known, number=self.launch["devices"])
        share = shares.of_training(self.desk, self.family, device)
        return _rounded(share.middle), share.source


class _Training:
    """The figures of the training, with their sources."""

    def __init__(self, model: dict[str, Any]) -> None:
        self.model = model

    def of(self, *way: str, factor: float = 1.0) -> Side:
        value: Any = self.model
        for key in way:
            value = value.get(key) if isinstance(value, dict) else None
        source = f"{FULL_MODEL}: {'.'.join(way)}"
        return (_rounded(value, factor) if factor != 1.0 else value), source


def _rows(plan: _Plan, done: _Training) -> Iterator[dict[str, Any]]:
    """Yield the rows with at least one side."""
    for quantity, unit, planned, actual in _pairs(plan, done):
        if planned[0] is None and actual[0] is None:
            continue
        yield {
            "quantity": quantity,
            "unit": unit,
            "planned": planned[0],
            "planned_source": None if planned[0] is None else planned[1],
            "actual": actual[0],
            "actual_source": None if actual[0] is None else actual[1],
        }


def _pairs(plan: _Plan, done: _Training) -> Iterator[tuple[str, str, Side, Side]]:
    none, unit = (None, ""), plan.launch["unit"]
    words = plan.family.words
    counted = done.model["unit"] in (None, unit)
    read = f"{unit} read"
    yield read, unit, plan.of_launch("units"), done.of("units") if counted else none
    if not counted:
        yield f"{done.model['unit']} read", done.model["unit"], none, done.of("units")
    yield "training steps", "steps", plan.of_launch("steps"), done.of("checkpoint", "step")
    for name, title in (("train", "training loss"), ("val", "validation loss")):
        yield f"last {title}", words.loss_unit, none, done.of("losses", name)
    yield _time(plan, done)
    yield from _of_devices(plan, done)
    spent = done.of("energy", "joules", factor=1 / JOULES_PER_KWH)
    # The plan's overhead is that of a data centre, which no counter of a device sees.
    yield "energy of the devices", "kWh", plan.computed(ENERGY, 1 / PUE), spent
    speed = done.of("throughput") if counted else none
    yield "throughput", f"{unit}/s", plan.throughput(), speed


def _time(plan: _Plan, done: _Training) -> tuple[str, str, Side, Side]:
    """Return both times in one unit, which suits the longer one."""
    planned, actual = plan.computed(TIME, DAY), done.of("seconds", "wall", factor=1)
    longest = max((side[0] for side in (planned, actual) if side[0] is not None), default=0)
    size, unit = next(each for each in _TIMES if longest >= each[0] or each[0] == 1)
    sides = [(_rounded(value, 1 / size), source) for value, source in (planned, actual)]
    return "time", unit, sides[0], sides[1]


def _of_devices(plan: _Plan, done: _Training) -> Iterator[tuple[str, str, Side, Side]]:
    number = plan.of_launch("devices", where=plan.declared)
    yield "devices", "", number, done.of("devices", "count")
    names, source = done.of("devices", "names")
    named = (", ".join(dict.fromkeys(names)) if names else None, source)
    yield "device", "", plan.of_launch("device"), named
    yield "share of the peak", "share", plan.share(), done.of("mfu")
    yield "memory of a device", "bytes", plan.memory(), done.of("memory_peak")


def _rounded(value: float | None, factor: float = 1.0) -> float | None:
    return None if value is None else float(f"{value * factor:.{DIGITS - 1}e}")
