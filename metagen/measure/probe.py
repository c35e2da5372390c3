"""Parameters, FLOPs, tensors and the module graph, measured on the generated `code/model.py`."""

from __future__ import annotations

import json
from typing import Any

from metagen import families, paths
from metagen.errors import Problem, TaskError
from metagen.families.family import Family
from metagen.files import json_bytes
from metagen.measure import memory, sandbox
from metagen.work import Desk, Recipe

TIMEOUT = 300
INPUTS = (families.ARCHITECTURE, "code/model.py", "code/config.json")
SIZES = "sizes.json"  # settings of the worker, from the two other inputs
TENSORS = "blueprint/tensors.json"  # formats and shapes in a checkpoint of the full model
TARGETS = ("blueprint/params.json", "blueprint/flops.json", "blueprint/graph.json", TENSORS)
BACKWARD = 3  # passes of a training step: the forward pass, and a backward pass of twice its cost


def work(desk: Desk) -> dict[str, bytes]:
    """Import the generated model on the meta device, in a subprocess, and count it.

    Raises:
        TaskError: The model's code fails; the error names the line.
    """
    family = families.of_package(desk)
    for library in ("torch", "fvcore", "python"):
        desk.version(library)
    probed = _probed(desk, family)
    counts = (_params(desk, family, probed), _flops(family, probed))
    results = (*counts, probed["graph"], probed["tensors"])
    return {path: json_bytes(each) for path, each in zip(TARGETS, results, strict=True)}


def _probed(desk: Desk, family: Family) -> dict[str, Any]:
    worker = desk.code("metagen.measure.probe_worker")
    architecture, model, config = INPUTS
    sizes = {
        "full": {"data": desk.entry(architecture, "data")},
        "proxy": {"model": desk.entry(config, "proxy", "model")},
    }
    scripts = memory.scripts(family, desk.source) if family.task.more_passes else (model,)
    files = {**{name: desk.read(name) for name in scripts}, SIZES: json_bytes(sizes)}
    result = sandbox.run(
        ("-P", "-m", worker, family.name),
        files,
        ("probe.json",),
        timeout=TIMEOUT,
        module_path=paths.PACKAGE.parent,
    )
    probed: dict[str, Any] = json.loads(result["probe.json"])
    if error := probed.get("error"):
        hint = "the counts come from this file: correct it, or delete it to generate it again"
        raise TaskError(Problem(error["sentence"], error["place"], hint))
    return probed


def _params(desk: Desk, family: Family, probed: dict[str, Any]) -> dict[str, Any]:
    total = probed["total"]
    tables = {name: probed["by_module"].get(name, 0) for name in family.embedding_modules}
    least = desk.key("constraints.parameter_budget.min")
    most = desk.key("constraints.parameter_budget.max")
    return {
        "total": total,
        "trainable": probed["trainable"],
        "by_module": probed["by_module"] | tables,
        "by_layer": probed["by_layer"],
        "embedding_share": sum(tables.values()) / total if tables else None,
        "budget": {"min": least, "max": most, "share": total / most if most else None},
        "proxy_total": probed["proxy_total"],
        "proxy_share": probed["proxy_total"] / total,
    }


def _flops(family: Family, probed: dict[str, Any]) -> dict[str, Any]:
    """Return the operations per unit: those of a pass, divided by its number of units.

    An update costs three passes, or what its loss in train.py does where it has more of them.
    """
    measured = probed["measured"]
    totals = {int(n): ops for n, ops in probed["by_operator"].items()}
    forward = sum(totals[measured].values()) / measured
    return {
        "tool": probed["tool"],
        "convention": "a multiply-add counts as two operations",
        "unit": family.words.unit,
        "length": measured,
        "forward_per_unit": forward,
        "training_per_unit": probed.get("update", BACKWARD * forward),
        **({"more_passes": family.task.more_passes} if family.task.more_passes else {}),
        "by_operator": {name: count / measured for name, count in totals[measured].items()},
        "points": [
            {"length": length, "forward_per_unit": sum(ops.values()) / length}
            for length, ops in sorted(totals.items())
        ],
    }


def recipes(family: Family) -> tuple[Recipe, ...]:
    """Return the task that counts the full model."""
    scripts = memory.scripts(family) if family.task.more_passes else ()
    inputs = tuple(dict.fromkeys((*INPUTS, *scripts)))
    title = "exact parameters, FLOPs and module graph of the generated model"
    return (Recipe("measure:probe", work, inputs, TARGETS, title),)
