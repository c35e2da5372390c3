"""Generated Python in a subprocess: a scratch folder, a clean environment, one thread."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from metagen.errors import Problem, TaskError

SHOWN_LINES = 12
STDOUT = "stdout"
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
        wanted: Paths to bring back; `STDOUT` is what the program printed.
        timeout: Seconds after which the program is killed.
        module_path: A folder to import from, besides the installed libraries.
        on_line: Called with each line of standard error as it comes.

    Raises:
        TaskError: The program failed, took too long, or left a wanted file out.
    """
    with tempfile.TemporaryDirectory(prefix="metagen-") as folder:
        scratch = Path(folder)
        for name, data in files.items():
            (scratch / name).parent.mkdir(parents=True, exist_ok=True)
            (scratch / name).write_bytes(data)
        _run(arguments, scratch, timeout, module_path, on_line)
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
    timeout: float,
    module_path: Path | None,
    on_line: Callable[[str], None],
) -> None:
    with (scratch / STDOUT).open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=scratch,
            env=environment(scratch, module_path),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
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
            tail = _follow(process, on_line)
            status = process.wait()
    finally:
        timer.cancel()
        _kill(process)
    if late.is_set():
        raise TaskError(f"{_shown(arguments)} was stopped after {timeout:.0f} seconds")
    if status:
        raise TaskError(Problem(_failure(arguments, status), hint="\n  ".join(tail)))


def _follow(process: subprocess.Popen[str], on_line: Callable[[str], None]) -> deque[str]:
    """Pass on each line of standard error as it comes, and return the last ones."""
    tail: deque[str] = deque(maxlen=SHOWN_LINES)
    for line in process.stderr or ():
        if text := line.rstrip():
            tail.append(text)
            on_line(text)
    return tail


@contextmanager
def _terminable() -> Iterator[None]:
    """Turn SIGTERM into an exception, unless someone does already: no program outlives a build."""
    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
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


def _result(path: Path, name: str, arguments: Sequence[str]) -> bytes:
    if not path.is_file():
        raise TaskError(f"{_shown(arguments)} did not write {name}")
    return path.read_bytes()
