"""blueprint/architecture.yaml: every dimension and setting, and why it was chosen."""

from __future__ import annotations

from typing import Any

from metagen.families.family import Family
from metagen.files import yaml_bytes
from metagen.sizing.decisions import decisions
from metagen.sizing.found import sized
from metagen.work import Desk, Recipe

TARGET = "blueprint/architecture.yaml"
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
    found = sized(desk)
    family, dims = found.family, found.design.dims
    proxy = family.proxy(dims)
    full = {"model": dims, **family.sections(found.design.everything, desk.key, reduced=False)}
    architecture: dict[str, Any] = {
        "family": family.name,
        **full,
        "proxy": {"model": proxy, **family.sections(proxy, desk.key, reduced=True)},
        "decisions": [
            *decisions(found),
            *_settings(desk, family, full, found.design.parameters),
            *_unused(desk, family),
        ],
    }
    return {TARGET: yaml_bytes(architecture)}


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
