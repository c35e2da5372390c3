"""The training of the full model as a task of the build, for a model that fits this machine.

The task has no target in the package. It leaves a training folder in the out folder, beside the run
folder, which `metagen release` then binds like any other. It is current while its code, the data,
the libraries and the checkpoint are unchanged.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

from metagen import files, programs
from metagen.engine.binding import Binding
from metagen.engine.graph import Graph
from metagen.errors import Problem, TaskError, UsageError
from metagen.units import format_bytes
from metagen.work import Desk, Recipe

if TYPE_CHECKING:
    from metagen.engine.desk import TracingDesk

TASK = "training:full"
_TRAIN, _PLAN = "code/train.py", "code/launch/plan.json"
_STAMP = "begun_with.json"  # Of a training folder: the digest of what its training began with.
_STEP = re.compile(r"step (\d+)/(\d+): (.*)")
_NO_LIMIT = 1e8  # seconds
_IN = 'cd "$0" && exec "$@"'  # The scripts are started as their README says, in their own folder.


def folder_of(out: Path, run: str) -> Path:
    """Return the training folder of a run folder, beside it in the out folder."""
    return out.resolve() / f"training-{run.removeprefix('run-')}"


def graph_of(graph: Graph, out: Path, data: Path | None) -> Graph:
    """Return the graph of a package with the task that trains its full model.

    Raises:
        UsageError: The spec asks for no code, or the data does not exist.
    """
    if _TRAIN not in graph.maker:
        sentence = "The spec asks for no code that could be trained"
        hint = "add pytorch_skeleton and training_recipe to outputs.artifacts"
        raise UsageError(Problem(f"{sentence}.", str(graph.spec.path), hint))
    if data is not None and not data.exists():
        raise UsageError(Problem("There is no such file or folder.", str(data), "correct --data"))
    folder = folder_of(out, graph.run)
    code = tuple(p for r in graph.recipes if r.name.startswith("code:") for p in r.targets)
    inputs = tuple(dict.fromkeys((*code, *((_PLAN,) if _PLAN in graph.maker else ()))))
    task = Recipe(TASK, _work(folder, data), inputs, (), "train and score the full model here")
    binding = Binding(folder, (data.resolve(),) if data else (), every=True)
    return Graph(graph.spec, graph.run, (*graph.recipes, task), graph.warnings, binding)


def _work(folder: Path, data: Path | None) -> Callable[[Desk], dict[str, bytes]]:
    def work(desk: Desk) -> dict[str, bytes]:
        tracing = cast("TracingDesk", desk)
        steps = _planned(desk)
        read = [desk.version(each) for each in ("torch", "python", "numpy")]
        read += [*map(desk.digest, _code(tracing)), *tracing.given()]
        code = desk.place(_TRAIN).parent
        options = ("--size", "full", *(("--data", str(data.resolve())) if data else ()))
        out = ("--out", os.path.relpath(folder, code))
        begun = _begun(folder, files.sha256(files.canonical(read).encode()))
        if not (begun and steps is not None and _step(folder) == steps):
            resume = ("--resume",) if begun and _step(folder) is not None else ()
            _run(desk, code, ("train.py", *options, *out, *resume))
        _run(desk, code, ("eval.py", *options, *out))
        tracing.trained_anew()
        for name in desk.trained_names("checkpoint"):
            desk.trained_digest(f"checkpoint/{name}")
        return {}

    return work


def _code(desk: TracingDesk) -> list[str]:
    return [path for path in desk.recipe.inputs if path.endswith((".py", "config.json"))]


def _planned(desk: Desk) -> int | None:
    """Return the steps of the training; None if nothing says them.

    Raises:
        TaskError: It needs more memory than this machine has.
    """
    try:
        plan = json.loads(desk.read(_PLAN))
        totals = [mode["total"] for mode in plan["modes"] if mode["parallel"] == "ddp"]
        steps = plan["steps"]
    except (TaskError, ValueError, LookupError, TypeError):
        return None
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if totals and min(totals) > memory:
        needed, here = format_bytes(min(totals)), format_bytes(memory)
        sentence = f"The training needs at least {needed} of memory, and this machine has {here}."
        hint = "train it elsewhere by code/launch/README.md, and release with --trained DIR"
        raise TaskError(Problem(sentence, _PLAN, hint))
    return int(steps)


def _begun(folder: Path, identity: str) -> bool:
    """Tell whether a training folder was begun with the same; move one of another aside."""
    stamp = folder / _STAMP
    try:
        if json.loads(files.read_plain(stamp))["sha256"] == identity:
            return True
    except (OSError, ValueError, LookupError, TypeError):
        pass
    if os.path.lexists(folder):
        folder.rename(_free(folder))
    folder.mkdir(parents=True)
    files.write_atomic(stamp, files.json_bytes({"sha256": identity}), folder)
    return False


def _free(folder: Path) -> Path:
    """Return a name beside a folder that nothing has: weights of hours are never deleted."""
    number = 1
    while os.path.lexists(folder.with_name(f"{folder.name}.{number}")):
        number += 1
    return folder.with_name(f"{folder.name}.{number}")


def _step(folder: Path) -> int | None:
    """Return the step of the checkpoint of a training folder; None without one."""
    for name in ("checkpoint", ".checkpoint.train-old"):
        try:
            return int(json.loads(files.read_plain(folder / name / "state.json"))["step"])
        except (OSError, ValueError, LookupError, TypeError):
            continue
    return None


def _run(desk: Desk, code: Path, command: Sequence[str]) -> None:
    """Run a script in the folder of the package's code; it ends with this process.

    Raises:
        TaskError: It failed; the error shows its last output.
    """

    def report(line: str) -> None:
        if match := _STEP.search(line):
            desk.progress(int(match[1]), int(match[2]), match[3])

    ended = programs.run(
        lambda scratch: ("/bin/sh", "-c", _IN, str(code), sys.executable, *command),
        # Byte code beside the scripts would be files that the manifest does not list.
        lambda scratch: os.environ | {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONUTF8": "1"},
        {},
        (),
        timeout=_NO_LIMIT,
        on_line=report,
    )
    if ended.status:
        sentence = f"python {' '.join(command)} ended with status {ended.status}"
        raise TaskError(Problem(sentence, str(code), "\n  ".join(ended.tail)))
