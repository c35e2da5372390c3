"""The memory that training takes on each device, measured on the generated code, and a fit of it.

How many devices there are stands in the spec's `training.compute.hardware`; how training uses them
is chosen here, so that the launch scripts start what fits.
"""

from __future__ import annotations

import json
from typing import Any

from metagen import families, paths
from metagen.families.family import Family
from metagen.files import json_bytes
from metagen.measure import sandbox
from metagen.package.code import runtime_files
from metagen.sizing import devices
from metagen.sizing.devices import Device
from metagen.units import parse_hardware
from metagen.work import Desk, Recipe

PLAN = "code/launch/plan.json"
SCRIPTS = tuple(f"code/{name}.py" for name in ("model", "data", "train"))
TIMEOUT = 300
GPUS_OF_A_NODE = 8  # of the usual server
# What a device holds, by the order of the table; the first mode that fits is taken.
MODES = (("ddp", False), ("fsdp", False), ("ddp", True), ("fsdp", True))
STATES = ("weights", "gradients", "optimizer", "gathered")


def work(desk: Desk) -> dict[str, bytes]:
    """Return how many nodes and devices train the model, and what each device holds."""
    for library in ("torch", "python", "numpy"):
        desk.version(library)
    declared = desk.key("training.compute.hardware")
    count, name = parse_hardware(declared) if declared else (1, "")
    device = devices.by_prefix(desk, name) if name else None
    batch = desk.entry(families.ARCHITECTURE, "train", "batch_size")
    nodes, per_node = machines(count, batch)
    found = _measured(desk, nodes * per_node)
    modes = [_mode(found, mode, again, device) for mode, again in MODES]
    plan = {
        "declared": count if declared else None,
        "nodes": nodes,
        "devices_per_node": per_node,
        "devices": nodes * per_node,
        "device": device.name if device else None,
        "usable_memory": device.usable_memory if device else None,
        "batch_size": batch,
        "samples_at_once": found["samples_at_once"],
        "parameters": found["parameters"],
        "chosen": next((i for i, each in enumerate(modes) if each["fits"]), len(modes) - 1),
        "modes": modes,
    }
    return {PLAN: json_bytes(plan)}


def machines(count: int, batch: int) -> tuple[int, int]:
    """Return nodes and devices a node: the most of the declared ones that share a batch equally."""
    sizes = range(1, min(count, GPUS_OF_A_NODE) + 1)
    choices = [
        (n, size) for size in sizes for n in range(1, count // size + 1) if batch >= n * size
    ]
    fair = [(n, size) for n, size in choices if batch % (n * size) == 0]
    return max(fair, key=lambda pair: (pair[0] * pair[1], pair[1]))


def _measured(desk: Desk, count: int) -> dict[str, Any]:
    worker = desk.code("metagen.measure.memory_worker")
    scripts = (*SCRIPTS, *runtime_files(families.built(desk)))
    result = sandbox.run(
        ("-P", "-m", worker, str(count)),
        {name: desk.read(name) for name in scripts},
        ("memory.json",),
        timeout=TIMEOUT,
        module_path=paths.PACKAGE.parent,
    )
    found: dict[str, Any] = json.loads(result["memory.json"])
    return found


def _mode(found: dict[str, Any], mode: str, again: bool, device: Device | None) -> dict[str, Any]:
    """Return what a device holds in a mode, and whether it fits; None where nobody knows."""
    states = {name: found[mode][name] for name in STATES}
    kept = found[mode]["recomputed" if again else "activations"]
    total = sum(states.values()) + kept
    usable = device.usable_memory if device else None
    return {
        "parallel": mode,
        "grad_checkpoint": again,
        **states,
        "activations": kept,
        "total": total,
        "fits": None if usable is None else total <= usable,
    }


def recipes(family: Family) -> tuple[Recipe, ...]:
    """Return the task that counts the memory of training."""
    inputs = (families.ARCHITECTURE, *SCRIPTS, *runtime_files(family))
    title = "what training takes of each device's memory, on how many of them"
    return (Recipe("measure:memory", work, inputs, (PLAN,), title),)
