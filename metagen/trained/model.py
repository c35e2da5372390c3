"""`trained/model.json` and `trained/curve.csv`: what a bound training folder holds, checked.

Without one, the status is `not trained`. A folder whose train.py wrote no run.json is taken: the
weights are what they are, and what only run.json knows is null. Everything else is refused with its
first difference, since documents state these numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from metagen import families
from metagen.files import json_bytes, sha256
from metagen.measure.probe import TENSORS
from metagen.measure.results import FULL, FULL_CURVE, FULL_MODEL, NOT_TRAINED, PARTIAL, TRAINED
from metagen.package.code import SCRIPTS, runtime_files
from metagen.spec.findings import shown
from metagen.trained import door, identity, log, run, weights
from metagen.trained.weights import CHECKPOINT, Weights
from metagen.work import Desk

GRAPH = "blueprint/graph.json"
_UNRECORDED = (
    *("init_from", "starts", "unit", "units", "devices", "memory_peak", "throughput", "mfu"),
    *("precision", "parallel", "versions", "history"),
)


def model(desk: Desk) -> dict[str, bytes]:
    """Check the bound training folder, and say what it holds.

    Raises:
        TaskError: The folder holds another model, or its files contradict each other.
    """
    if not desk.bound():
        return {FULL_MODEL: json_bytes({"status": NOT_TRAINED}), FULL_CURVE: log.table([])}
    planned = plan(desk)
    state = identity.read(desk, planned)
    found = weights.read(desk, planned["tensors"])
    rows = _log(desk, _step(state, found))
    content = _content(desk, planned, state, found, rows)
    return {FULL_MODEL: json_bytes(content), FULL_CURVE: log.table(rows)}


def plan(desk: Desk) -> dict[str, Any]:
    """Return what the package says of its full model, which a checkpoint is compared with."""
    return {
        "model": desk.entry(GRAPH, "config"),
        "data": desk.entry(families.ARCHITECTURE, "data"),
        "train": desk.entry(families.ARCHITECTURE, "train"),
        "tensors": {name: desk.entry(TENSORS, name) for name in ("parameters", "others", "spare")},
    }


def _step(state: identity.State, found: Weights) -> int:
    step: int = state["step"]
    if found.step not in (None, step):
        sentence = f"The weights are of step {found.step:,}, and state.json of step {step:,}."
        door.refuse(sentence, CHECKPOINT, "bind the checkpoint as it was saved")
    return step


def _log(desk: Desk, step: int) -> list[log.Row]:
    try:
        data = desk.trained(log.PATH)
    except LookupError:
        sentence = "The training folder has no metrics.jsonl, the log of its steps."
        door.refuse(sentence, log.PATH, "bind the folder that train.py wrote with --out")
    return log.read(data, step)


def _content(
    desk: Desk,
    planned: Mapping[str, Any],
    state: identity.State,
    found: Weights,
    rows: list[log.Row],
) -> dict[str, Any]:
    step = state["step"]
    partial = step < planned["train"]["steps"]
    return {
        "status": PARTIAL if partial else TRAINED,
        "checkpoint": {
            "sha256": found.sha256,
            "step": step,
            "bytes": found.bytes,
            "dtype": found.dtype,
            "parameters": found.parameters,
            "files": [vars(each) for each in found.files],
        },
        "size": FULL,
        "seed": state["train.seed"],
        "steps": step,
        "losses": log.losses(rows),
        "plan": {"differs": identity.different(state, planned)},
        **_recorded(desk, state, found, rows),
    }


def _recorded(
    desk: Desk, state: identity.State, found: Weights, rows: list[log.Row]
) -> dict[str, Any]:
    """Return what run.json says of the training, null where there is none."""
    try:
        starts = run.read(desk.trained(run.PATH))
    except LookupError:
        data = {"name": None, "sha256": state["sha256"], "unit": None, "splits": {}}
        return dict.fromkeys(_UNRECORDED) | {
            "init_from": state["init_from"],
            "code": {"same": None, "changed": []},
            "seconds": {"wall": None, "device": None},
            "energy": {"joules": None, "source": "not measured"},
            "data": data,
        }
    _same_run(starts, state)
    run.against(starts, state["step"], found.sha256, rows)
    changed = run.changed(starts, code_of(desk))
    known = all(entry["code"] for entry in starts)
    code = {"same": not changed if known else None, "changed": changed}
    return {"code": code, **run.together(starts, state["step"])}


def _same_run(starts: list[run.Entry], state: identity.State) -> None:
    """Refuse a record of another training than the checkpoint's."""
    last = starts[-1]
    pairs = {
        "size": (last["size"], FULL),
        "seed": (last["seed"], state["train.seed"]),
        "init_from": (last["init_from"], state["init_from"]),
        "data.sha256": (last["data"]["sha256"], state["sha256"]),
        **{
            f"settings.{section}.{name}": (value, state[f"{section}.{name}"])
            for section, values in last["settings"].items()
            for name, value in values.items()
            if f"{section}.{name}" in state
        },
    }
    for name, (said, right) in pairs.items():
        if said != right:
            sentence = f"{name} is {shown(said)}, and {shown(right)} in the checkpoint."
            place = f"{run.PATH}#/starts/{len(starts) - 1}/{name.replace('.', '/')}"
            door.refuse(sentence, place, run.HINT)


def code_of(desk: Desk) -> dict[str, str]:
    """Return the sha256 of each script of the package, by its name in code/."""
    paths = (*SCRIPTS, *runtime_files(families.of_package(desk), desk.source))
    return {path.removeprefix("code/"): sha256(desk.read(path)) for path in paths}
