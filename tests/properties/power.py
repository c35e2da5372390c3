"""Power cuts at random moments: what had reached the disk is enough for the next build.

A build works in a file system of its own, in a file. What that file holds at some moment is what a
power cut would leave: bytes that no process waited for are still in memory. A copy of it is
mounted, and the next build must need no flag and end in the bytes of one that was not cut off; an
edit by hand from before stays. Needs the right to mount.
"""

from __future__ import annotations

import filecmp
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from . import inside, outside
from .inside import Tree
from .lab import Lab
from .tally import Tally

FULL = 60
_SIZE = 32 * 2**20  # bytes of a file system
_STARTS = ("cold", "incremental", "edited")
_EDIT = ("description=edited before the power cut", "seed=8")
_BY_HAND = b"\nBy hand.\n"
# Without ext4's own help for programs that do not wait for the disk.
_MOUNT = ("mount", "-o", "loop,noauto_da_alloc")


@dataclass(frozen=True)
class _Start:
    """What a build starts from: a file system, how long it takes, and the package it makes."""

    image: Path
    seconds: float
    expected: Tree


def measure(lab: Lab) -> Tally:
    """Cut builds off, look at what the disk had, and build once more."""
    tally = Tally("power")
    tally.must_not("stale", "tracebacks")
    with lab.folder() as folder:
        if not _may_mount(folder):
            tally.count("not measured: this user may not mount")
            return tally
        starts = [_start(kind, lab.specs[-1], folder) for kind in _STARTS]
        for number in lab.progress("power", range(lab.size(FULL))):
            with lab.folder() as place:
                moment = lab.chance(f"power {number}").random()
                start = starts[number % len(starts)]
                label = f"#{number} at {moment:.0%} of a build: {start.image.stem}"
                _measure(label, lab.specs[-1], start, moment, place, tally)
    return tally


def _may_mount(folder: Path) -> bool:
    if os.geteuid() or not shutil.which("mkfs.ext4") or not shutil.which("mount"):
        return False
    image, place = _formatted(folder / "try.img"), folder / "try"
    place.mkdir()
    if subprocess.run([*_MOUNT, image, place], capture_output=True, check=False).returncode:
        return False
    subprocess.run(["umount", place], check=True)
    return True


def _formatted(image: Path) -> Path:
    with image.open("wb") as stream:
        stream.truncate(_SIZE)
    subprocess.run(["mkfs.ext4", "-q", image], check=True)
    return image


@contextmanager
def _mounted(image: Path) -> Iterator[Path]:
    """Yield an out folder in a file system."""
    place = image.with_suffix("")
    place.mkdir(exist_ok=True)
    subprocess.run([*_MOUNT, image, place], check=True)
    try:
        yield place / "out"
    finally:
        subprocess.run(["umount", place], check=True)


def _command(spec: Path, out: Path, *more: str) -> tuple[str, ...]:
    return ("synth", str(spec), "--out", str(out), *more)


def _start(kind: str, spec: Path, folder: Path) -> _Start:
    """Make what a kind of build starts from, and do that build once, with the power on."""
    image = _formatted(folder / f"{kind}.img")
    with _mounted(image) as out:
        if kind != "cold":
            outside.metagen(*_command(spec, out))
        if kind == "edited":
            card = next(out.glob("run-*/docs/limitations.md"))
            card.write_bytes(card.read_bytes() + _BY_HAND)
    whole = Path(shutil.copyfile(image, folder / "whole.img"))
    with _mounted(whole) as out:
        started = time.monotonic()
        result = outside.metagen(*_command(spec, out, *_EDIT))
        assert result.returncode == 0, result.stderr
        return _Start(image, time.monotonic() - started, inside.tree(out))


def _measure(
    label: str, spec: Path, start: _Start, moment: float, place: Path, tally: Tally
) -> None:
    """Cut the power, and build once more from what is on the disk."""
    with _mounted(_cut(spec, start, moment, place, tally)) as out:
        result = outside.metagen(*_command(spec, out, *_EDIT))
        wrong = inside.difference(inside.tree(out), start.expected)
    right = not wrong and result.returncode == 0
    case = f"{label}: status {result.returncode}; {result.stderr[-300:]}"
    tally.check(right, "stale", f"{case}; {wrong}")
    tally.check("Traceback" not in result.stderr, "tracebacks", case)


def _cut(spec: Path, start: _Start, moment: float, place: Path, tally: Tally) -> Path:
    """Return the file system that a power cut during a build leaves."""
    image, left = Path(shutil.copyfile(start.image, place / "work.img")), place / "left.img"
    with _mounted(image) as out:
        process = outside.start(*_command(spec, out, *_EDIT))
        time.sleep(moment * start.seconds)
        tally.count("cuts while a build was at work", process.poll() is None)
        _signal(process, signal.SIGSTOP)
        shutil.copyfile(image, left)
        while not filecmp.cmp(image, left, shallow=False):  # the kernel wrote meanwhile
            shutil.copyfile(image, left)
        _signal(process, signal.SIGKILL)
        process.communicate()
    tally.count("cuts")
    return left


def _signal(process: subprocess.Popen[str], number: int) -> None:
    with suppress(ProcessLookupError):  # it was done already
        os.killpg(process.pid, number)
