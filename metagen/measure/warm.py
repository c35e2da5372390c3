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
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
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
        mark: Begins a line of standard error in which no program speaks, but the process, in JSON.
        told: What it has said of the program: `program`, its process id, then `status` and
            `seconds`, when that has ended.
    """

    leashed: subprocess.Popen[str]
    requests: int
    mark: str
    told: dict[str, Any] = field(default_factory=dict)

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
        self.told = {}
        # A process that has ended tells why where its lines are read.
        with suppress(BrokenPipeError):
            os.write(self.requests, json.dumps(request).encode() + b"\n")

    def lines(self) -> Iterator[str]:
        """Yield what the program prints, until it ends or the process does."""
        for line in self.leashed.stderr or ():
            if not line.startswith(self.mark):
                yield line
                continue
            self.told |= json.loads(line.removeprefix(self.mark))
            if "status" in self.told:
                return

    def end_program(self) -> None:
        """Kill the program that it runs, and go on to the next one."""
        if program := self.told.get("program"):
            with suppress(ProcessLookupError):
                os.kill(program, signal.SIGKILL)
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
        process.ask(
            {
                "folder": str(place),
                "output": programs.STDOUT,
                "arguments": arguments,
                "environment": environment,
            }
        )
        with programs.limited(process.leashed, timeout) as late:
            try:
                tail = programs.follow(process.lines(), on_line)
            except Exception:
                process.end_program()
                raise
        if "status" not in process.told:
            self.close()
            return Ended(process.leashed.returncode, late.is_set(), tail, {})
        left = programs.left_in(place, process.told["seconds"], outputs)
        return Ended(process.told["status"], False, tail, left)
