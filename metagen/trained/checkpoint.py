"""The bound checkpoint under the scripts of the package, in the sandbox: on a CPU, in one thread.

The weights stay where they are; the script gets their folder as an absolute path, and what
documents print is the command of a user, who has the weights beside the code.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from metagen import families
from metagen.families.family import Family
from metagen.measure import sandbox
from metagen.measure.results import FULL_MODEL
from metagen.package.bundle import Read
from metagen.package.code import BENCH, SCRIPTS, runtime_files
from metagen.trained.weights import CHECKPOINT
from metagen.work import Desk

CONFIG = "code/config.json"
TIMEOUT = 3600
MOST_BYTES = 8_000_000_000  # a build loads no more weights, since it cannot ask for the memory
OPTIONS = ("--size", "full", "--device", "cpu", "--threads", "1")
# A change of the one script does not run the other again.
_OTHER = {"infer.py": (BENCH,)}
_TEXT = ".json"  # the suffix of what a script reads of a checkpoint beside the weights


def is_small(model: dict[str, Any]) -> bool:
    """Return whether a build loads the checkpoint of a record: it has one, of a moderate size."""
    checkpoint: dict[str, Any] = model.get("checkpoint") or {"bytes": MOST_BYTES + 1}
    return bool(checkpoint["bytes"] <= MOST_BYTES)


def files(family: Family, read: Read | None = None) -> tuple[str, ...]:
    """Return the files of code/ that a script may import."""
    return tuple(dict.fromkeys((*SCRIPTS, BENCH, CONFIG, *runtime_files(family, read))))


def run(desk: Desk, script: str, *arguments: str) -> bytes:
    """Return what a script of the package prints for the bound checkpoint.

    Raises:
        TaskError: The script failed; the error shows its last output.
    """
    for library in ("torch", "python", "numpy"):
        desk.version(library)
    command = (f"code/{script}", *OPTIONS, "--checkpoint", str(_place(desk)), *arguments)
    needed = files(families.of_package(desk), desk.source)
    scripts = {name: desk.read(name) for name in needed if name not in _OTHER.get(script, ())}
    return sandbox.run(command, scripts, (sandbox.STDOUT,), timeout=TIMEOUT)[sandbox.STDOUT]


def _place(desk: Desk) -> Path:
    """Return the folder of the checkpoint; each file in it that a script reads is a dependency."""
    weights = [each["name"] for each in desk.entry(FULL_MODEL, "checkpoint", "files")]
    for name in desk.trained_names(CHECKPOINT):
        if name in weights or name.endswith(_TEXT):
            desk.trained_digest(f"{CHECKPOINT}/{name}")
    return desk.trained_place(f"{CHECKPOINT}/config.json").parent
