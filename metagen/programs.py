"""Other programs: in a scratch folder, with an environment of their own, none outliving the build.

When this process ends, even by SIGKILL, the operating system closes its pipes. Two small shells
wait for that. The *leash* belongs to a program, and kills it with everything that it started. The
*keeper* belongs to a scratch folder, and removes it; it is started before the folder is made, so
this process can be killed at any moment without leaving one.
"""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

SHOWN_LINES = 12  # Last lines of standard error that an error message shows.
STDOUT = "stdout"  # Name of the file in the scratch folder that receives standard output.
SECONDS = "seconds"  # Name of the result that holds the CPU time of the program.
# The shell itself becomes the program (exec), so that the program has the process id that Python
# knows. The watcher in the background closes its outputs, or Python would wait for it to end.
_LEASH = (
    "exec 3<&0; (read -r _ <&3; kill -KILL $$; kill -KILL 0) >/dev/null 2>&1 & "
    'exec "$@" 3<&- </dev/null'
)
# A program that is being killed may still write into the folder, which makes `rm` fail.
_KEEPER = 'read -r _; for _ in 1 2 3 4 5; do rm -rf "$0" && exit; sleep 1; done'


@dataclass(frozen=True)
class Ended:
    """How a program ended.

    Attributes:
        status: Its exit status; a signal's number, negative, when it was killed.
        late: Whether it was killed at the timeout.
        tail: The last lines of its standard error.
        left: The requested files that exist; `STDOUT` is what it printed, and `SECONDS` its seconds
            of CPU time, which other programs change little, as text with one decimal.
    """

    status: int
    late: bool
    tail: tuple[str, ...]
    left: Mapping[str, bytes]


@contextmanager
def scratch() -> Iterator[Path]:
    """Yield a new folder that is removed afterwards, even if this process is killed meanwhile."""
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
    results: Sequence[str],
    *,
    timeout: float,
    folder: str = ".",
    on_line: Callable[[str], None] = lambda line: None,
) -> Ended:
    """Run a program on some files in a scratch folder and return its results.

    Args:
        command: From the scratch folder to the program and its arguments.
        environment: From the scratch folder to the whole environment of the program.
        files: The contents of the scratch folder, by relative path.
        results: Relative paths of the files to return.
        timeout: Seconds after which the program is killed.
        folder: The current folder of the program, inside the scratch folder.
        on_line: Called with each line of standard error when it is printed.
    """
    with scratch() as place:
        fill(place, files)
        with (place / STDOUT).open("wb") as output:
            process = started(command(place), environment(place), place / folder, output)
        status, late, tail, seconds = _wait(process, timeout, on_line)
        return Ended(status, late, tail, left_in(place, seconds, results))


def fill(place: Path, files: Mapping[str, bytes]) -> None:
    """Write the contents of a scratch folder, by relative path."""
    for name, data in files.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(data)


def left_in(place: Path, seconds: float, results: Sequence[str]) -> dict[str, bytes]:
    """Return the requested files of a scratch folder that exist, after so much CPU time."""
    (place / SECONDS).write_text(f"{seconds:.1f}")
    paths = {name: place / name for name in results}
    return {name: path.read_bytes() for name, path in paths.items() if path.is_file()}


def started(
    command: Sequence[str],
    environment: Mapping[str, str],
    folder: Path,
    output: IO[bytes] | int,
    inherited: Sequence[int] = (),
) -> subprocess.Popen[str]:
    """Start a program on a leash; its standard error is a pipe of text.

    Args:
        command: The program and its arguments.
        environment: All of its environment.
        folder: Its current folder.
        output: What receives its standard output.
        inherited: Open files that it gets by the same numbers.
    """
    return subprocess.Popen(
        ["/bin/sh", "-c", _LEASH, "leash", *command],
        cwd=folder,
        env=dict(environment),
        stdin=subprocess.PIPE,
        stdout=output,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,
        pass_fds=tuple(inherited),
    )


def _wait(
    process: subprocess.Popen[str], timeout: float, on_line: Callable[[str], None]
) -> tuple[int, bool, tuple[str, ...], float]:
    """Wait for a program to end; return status, whether it was late, last lines and CPU time."""
    try:
        with limited(process, timeout) as late:
            tail = follow(process.stderr or (), on_line)
            seconds = _reap(process)
    finally:
        kill(process)
    return process.returncode, late.is_set(), tail, seconds


@contextmanager
def limited(process: subprocess.Popen[str], timeout: float) -> Iterator[threading.Event]:
    """Kill a program that takes more seconds than this, and set the event that is yielded."""
    late = threading.Event()

    def stop() -> None:
        late.set()
        kill(process)

    timer = threading.Timer(timeout, stop)
    timer.start()
    try:
        yield late
    finally:
        timer.cancel()


def _reap(process: subprocess.Popen[str]) -> float:
    """Wait for a program to end; return its seconds of CPU time, 0 if it was killed meanwhile."""
    try:
        _, status, usage = os.wait4(process.pid, 0)
    except ChildProcessError:  # The kill at the timeout has waited for it.
        process.wait()
        return 0.0
    process.returncode = os.waitstatus_to_exitcode(status)
    return usage.ru_utime + usage.ru_stime


def follow(lines: Iterable[str], on_line: Callable[[str], None]) -> tuple[str, ...]:
    """Pass on each line of standard error that is not empty, and return the last ones."""
    tail: deque[str] = deque(maxlen=SHOWN_LINES)
    for line in lines:
        if text := line.rstrip():
            tail.append(text)
            on_line(text)
    return tuple(tail)


def kill(process: subprocess.Popen[str]) -> None:
    """Kill a program, its leash and everything that it started: they are one process group."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    if process.stdin:
        process.stdin.close()
