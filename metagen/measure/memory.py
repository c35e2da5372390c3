"""Memory of training per device, measured on the generated code, and a mode that fits.

The spec's `training.compute.hardware` names the number of devices. This module
chooses how training uses them, so that the launch scripts start a mode that fits.
"""

from __future__ import annotations

import json
from typing import Any

from metagen import families, paths
from metagen.amounts import parse_amount
from metagen.families.family import Family
from metagen.files import json_bytes
from metagen.measure import sandbox
from metagen.package.bundle import Read
from metagen.package.code import runtime_files
from metagen.package.launch import PASSING, PLAN, STATES
from metagen.sizing import devices
from metagen.sizing.devices import Device
from metagen.tasks.task import Task
from metagen.units import parse_hardware
from metagen.work import Desk, Recipe

SCRIPTS = tuple(f"code/{name}.py" for name in ("model", "data", "train"))
TIMEOUT = 300
# Modes of training, each with what it recomputes, cheapest first; the first that fits is chosen.
MODES = tuple((mode, again) for again in ("none", "selective", "full") for mode in ("ddp", "fsdp"))
# What is counted misses gradients in transit, the allocator's gaps and the buffers of the network.
# A published peak of 82.4 GiB has 67.4 GiB besides the states, where 53.4 GiB are counted
# (Llama-3.1-8B on 8 H100s without compilation, torchtitan, docs/performance.md, table 1).
UNCOUNTED = 1.27
# A token of a text has at least one of these, so they are a bound on the passes over the text.
PIECES = ("characters", "bytes")
REPEATED = 1.05  # More passes over the declared data than this are said.
_AS = {True: "at least", False: "about"}


def work(desk: Desk) -> dict[str, bytes]:
    """Return the numbers of nodes and devices for training, and the memory of each device."""
    for library in ("torch", "python", "numpy"):
        desk.version(library)
    declared = desk.key("training.compute.hardware")
    count, name = parse_hardware(declared) if declared else (1, "")
    device = devices.by_prefix(desk, name) if name else None
    measured = _measured(desk, count)
    run, number = _run(desk, measured), measured["nodes"] * measured["devices_per_node"]
    modes = [_mode(measured, mode, again, device) for mode, again in MODES]
    launch = {
        "declared": count if declared else None,
        "nodes": measured["nodes"],
        "devices_per_node": measured["devices_per_node"],
        "devices": number,
        "idle": count - number or None,
        "device": device.name if device else None,
        "usable_memory": device.usable_memory if device else None,
        **run,
        "samples_at_once": measured["samples_at_once"],
        "grad_accum": -(-run["batch_size"] // number // measured["samples_at_once"]),
        "parameters": measured["parameters"],
        "uncounted": round(UNCOUNTED - 1, 2),
        "chosen": next((i for i, each in enumerate(modes) if each["fits"]), len(modes) - 1),
        "modes": modes,
    }
    return {PLAN: json_bytes(launch)}


def _run(desk: Desk, measured: dict[str, Any]) -> dict[str, Any]:
    """Return the length of the run that code/train.py is set to, and its passes over the data.

    `units` counts what the spec's `training.data.size` counts, over all passes; `passes` is None
    where the declared size does not say how often the run reads it, and `passes_are` says how
    exact it is where it is more than one.
    """
    task = families.of_package(desk).task
    train, amount = measured["train"], task.amount(measured["data"])
    units = train["steps"] * train["batch_size"] * amount
    return {
        "steps": train["steps"],
        "batch_size": train["batch_size"],
        "units_per_sample": amount,
        "units": units,
        "unit": task.training_unit,
        **_passes(desk.key("training.data.size"), task, units),
    }


def _passes(declared: str | None, task: Task, units: int) -> dict[str, Any]:
    size, thing = parse_amount(declared) if declared else (0.0, "")
    same = thing in task.units
    bound = task.training_unit == "tokens" and thing in PIECES
    passes = units / size if size and (same or bound) else None
    repeated = passes is not None and passes > REPEATED
    return {"passes": passes, "passes_are": _AS[bound] if repeated else None}


def _measured(desk: Desk, count: int) -> dict[str, Any]:
    worker = desk.code("metagen.measure.memory_worker")
    names = scripts(families.of_package(desk), desk.source)
    result = sandbox.run(
        ("-P", "-m", worker, str(count)),
        {name: desk.read(name) for name in names},
        ("memory.json",),
        timeout=TIMEOUT,
        module_path=paths.PACKAGE.parent,
    )
    measured: dict[str, Any] = json.loads(result["memory.json"])
    return measured


def scripts(family: Family, read: Read | None = None) -> tuple[str, ...]:
    """Return train.py and the files that it imports; `read` is that of `runtime_files`."""
    return (*SCRIPTS, *runtime_files(family, read))


def _mode(measured: dict[str, Any], mode: str, again: str, device: Device | None) -> dict[str, Any]:
    """Return the memory of a device in a mode, and whether it fits; None if that is unknown.

    `total` is what is counted, and `most` has a margin for what is not; it must fit.
    """
    row = measured[mode]
    states = {name: row[name] for name in STATES}
    passing = {name: row[name] for name in PASSING} | {"activations": row["activations"][again]}
    least, usable = sum(states.values()), device.usable_memory if device else None
    most = least + round(UNCOUNTED * sum(passing.values()))
    return {
        "parallel": mode,
        "grad_checkpoint": again,
        **states,
        **passing,
        "total": least + sum(passing.values()),
        "most": most,
        "operations": row["operations"][again],
        "fits": None if usable is None else most <= usable,
    }


def recipes(family: Family) -> tuple[Recipe, ...]:
    """Return the task that counts the memory of training."""
    inputs = (families.ARCHITECTURE, *scripts(family))
    title = "the number of devices for training, and the memory of each"
    return (Recipe("measure:memory", work, inputs, (PLAN,), title),)
