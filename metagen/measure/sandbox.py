"""Generated Python in a subprocess: a scratch folder, a clean environment, one thread."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from metagen import programs
from metagen.errors import Problem, TaskError
from metagen.programs import SECONDS, STDOUT, Ended

__all__ = ["SECONDS", "STDOUT", "Python", "check", "environment", "run"]
Python = Callable[..., dict[str, bytes]]  # As `run`.


def run(
    arguments: Sequence[str],
    files: Mapping[str, bytes],
    outputs: Sequence[str],
    *,
    timeout: float,
    module_path: Path | None = None,
    on_line: Callable[[str], None] = lambda line: None,
) -> dict[str, bytes]:
    """Run python on some files in a scratch folder and return its output files.

    Args:
        arguments: The arguments of `python`, such as `("code/train.py", "--steps", "10")`.
        files: The contents of the scratch folder, by relative path.
        outputs: Paths to return; `STDOUT` is the standard output, and `SECONDS` the
            seconds of CPU time that the program took.
        timeout: Seconds after which the program is killed.
        module_path: A folder to import from, besides the installed libraries.
        on_line: Called with each line of standard error as it is printed.

    Raises:
        TaskError: The program failed, took too long, or did not write an output.
    """
    ended = programs.run(
        lambda scratch: (sys.executable, *arguments),
        lambda scratch: environment(scratch, module_path),
        files,
        outputs,
        timeout=timeout,
        on_line=on_line,
    )
    check(ended, " ".join(("python", *arguments)), outputs, timeout)
    return dict(ended.left)


def check(ended: Ended, command: str, outputs: Sequence[str], timeout: float) -> None:
    """Raise a TaskError unless a program ended well, in time, and wrote its outputs."""
    if ended.late:
        raise TaskError(f"{command} was stopped after {timeout:.0f} seconds")
    if ended.status:
        raise TaskError(Problem(f"{command} {_failure(ended)}", hint="\n  ".join(ended.tail)))
    for name in outputs:
        if name not in ended.left:
            raise TaskError(f"{command} did not write {name}")


def environment(scratch: Path, module_path: Path | None) -> dict[str, str]:
    """Return the environment of the program: no user settings, one thread, no GPU."""
    fixed = {
        "HOME": str(scratch),
        "TMPDIR": str(scratch),
        "PATH": "/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "CUDA_VISIBLE_DEVICES": "",
        "OMP_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
        "PYTHONHASHSEED": "0",
        "PYTHONNOUSERSITE": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUTF8": "1",
    }
    return fixed | ({"PYTHONPATH": str(module_path)} if module_path else {})


def _failure(ended: Ended) -> str:
    status = ended.status
    return f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"
