"""Other programs: in a scratch folder, with an environment of their own, none outliving the build.

A program gets its files in a new folder that goes with it. It hangs on a leash: when this process
ends, however it ends, a small shell notices that its standard input is closed, and kills the
program with all that it started. Another such shell keeps the folder and removes it; it stands by
before there is a folder, so that this process can end at any moment and leave none.
"""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

SHOWN_LINES = 12
STDOUT = "stdout"
# The shell becomes the program; what watches lets go of the program's output.
_LEASH = (
    "exec 3<&0; (read -r _ <&3; kill -KILL $$; kill -KILL 0) >/dev/null 2>&1 & "
    'exec "$@" 3<&- </dev/null'
)
# A program that is killed just then may still write, so that the first try fails.
_KEEPER = 'read -r _; for _ in 1 2 3 4 5; do rm -rf "$0" && exit; sleep 1; done'


@dataclass(frozen=True)
class Ended:
    """How a program ended.

    Attributes:
        status: Its exit status; a signal's number, negative, when it was killed.
        late: Whether it was stopped because it took too long.
        tail: The last lines of its standard error.
        left: The wanted files that it left; `STDOUT` is what it printed.
    """

    status: int
    late: bool
    tail: tuple[str, ...]
    left: Mapping[str, bytes]


@contextmanager
def scratch() -> Iterator[Path]:
    """Yield a new folder that goes afterwards, even when this process is killed meanwhile."""
    folder = Path(tempfile.gettempdir()).resolve() / f"metagen-{secrets.token_hex(8)}"
    keeper = subprocess.Popen(
        ["/bin/sh", "-c", _KEEPER, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        folder.mkdir(mode=0o700)
        yield folder
    finally:
        keeper.communicate()


def run(
    command: Callable[[Path], Sequence[str]],
    environment: Callable[[Path], Mapping[str, str]],
    files: Mapping[str, bytes],
    wanted: Sequence[str],
    *,
    timeout: float,
    folder: str = ".",
    on_line: Callable[[str], None] = lambda line: None,
) -> Ended:
    """Run a program on some files and return what it left.

    Args:
        command: From the scratch folder to the program and its arguments.
        environment: From the scratch folder to all that the program sees of the environment.
        files: The contents of the scratch folder, by relative path.
        wanted: Paths to bring back.
        timeout: Seconds after which the program is killed.
        folder: The folder inside that the program starts in.
        on_line: Called with each line of standard error as it comes.
    """
    with scratch() as place:
        for name, data in files.items():
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            (place / name).write_bytes(data)
        with (place / STDOUT).open("wb") as output:
            process = subprocess.Popen(
                ["/bin/sh", "-c", _LEASH, "leash", *command(place)],
                cwd=place / folder,
                env=dict(environment(place)),
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.PIPE,
                text=True,
                errors="replace",
                start_new_session=True,
            )
        status, late, tail = _waited(process, timeout, on_line)
        found = {name: place / name for name in wanted}
        left = {name: path.read_bytes() for name, path in found.items() if path.is_file()}
        return Ended(status, late, tail, left)


def _waited(
    process: subprocess.Popen[str], timeout: float, on_line: Callable[[str], None]
) -> tuple[int, bool, tuple[str, ...]]:
    """Wait for a program to end; return its status, whether it was late, and its last lines."""
    late = threading.Event()

    def stop() -> None:
        late.set()
        _kill(process)

    timer = threading.Timer(timeout, stop)
    timer.start()
    try:
        tail = _follow(process, on_line)
        status = process.wait()
    finally:
        timer.cancel()
        _kill(process)
    return status, late.is_set(), tuple(tail)


def _follow(process: subprocess.Popen[str], on_line: Callable[[str], None]) -> deque[str]:
    """Pass on each line of standard error as it comes, and return the last ones."""
    tail: deque[str] = deque(maxlen=SHOWN_LINES)
    for line in process.stderr or ():
        if text := line.rstrip():
            tail.append(text)
            on_line(text)
    return tail


def _kill(process: subprocess.Popen[str]) -> None:
    """Kill a program, all that it started, and its leash."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    if process.stdin:
        process.stdin.close()
