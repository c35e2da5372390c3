"""Builds without training, in which the formulas of a family stand in for the counts."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

from metagen import families
from metagen.docs import drawing
from metagen.families.family import Dims, Family
from metagen.measure import sandbox
from metagen.spec import load
from metagen.work import Desk
from tests.helpers.building import config_defaults, fake_measurements

from . import inside
from .inside import Build


def counted(folder: Path, spec: Path) -> Build:
    """Build without figures, with counts by the formulas of the family and no training."""
    family = families.named(families.route(load(spec).key))
    with (
        mock.patch.object(sandbox, "run", functools.partial(_closed_form, family)),
        mock.patch.object(drawing, "saved", _blank),
    ):
        return inside.build(folder, spec, ["evaluation.bench=none"])


def _blank(desk: Desk, *_: Any) -> bytes:
    desk.version("matplotlib")
    return b""


def _closed_form(
    family: Family,
    arguments: Sequence[str],
    given: Mapping[str, bytes],
    requested: Sequence[str],
    **_: Any,
) -> dict[str, bytes]:
    """Stand in for the two counts of a build without training."""
    (name,) = requested
    made = json.loads(fake_measurements(arguments, given, requested)[name])
    dims = config_defaults(given["code/model.py"])
    more = (
        _held(family, dims, made) if name == "memory.json" else _probed(family, dims, given, made)
    )
    return {name: json.dumps(made | more).encode()}


def _held(family: Family, dims: Dims, made: dict[str, Any]) -> dict[str, Any]:
    devices = made["nodes"] * made["devices_per_node"]
    train = made["train"]
    at_once = max(1, train["batch_size"] // max(devices, train["grad_accum"]))
    return {"samples_at_once": at_once, "parameters": family.count(dims)}


def _probed(
    family: Family, dims: Dims, given: Mapping[str, bytes], made: dict[str, Any]
) -> dict[str, Any]:
    total, proxy = family.count(dims), json.loads(given["sizes.json"])["proxy"]["model"]
    counts = {"total": total, "trainable": total, "proxy_total": family.count(proxy)}
    operators = {length: {"linear": 2.0 * total * int(length)} for length in made["by_operator"]}
    return {**counts, "by_module": {"layers": total}, "by_operator": operators}
