"""Parameters, FLOPs and the module graph, measured on the generated `code/model.py`."""

from __future__ import annotations

import json
from typing import Any

from metagen import families, paths
from metagen.errors import Problem, TaskError
from metagen.families.family import Family
from metagen.files import json_bytes
from metagen.measure import sandbox
from metagen.work import Desk, Recipe

TIMEOUT = 300
INPUTS = (families.ARCHITECTURE, "code/model.py", "code/config.json")
SIZES = "sizes.json"  # what the worker reads of the two others
TARGETS = ("blueprint/params.json", "blueprint/flops.json", "blueprint/graph.json")
BACKWARD = 3  # a training step: the forward pass, and twice as much to differentiate it


def work(desk: Desk) -> dict[str, bytes]:
    """Import the generated model on the meta device, in a subprocess, and count it.

    Raises:
        TaskError: The model's code does not run; it names the line.
    """
    family = families.built(desk)
    for library in ("torch", "fvcore", "python"):
        desk.version(library)
    found = _probed(desk, family.name)
    results = (_params(desk, family, found), _flops(family, found), found["graph"])
    return {path: json_bytes(each) for path, each in zip(TARGETS, results, strict=True)}


def _probed(desk: Desk, family: str) -> dict[str, Any]:
    worker = desk.code("metagen.measure.probe_worker")
    architecture, model, config = INPUTS
    sizes = {
        "full": {"data": desk.entry(architecture, "data")},
        "proxy": {"model": desk.entry(config, "proxy", "model")},
    }
    files = {model: desk.read(model), SIZES: json_bytes(sizes)}
    result = sandbox.run(
        ("-P", "-m", worker, family),
        files,
        ("probe.json",),
        timeout=TIMEOUT,
        module_path=paths.PACKAGE.parent,
    )
    found: dict[str, Any] = json.loads(result["probe.json"])
    if error := found.get("error"):
        hint = "the counts are taken from this file; correct it, or delete it to have it made anew"
        raise TaskError(Problem(error["sentence"], error["place"], hint))
    return found


def _params(desk: Desk, family: Family, found: dict[str, Any]) -> dict[str, Any]:
    total = found["total"]
    tables = {name: found["by_module"].get(name, 0) for name in family.embedding_modules}
    least = desk.key("constraints.parameter_budget.min")
    most = desk.key("constraints.parameter_budget.max")
    return {
        "total": total,
        "trainable": found["trainable"],
        "by_module": found["by_module"] | tables,
        "by_layer": found["by_layer"],
        "embedding_share": sum(tables.values()) / total if tables else None,
        "budget": {"min": least, "max": most, "share": total / most if most else None},
        "proxy_total": found["proxy_total"],
    }


def _flops(family: Family, found: dict[str, Any]) -> dict[str, Any]:
    """Return the operations per unit: a pass over so many of them, divided by their number."""
    measured = found["measured"]
    totals = {int(n): ops for n, ops in found["by_operator"].items()}
    forward = sum(totals[measured].values()) / measured
    return {
        "tool": found["tool"],
        "convention": "a multiply-add counts as two operations",
        "unit": family.words.unit,
        "length": measured,
        "forward_per_unit": forward,
        "training_per_unit": BACKWARD * forward,
        "by_operator": {name: count / measured for name, count in totals[measured].items()},
        "points": [
            {"length": length, "forward_per_unit": sum(ops.values()) / length}
            for length, ops in sorted(totals.items())
        ],
    }


RECIPES = (
    Recipe(
        "measure:probe",
        work,
        INPUTS,
        TARGETS,
        "exact parameters, FLOPs and module graph of the generated model",
    ),
)
