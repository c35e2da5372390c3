"""The metagen command in processes of its own, with measurements that cost next to nothing."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent.parent
LIMIT = 120.0  # seconds after which a command counts as stuck


def command(*arguments: str) -> list[str]:
    """Return the command line of metagen with faked measurements."""
    return [sys.executable, "-m", "tests.properties.faked", *arguments]


def environment(**more: str) -> dict[str, str]:
    """Return the environment of a command, from which this repository is imported."""
    return os.environ | {"PYTHONPATH": str(REPOSITORY)} | more


def metagen(
    *arguments: str, cwd: Path | None = None, **more: str
) -> subprocess.CompletedProcess[str]:
    """Run a command of metagen to its end; one that is stuck has the status -1."""
    try:
        return subprocess.run(
            command(*arguments), cwd=cwd, env=environment(**more), capture_output=True, text=True,
            timeout=LIMIT, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(arguments, -1, "", f"stuck for {LIMIT:.0f} seconds")


def doit(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run plain doit on dodo.py to its end."""
    return metagen("doit", *arguments, cwd=REPOSITORY)


def start(*arguments: str, cwd: Path | None = None, **more: str) -> subprocess.Popen[str]:
    """Start a command of metagen in a process group of its own."""
    return subprocess.Popen(
        command(*arguments), cwd=cwd, env=environment(**more), text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip


def noted(log: Path, word: str) -> Counter[str]:
    """Return how often each task stands in a log of `faked` with a word: began or ended."""
    lines = log.read_text().splitlines() if log.is_file() else []
    return Counter(line.split(" ", 1)[1] for line in lines if line.startswith(f"{word} "))


def wait_for(log: Path, word: str, limit: float = LIMIT) -> bool:
    """Wait until a log of `faked` has a line that starts with a word."""
    end = time.monotonic() + limit
    while time.monotonic() < end:
        if log.is_file() and any(line.startswith(word) for line in log.read_text().splitlines()):
            return True
        time.sleep(0.005)
    return False


def inhabitants(folder: Path) -> list[int]:
    """Return the processes, other than this one, that work in a folder or below it."""
    return [pid for pid, cwd in _working() if cwd.startswith(str(folder)) and pid != os.getpid()]


def _working() -> Iterator[tuple[int, str]]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                yield int(entry.name), str((entry / "cwd").readlink())
            except OSError:
                continue


def left_over(folder: Path) -> list[str]:
    """Return the temporary files in the run folders below an out folder."""
    return sorted(str(p.relative_to(folder)) for p in folder.glob("run-*/**/.*"))


def files_of(folder: Path) -> Mapping[str, bytes]:
    """Return every file below a folder, by its path in it."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
