"""blueprint/constraints.json: each constraint of the spec beside what the model needs, and why.

The model is the measured one: its parameters, operations and Config are what the probe found.
"""

from __future__ import annotations

from metagen.files import json_bytes
from metagen.sizing import devices, found, nearest, need, roofline
from metagen.sizing.verdicts import measured, memory, speed, training
from metagen.sizing.verdicts.entry import Entry
from metagen.sizing.verdicts.measured import INPUTS, Measured
from metagen.work import Desk, Recipe

TARGET = "blueprint/constraints.json"


def work(desk: Desk) -> dict[str, bytes]:
    """Hold the measured model against every constraint, declared or not."""
    model, device = measured.read(desk), devices.target(desk)
    line = roofline.of(desk, device) if device else None
    verdicts = [
        *memory.verdicts(desk, model, device),
        *speed.verdicts(desk, model, line),
        *training.verdicts(desk, model),
    ]
    return {TARGET: json_bytes(_with_changes(desk, model, verdicts))}


def _with_changes(desk: Desk, model: Measured, verdicts: list[Entry]) -> list[Entry]:
    """Name the nearest feasible change of what is violated; a search only where one is needed."""
    violated = {each["constraint"] for each in verdicts if each["verdict"] == "violated"}
    if not violated:
        return verdicts
    wanted = need.goal(desk, model.family)
    best = found.searched(model.family, wanted, desk.source(model.family.published))
    changes = nearest.nearest(desk, best, model.parameters)
    return [
        {**each, "nearest": each["nearest"] or changes.get(each["constraint"])} for each in verdicts
    ]


RECIPES = (
    Recipe("blueprint:constraints", work, INPUTS, (TARGET,), "a verdict for every constraint"),
)
