"""Python that has the libraries of a package in memory, for many short trainings of its code.

Importing torch takes longer than many trainings of a scaled-down model. One process imports it,
and each training is a fork of that process: it begins with the imports, and leaves nothing to the
next one.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import secrets
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from metagen import programs
from metagen.measure import sandbox, warm_worker
from metagen.programs import Ended

REQUIREMENTS = "code/requirements.txt"
_SHELLS = 10  # A shell names files below this number.
_WITH = {"torch": ("torch", "torch._dynamo")}  # What torch's optimizers import when they begin.


@contextmanager
def python(package: Mapping[str, bytes]) -> Iterator[sandbox.Python]:
    """Yield what runs Python on the code of a package, as `sandbox.run` does.

    Forks are safe on Linux; elsewhere each run imports its libraries anew.
    """
    if sys.platform != "linux":
        yield sandbox.run
        return
    warm = _Warm(_modules(package.get(REQUIREMENTS, b"").decode()))
    try:
        yield warm.run
    finally:
        warm.close()


def _modules(requirements: str) -> tuple[str, ...]:
    names = [re.split(r"[<>=~\[]", line)[0] for line in requirements.split()]
    return tuple(module for name in names for module in _WITH.get(name, (name,)))


@dataclass
class _Process:
    """The process whose forks run the programs.

    Attributes:
        leashed: The process.
        requests: An open file that takes a line of JSON for each program.
        mark: Begins a line of standard error in which no program speaks, in JSON: of the
            `program` that has begun, a process id, and of how that ended, `status` and `seconds`.
    """

    leashed: subprocess.Popen[str]
    requests: int
    mark: str
    program: int = 0

    @classmethod
    def start(cls, modules: Sequence[str]) -> _Process:
        reading, writing = _pipe()
        mark = f"{secrets.token_hex(8)} "
        command = (sys.executable, warm_worker.__file__, str(reading), mark, *modules)
        try:
            environment = sandbox.environment(Path("/"), None)
            leashed = programs.started(
                command, environment, Path("/"), subprocess.DEVNULL, (reading,)
            )
        finally:
            os.close(reading)
        return cls(leashed, writing, mark)

    def ask(self, request: Mapping[str, Any]) -> None:
        """Let it run a program."""
        # A process that has ended tells why where its lines are read.
        with suppress(BrokenPipeError):
            os.write(self.requests, json.dumps(request).encode() + b"\n")

    def lines(self) -> Iterator[str | dict[str, Any]]:
        """Yield what a program prints, then how it ended, if the process outlives it."""
        for line in self.leashed.stderr or ():
            if not line.startswith(self.mark):
                yield line.rstrip()
                continue
            told = json.loads(line.removeprefix(self.mark))
            self.program = told.get("program", self.program)
            if "status" in told:
                yield told
                return

    def end_program(self) -> None:
        """Kill the program that it runs, and go on to the next one."""
        with suppress(ProcessLookupError):
            os.kill(self.program, signal.SIGKILL)
        for _ in self.lines():
            pass

    def close(self) -> None:
        """Kill it and the program that it runs."""
        programs.kill(self.leashed)
        if self.leashed.stderr:
            self.leashed.stderr.close()
        os.close(self.requests)


def _pipe() -> tuple[int, int]:
    """Return both ends of a pipe, with numbers that no shell of a leash uses for its own files."""
    ends = os.pipe()
    try:
        reading, writing = (fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, _SHELLS) for end in ends)
    finally:
        for end in ends:
            os.close(end)
    return reading, writing


class _Warm:
    """Runs one program after another in forks of a process, which starts with the first one."""

    def __init__(self, modules: Sequence[str]) -> None:
        self._modules = modules
        self._process: _Process | None = None

    def close(self) -> None:
        if self._process:
            self._process.close()
        self._process = None

    def run(
        self,
        arguments: Sequence[str],
        files: Mapping[str, bytes],
        outputs: Sequence[str],
        *,
        timeout: float,
        on_line: Callable[[str], None] = lambda line: None,
    ) -> dict[str, bytes]:
        """Run python as `sandbox.run` does."""
        with programs.scratch() as place:
            programs.fill(place, files)
            try:
                ended = self._ended(place, arguments, outputs, timeout, on_line)
            except (KeyboardInterrupt, SystemExit):
                self.close()
                raise
        sandbox.check(ended, " ".join(("python", *arguments)), outputs, timeout)
        return dict(ended.left)

    def _ended(
        self,
        place: Path,
        arguments: Sequence[str],
        outputs: Sequence[str],
        timeout: float,
        on_line: Callable[[str], None],
    ) -> Ended:
        process = self._process = self._process or _Process.start(self._modules)
        environment = sandbox.environment(place, None)
        request = {"folder": str(place), "arguments": arguments, "environment": environment}
        process.ask(request)
        with programs.limited(process.leashed, timeout) as late:
            try:
                tail, how = _followed(process, on_line)
            except Exception:
                process.end_program()
                raise
        if how is None:
            self.close()
            return Ended(process.leashed.returncode, late.is_set(), tail, {})
        left = programs.left_in(place, how["seconds"], outputs)
        return Ended(how["status"], False, tail, left)


def _followed(
    process: _Process, on_line: Callable[[str], None]
) -> tuple[tuple[str, ...], dict[str, Any] | None]:
    """Pass on the lines of a program; return the last ones, and how it ended if that is known."""
    tail: deque[str] = deque(maxlen=programs.SHOWN_LINES)
    for line in process.lines():
        if isinstance(line, dict):
            return tuple(tail), line
        if line:
            tail.append(line)
            on_line(line)
    return tuple(tail), None
