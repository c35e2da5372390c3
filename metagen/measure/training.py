"""A training of the generated code, and its scoring, each in a subprocess with one thread."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from metagen.errors import TaskError
from metagen.measure import sandbox

OUT = "out"  # default of the scripts' --out
STEP = re.compile(r"step (\d+)/(\d+): (.*)")
TIMEOUT = 3600
TOKENIZER = "code/runtime/tokenizer.py"  # if a package has it, checkpoints contain a tokenizer
Files = Mapping[str, bytes]
Progress = Callable[[int, int, str], None]  # Steps done, steps in all, and their losses.


@dataclass
class Left:
    """What a training leaves.

    Attributes:
        checkpoint: The files of the checkpoint.
        curve: The lines of its record.
        run: Its entry in run.json: `data` (name, digest and unit, and how much of it each split
            has), `units` that were read, `memory_peak` and so on.
        seconds: CPU time of training and scoring.
        more: The further files.
    """

    checkpoint: dict[str, bytes] = field(default_factory=dict)
    curve: list[dict[str, Any]] = field(default_factory=list)
    run: dict[str, Any] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    more: dict[str, bytes] = field(default_factory=dict)


def trained(
    files: Files,
    command: Sequence[str],
    progress: Progress,
    more: Sequence[str] = (),
    timeout: float = TIMEOUT,
    python: sandbox.Python | None = None,
) -> Left:
    """Train the code of a package.

    Args:
        files: The scripts of `code/`, what they import, and `code/config.json`.
        command: `train.py` and its arguments.
        progress: Called after steps; an exception that it raises ends the training.
        more: Further files that the script leaves, to return.
        timeout: Seconds after which it is stopped.
        python: What runs it; a Python of its own if there is none.

    Raises:
        TaskError: The script failed; the error shows its last output.
    """
    tokenizer = ("tokenizer.json",) if TOKENIZER in files else ()
    names = ("model.safetensors", "config.json", "state.json", *tokenizer)
    checkpoint = [f"{OUT}/checkpoint/{name}" for name in names]
    record, about = f"{OUT}/metrics.jsonl", f"{OUT}/run.json"
    outputs = (*checkpoint, record, about, sandbox.SECONDS, *more)
    left = _run(files, command, outputs, progress, timeout, python)
    beside = {name: left.pop(name) for name in more}
    seconds = float(left.pop(sandbox.SECONDS))
    lines = left.pop(record).decode().splitlines()
    run = json.loads(left.pop(about))["starts"][-1]
    return Left(left, [json.loads(line) for line in lines], run, {"training": seconds}, beside)


def scored(
    files: Files, command: Sequence[str], progress: Progress
) -> tuple[dict[str, Any], float]:
    """Return the report that `eval.py` prints on a checkpoint, and the seconds that it took.

    Args:
        files: What `trained` takes, and the checkpoint that it left.
        command: `eval.py` and its arguments.
        progress: Called after steps.

    Raises:
        TaskError: The script failed, or printed something other than its report.
    """
    printed = _run(files, command, (sandbox.STDOUT, sandbox.SECONDS), progress, TIMEOUT)
    try:
        report: dict[str, Any] = json.loads(printed[sandbox.STDOUT])
    except ValueError as error:
        raise TaskError("code/eval.py printed something other than its JSON report") from error
    return report, float(printed[sandbox.SECONDS])


def _run(
    files: Files,
    command: Sequence[str],
    outputs: Sequence[str],
    progress: Progress,
    timeout: float,
    python: sandbox.Python | None = None,
) -> dict[str, bytes]:
    def report(line: str) -> None:
        if match := STEP.search(line):
            progress(int(match[1]), int(match[2]), match[3])

    arguments = (f"code/{command[0]}", *command[1:])
    return (python or sandbox.run)(arguments, files, outputs, timeout=timeout, on_line=report)
