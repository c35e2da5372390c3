"""Memory of training per device, measured on the generated code, and a mode that fits.

The spec's `training.compute.hardware` names the number of devices. This module
chooses how training uses them, so that the launch scripts start a mode that fits.
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

LAUNCH_PLAN = "code/launch/plan.json"
SCRIPTS = tuple(f"code/{name}.py" for name in ("model", "data", "train"))
TIMEOUT = 300
GPUS_OF_A_NODE = 8  # the usual server has eight
# Modes of training, with or without recomputed activations; the first one that fits is chosen.
MODES = (("ddp", False), ("fsdp", False), ("ddp", True), ("fsdp", True))
STATES = ("weights", "gradients", "optimizer", "gathered")


def work(desk: Desk) -> dict[str, bytes]:
    """Return the numbers of nodes and devices for training, and the memory of each device."""
    for library in ("torch", "python", "numpy"):
        desk.version(library)
    declared = desk.key("training.compute.hardware")
    count, name = parse_hardware(declared) if declared else (1, "")
    device = devices.named(desk, name) if name else None
    batch = desk.entry(families.ARCHITECTURE, "train", "batch_size")
    nodes, per_node = machines(count, batch)
    measured = _measured(desk, nodes * per_node)
    modes = [_mode(measured, mode, recompute, device) for mode, recompute in MODES]
    launch = {
        "declared": count if declared else None,
        "nodes": nodes,
        "devices_per_node": per_node,
        "devices": nodes * per_node,
        "device": device.name if device else None,
        "usable_memory": device.usable_memory if device else None,
        "batch_size": batch,
        "samples_at_once": measured["samples_at_once"],
        "parameters": measured["parameters"],
        "chosen": next((i for i, each in enumerate(modes) if each["fits"]), len(modes) - 1),
        "modes": modes,
    }
    return {LAUNCH_PLAN: json_bytes(launch)}


def machines(count: int, batch: int) -> tuple[int, int]:
    """Return nodes and devices per node: the most declared devices that share a batch equally."""
    sizes = range(1, min(count, GPUS_OF_A_NODE) + 1)
    choices = [
        (n, size) for size in sizes for n in range(1, count // size + 1) if batch >= n * size
    ]
    fair = [(n, size) for n, size in choices if batch % (n * size) == 0]
    return max(fair, key=lambda pair: (pair[0] * pair[1], pair[1]))


def _measured(desk: Desk, count: int) -> dict[str, Any]:
    worker = desk.code("metagen.measure.memory_worker")
    scripts = (*SCRIPTS, *runtime_files(families.of_package(desk), desk.source))
    result = sandbox.run(
        ("-P", "-m", worker, str(count)),
        {name: desk.read(name) for name in scripts},
        ("memory.json",),
        timeout=TIMEOUT,
        module_path=paths.PACKAGE.parent,
    )
    measured: dict[str, Any] = json.loads(result["memory.json"])
    return measured


def _mode(
    measured: dict[str, Any], mode: str, recompute: bool, device: Device | None
) -> dict[str, Any]:
    """Return the memory of a device in a mode, and whether it fits; None if that is unknown."""
    states = {name: measured[mode][name] for name in STATES}
    activations = measured[mode]["recomputed" if recompute else "activations"]
    total = sum(states.values()) + activations
    usable = device.usable_memory if device else None
    return {
        "parallel": mode,
        "grad_checkpoint": recompute,
        **states,
        "activations": activations,
        "total": total,
        "fits": None if usable is None else total <= usable,
    }


def recipes(family: Family) -> tuple[Recipe, ...]:
    """Return the task that counts the memory of training."""
    inputs = (families.ARCHITECTURE, *SCRIPTS, *runtime_files(family))
    title = "the number of devices for training, and the memory of each"
    return (Recipe("measure:memory", work, inputs, (LAUNCH_PLAN,), title),)
