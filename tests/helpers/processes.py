"""Scripts of a package in several processes that find each other at a port, as torchrun does it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

# Importing torch takes a second, so the lines of a test share their processes; each has a port.
_IN_TURN = """
import json, os, runpy, sys
for port, line in json.loads(sys.argv[1]):
    os.environ["MASTER_PORT"], sys.argv = port, line
    runpy.run_path(line[0], run_name="__main__")
"""


def start(folder: Path, *line: object, count: int = 2) -> list[subprocess.Popen[str]]:
    """Start a line of Python's arguments in some processes, in the code of a package."""
    shared = os.environ | {"MASTER_ADDR": "localhost", "MASTER_PORT": free_port()}
    shared |= {"WORLD_SIZE": str(count), "OMP_NUM_THREADS": "1"}
    return [
        subprocess.Popen(
            [sys.executable, *map(str, line)],
            cwd=folder,
            env=shared | {"RANK": str(n), "LOCAL_RANK": str(n)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for n in range(count)
    ]


def finish(started: Sequence[subprocess.Popen[str]]) -> list[tuple[str, str]]:
    """Return the standard output and error of processes, all of which must end well."""
    said = [process.communicate(timeout=300) for process in started]
    assert [process.returncode for process in started] == [0] * len(started), said
    return said


def run_in_turn(folder: Path, *lines: Sequence[object]) -> None:
    """Run lines, each a script with its options, one after the other in the same two processes."""
    listed = json.dumps([(free_port(), [str(part) for part in line]) for line in lines])
    finish(start(folder, "-c", _IN_TURN, listed))


def free_port() -> str:
    with socket.socket() as free:
        free.bind(("localhost", 0))
        return str(free.getsockname()[1])
