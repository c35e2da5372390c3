"""The weights of a release: links where the training has the same bytes, else written anew."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from metagen import paths
from metagen.errors import Problem, TaskError
from metagen.files import json_bytes
from metagen.measure import sandbox
from metagen.measure.results import FULL_MODEL
from metagen.release import tensors
from metagen.release.tensors import Plan, Shard
from metagen.trained.weights import CHECKPOINT, FILE, INDEX
from metagen.work import Desk, Large, Output

FOLDER = "release"
_LEAST_SECONDS = 600
_BYTES_PER_SECOND = 10**7  # a slow disk's
_KEY = "release.dtype"


def weights(desk: Desk) -> dict[str, Output]:
    """Return the released files of weights, with an index where there are several."""
    plan = planned(desk)
    made: dict[str, Output] = {
        f"{FOLDER}/{shard.name}": _linked(desk, shard) for shard in plan.shards if shard.same
    }
    written = [shard for shard in plan.shards if not shard.same]
    if written:
        made |= _written(desk, written)
    if len(plan.shards) > 1:
        parameters = desk.entry(FULL_MODEL, "checkpoint", "parameters")
        made[f"{FOLDER}/{INDEX}"] = json_bytes(plan.index(parameters))
    return made


def planned(desk: Desk) -> Plan:
    """Return the plan of the bound checkpoint's released weights; it depends on their content."""
    folder = _checkpoint(desk)
    for name in tensors.source_files(folder):
        desk.trained_digest(f"{CHECKPOINT}/{name}")
    return tensors.of_folder(folder, desk.key(_KEY))


def _checkpoint(desk: Desk) -> Path:
    """Return where the bound checkpoint lies."""
    names = desk.trained_names(CHECKPOINT)
    first = next((name for name in (FILE, INDEX) if name in names), FILE)
    return desk.trained_place(f"{CHECKPOINT}/{first}").parent


def _linked(desk: Desk, shard: Shard) -> Large:
    path = f"{CHECKPOINT}/{shard.same}"
    return Large(desk.trained_place(path), desk.trained_digest(path))


def _written(desk: Desk, shards: list[Shard]) -> dict[str, Output]:
    """Write files into the task's scratch folder, in a process of its own."""
    folder, scratch = _checkpoint(desk), desk.scratch()
    files = [_instructions(shard, folder, scratch) for shard in shards]
    size = sum(piece.trained.size for shard in shards for piece in shard.pieces)
    worker = desk.code("metagen.release.weights_worker")
    desk.version("torch")
    try:
        left = sandbox.run(
            ("-P", "-m", worker, "plan.json"),
            {"plan.json": json_bytes(files)},
            ("written.json",),
            timeout=_LEAST_SECONDS + size / _BYTES_PER_SECOND,
            module_path=paths.PACKAGE.parent,
            on_line=lambda line: _progress(desk, line),
        )
    except TaskError as error:
        problem = error.problems[0]
        hint = f"{problem.hint}; another {_KEY} may hold them" if problem.hint else ""
        raise TaskError(Problem("The weights were not written", _KEY, hint)) from error
    digests: dict[str, str] = json.loads(left["written.json"])
    return {
        f"{FOLDER}/{shard.name}": Large(scratch / shard.name, digests[str(scratch / shard.name)])
        for shard in shards
    }


def _instructions(shard: Shard, folder: Path, scratch: Path) -> dict[str, Any]:
    pieces = [
        {
            "source": str(folder / piece.source),
            "name": piece.released.name,
            "start": piece.trained.start,
            "trained_size": piece.trained.size,
            "trained_dtype": piece.trained.dtype,
            "dtype": piece.released.dtype,
            "shape": list(piece.released.shape),
            "size": piece.released.size,
        }
        for piece in shard.pieces
    ]
    return {"path": str(scratch / shard.name), "pieces": pieces}


def _progress(desk: Desk, line: str) -> None:
    done, _, total = line.partition(" ")
    if done.isdigit() and total.isdigit():
        desk.progress(int(done), int(total), "bytes of weights written")
