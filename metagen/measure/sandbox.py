"""Generated Python in a subprocess: a scratch folder, a clean environment, one thread."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from metagen.errors import Problem, TaskError

SHOWN_LINES = 12
TERMINATED = 128 + signal.SIGTERM


def run(
    arguments: Sequence[str],
    files: Mapping[str, bytes],
    wanted: Sequence[str],
    *,
    timeout: float,
    module_path: Path | None = None,
    on_line: Callable[[str], None] = lambda line: None,
) -> dict[str, bytes]:
    """Run python on some files in a scratch folder and return the files it leaves.

    Args:
        arguments: What follows `python`, such as `("code/train.py", "--steps", "10")`.
        files: The contents of the scratch folder, by relative path.
        wanted: Paths to bring back; `stdout` stands for what the program printed.
        timeout: Seconds after which the program is killed.
        module_path: A folder to import from, besides the installed libraries.
        on_line: Called with each line of standard output as it comes.

    Raises:
        TaskError: The program failed, took too long, or left a wanted file out.
    """
    with tempfile.TemporaryDirectory(prefix="metagen-") as folder:
        scratch = Path(folder)
        for name, data in files.items():
            (scratch / name).parent.mkdir(parents=True, exist_ok=True)
            (scratch / name).write_bytes(data)
        with (scratch / ".stderr").open("w+b") as errors:
            lines = _run(arguments, scratch, errors.fileno(), timeout, module_path, on_line)
        (scratch / "stdout").write_text("".join(lines))
        return {name: _result(scratch / name, name, arguments) for name in wanted}


def environment(scratch: Path, module_path: Path | None) -> dict[str, str]:
    """Return all that the program sees of the machine: no user settings, one thread, no GPU."""
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


def _run(
    arguments: Sequence[str],
    scratch: Path,
    errors: int,
    timeout: float,
    module_path: Path | None,
    on_line: Callable[[str], None],
) -> list[str]:
    process = subprocess.Popen(
        [sys.executable, *arguments],
        cwd=scratch,
        env=environment(scratch, module_path),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=errors,
        text=True,
        start_new_session=True,
    )
    late = threading.Event()

    def stop() -> None:
        late.set()
        _kill(process)

    timer = threading.Timer(timeout, stop)
    timer.start()
    try:
        with _terminable():
            lines = _lines(process, on_line)
            status = process.wait()
    finally:
        timer.cancel()
        _kill(process)
    if late.is_set():
        raise TaskError(f"{_shown(arguments)} was stopped after {timeout:.0f} seconds")
    if status:
        raise TaskError(Problem(_failure(arguments, status), hint=_tail(scratch / ".stderr")))
    return lines


def _lines(process: subprocess.Popen[str], on_line: Callable[[str], None]) -> list[str]:
    lines = []
    for line in process.stdout or ():
        lines.append(line)
        on_line(line.rstrip("\n"))
    return lines


@contextmanager
def _terminable() -> Iterator[None]:
    """Turn SIGTERM into an exception, so that the program does not outlive the build."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = signal.signal(signal.SIGTERM, _exit)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


def _exit(number: int, frame: FrameType | None) -> None:
    raise SystemExit(TERMINATED)


def _kill(process: subprocess.Popen[str]) -> None:
    """Kill the program and all that it started."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    process.wait()


def _shown(arguments: Sequence[str]) -> str:
    return " ".join(("python", *arguments))


def _failure(arguments: Sequence[str], status: int) -> str:
    ended = f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"
    return f"{_shown(arguments)} {ended}"


def _tail(errors: Path) -> str:
    """Return the last lines of standard error; of a progress bar, its last state."""
    lines = errors.read_text(errors="replace").split("\n")
    shown = [line.rsplit("\r", 1)[-1] for line in lines if line.strip()]
    return "\n  ".join(shown[-SHOWN_LINES:])


def _result(path: Path, name: str, arguments: Sequence[str]) -> bytes:
    if not path.is_file():
        raise TaskError(f"{_shown(arguments)} did not write {name}")
    return path.read_bytes()
