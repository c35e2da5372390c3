"""blueprint/architecture.yaml: every dimension and setting, and why it was chosen."""

from __future__ import annotations

from typing import Any

from metagen import families
from metagen.blueprint import need, sizing
from metagen.blueprint.need import Goal, gigabytes
from metagen.blueprint.sizing import Design
from metagen.families.family import Family, Need
from metagen.families.trend import Trend
from metagen.files import yaml_bytes
from metagen.work import Desk, Recipe

TARGET = "blueprint/architecture.yaml"
PUBLISHED = "data/published_models.csv"


def work(desk: Desk) -> dict[str, bytes]:
    """Choose the family, search its dimensions and write the settings of every code file.

    Raises:
        SpecError: No family builds what the spec asks for, or its pinned dimensions cannot be.
    """
    family = families.load(desk.code(families.FAMILIES[families.route(desk.key)]))
    trend = family.fit(desk.source(PUBLISHED))
    goal = need.goal(desk, family)
    chosen, design = _search(family, goal, trend)
    proxy = family.proxy(design.dims)
    architecture: dict[str, Any] = {
        "family": family.name,
        "model": design.dims,
        **family.sections(design.dims, desk.key, reduced=False),
        "proxy": {"model": proxy, **family.sections(proxy, desk.key, reduced=True)},
        "decisions": _decisions(family, goal, chosen, design, trend),
    }
    return {TARGET: yaml_bytes(architecture)}


def _search(family: Family, goal: Goal, trend: Trend) -> tuple[Need, Design]:
    """Return the first size whose design fits the memory, or else the smallest."""
    for wanted in goal.needs:
        design = sizing.search(family, wanted, trend)
        if design.fits_memory:
            break
    return wanted, design


def _decisions(
    family: Family, goal: Goal, wanted: Need, design: Design, trend: Trend
) -> list[dict[str, Any]]:
    reasons = family.reasons(design.dims, wanted, trend)
    pinned = dict.fromkeys(wanted.pins, "pinned by architecture.dims")
    dimensions = [
        {"name": name, "value": value, "reason": pinned.get(name) or reasons[name]}
        for name, value in design.dims.items()
    ]
    return [_size(goal, wanted, design), *dimensions, *_memory(family, goal, wanted, design)]


def _size(goal: Goal, wanted: Need, design: Design) -> dict[str, Any]:
    share = design.parameters / wanted.parameters
    reason = (
        f"{goal.size_reason}; {share:.2%} of {wanted.parameters:,} are used, "
        f"the best of {design.candidates:,} candidates"
    )
    return {"name": "parameters", "value": design.parameters, "reason": reason}


def _memory(family: Family, goal: Goal, wanted: Need, design: Design) -> list[dict[str, Any]]:
    """Return the sum that was held against the memory, where the spec or its device limits it."""
    if wanted.memory is None:
        return []
    weights = design.parameters * sizing.WEIGHT_BYTES
    used = sizing.footprint(family, design.dims, design.parameters)
    verdict = "fits" if design.fits_memory else "does not fit, and no candidate does"
    reason = (
        f"weights in bf16 {gigabytes(weights)} + cache of one sequence at the full context "
        f"{gigabytes(used - weights)} = {gigabytes(used)}, which {verdict}; "
        f"allowed: {goal.memory_reason}"
    )
    return [{"name": "memory", "value": used, "reason": reason}]


RECIPES = (
    Recipe("blueprint:architecture", work, (), (TARGET,), "dimensions and settings, with reasons"),
)
