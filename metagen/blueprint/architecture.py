"""blueprint/architecture.yaml: every dimension and setting, and why it was chosen."""

from __future__ import annotations

from typing import Any

from metagen import families
from metagen.blueprint import need, sizing
from metagen.blueprint.need import Goal
from metagen.blueprint.sizing import Design
from metagen.families.family import Family, Need
from metagen.families.trend import Trend
from metagen.files import yaml_bytes
from metagen.units import format_bytes
from metagen.work import Desk, Recipe

TARGET = "blueprint/architecture.yaml"
PUBLISHED = "data/published_models.csv"
CONFIG_KEYS = (
    "optimizer",
    "epochs",
    "batch_size",
    "learning_rate",
    "weight_decay",
    "warmup_steps",
    "warmup_epochs",
    "ema_decay",
    "noise_schedule",
    "timesteps",
    "unconditional_probability",
    "data_augmentation",
)


def work(desk: Desk) -> dict[str, bytes]:
    """Choose the family, search its dimensions and write the settings of every code file.

    Raises:
        SpecError: No family builds what the spec asks for, or its pinned dimensions cannot be.
    """
    family = families.chosen(desk)
    trend = family.fit(desk.source(PUBLISHED))
    goal = need.goal(desk, family)
    chosen, design = _search(family, goal, trend)
    proxy = family.proxy(design.dims)
    full = {"model": design.dims, **family.sections(design.dims, desk.key, reduced=False)}
    architecture: dict[str, Any] = {
        "family": family.name,
        **full,
        "proxy": {"model": proxy, **family.sections(proxy, desk.key, reduced=True)},
        "decisions": [
            *_decisions(family, goal, chosen, design, trend),
            *_settings(desk, family, full, design.parameters),
            *_unused(desk, family),
        ],
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
        f"weights in bf16 {format_bytes(weights, 4)} + cache of one sequence at the full context "
        f"{format_bytes(used - weights, 4)} = {format_bytes(used, 4)}, which {verdict}; "
        f"allowed: {goal.memory_reason}"
    )
    return [{"name": "memory", "value": used, "reason": reason}]


def _settings(
    desk: Desk, family: Family, full: dict[str, Any], parameters: int
) -> list[dict[str, Any]]:
    reasons = family.setting_reasons(full, parameters, desk.key)
    values = {f"{s}.{name}": v for s, fields in full.items() for name, v in fields.items()}
    return [{"name": n, "value": values[n], "reason": reason} for n, reason in reasons.items()]


def _unused(desk: Desk, family: Family) -> list[dict[str, Any]]:
    """Return what `training.config` declares and no setting of this family's code takes up."""
    declared = {name: desk.key(f"training.config.{name}") for name in CONFIG_KEYS}
    unused = {n: v for n, v in declared.items() if v is not None and n not in family.config_keys}
    if declared["optimizer"] not in (None, family.optimizer):
        unused["optimizer"] = declared["optimizer"]
    reason = "declared, and not used: this family's train.py has no such setting"
    return [
        {
            "name": f"training.config.{name}",
            "value": list(v) if isinstance(v, tuple) else v,
            "reason": reason,
        }
        for name, v in unused.items()
    ]


RECIPES = (
    Recipe("blueprint:architecture", work, (), (TARGET,), "dimensions and settings, with reasons"),
)
