"""A disk that is full, or that may not be written to: a sentence, status 1, and a later recovery.

Where this user may mount, a small file system in memory is filled; everywhere, files are limited
in size. Both come at a random size, cold and incremental.
"""

from __future__ import annotations

import resource
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from . import inside, outside
from .inside import Tree
from .lab import Lab
from .tally import Tally

FULL = 24
_LARGEST = 400_000  # bytes, about what a package and its state take together
_EDIT = ("description=on a full disk", "seed=3")


def measure(lab: Lab) -> Tally:
    """Fill disks, limit files, forbid writing; then give room and build again."""
    tally = Tally("disk")
    tally.must_not("tracebacks", "unclear", "stale", "temporary files")
    spec = lab.specs[-1]
    with lab.folder() as folder:
        lab.begin(folder / "before", spec)
        clean = inside.build(folder / "clean", spec, _EDIT).tree
        for number in lab.progress("disk", range(lab.size(FULL))):
            size = lab.chance(f"disk {number}").randrange(_LARGEST)
            with lab.folder() as place, _room(place, number, size) as (kind, out, limit, more):
                if number // 2 % 2:
                    _fitting(folder / "before", out)
                label = f"#{number} {kind}, {size:,} bytes"
                _measure(label, spec, out, limit, more, clean, tally)
        with lab.folder() as place:
            _forbidden(spec, place, clean, tally)
    return tally


def _fitting(before: Path, out: Path) -> None:
    """Copy an earlier build into the out folder, as far as there is room."""
    try:
        shutil.copytree(before, out, dirs_exist_ok=True)
    except shutil.Error:
        shutil.rmtree(out, ignore_errors=True)


@contextmanager
def _room(place: Path, number: int, size: int) -> Iterator[tuple[str, Path, int, object]]:
    """Yield a kind of want, an out folder, the size that files may have, and what gives room."""
    if number % 2 or not _mounted(place, size):
        yield "files limited", place / "out", size // 4, lambda: None
        return
    try:
        grow = ["mount", "-o", "remount,size=64m", str(place)]
        yield "disk full", place / "out", 0, lambda: subprocess.run(grow, check=True)
    finally:
        subprocess.run(["umount", str(place)], check=True)


def _mounted(place: Path, size: int) -> bool:
    """Mount a small file system, if this user may."""
    command = ["mount", "-t", "tmpfs", "-o", f"size={size + 4096}", "tmpfs", str(place)]
    return (
        shutil.which("mount") is not None
        and not subprocess.run(command, capture_output=True, check=False).returncode
    )


def _measure(
    label: str, spec: Path, out: Path, limit: int, more: object, clean: Tree, tally: Tally
) -> None:
    arguments = ("synth", str(spec), "--out", str(out), *_EDIT)
    result = _limited(arguments, limit)
    tally.count("builds without room")
    _judge(label, result, tally)
    more()  # type: ignore[operator]
    again = outside.metagen(*arguments)
    wrong = inside.difference(inside.tree(out), clean)
    right = again.returncode == 0 and not wrong
    tally.check(right, "stale", f"{label}: {again.returncode} {again.stderr[-300:]} {wrong}")
    litter = outside.left_over(out)
    tally.check(not litter, "temporary files", f"{label}: {litter}")


def _judge(label: str, result: subprocess.CompletedProcess[str], tally: Tally) -> None:
    """A build that did not go through says so in a sentence, with status 1."""
    tally.check("Traceback" not in result.stderr, "tracebacks", f"{label}: {result.stderr[-900:]}")
    if result.returncode:
        tally.count("builds that ended for want of room")
        clear = result.returncode == 1 and "error:" in result.stderr
        tally.check(clear, "unclear", f"{label}: {result.returncode} {result.stderr[-300:]}")


def _limited(arguments: tuple[str, ...], limit: int) -> subprocess.CompletedProcess[str]:
    """Run the command; with a limit, no file may become larger."""

    def set_limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    return subprocess.run(
        outside.command(*arguments), env=outside.environment(PYTHONDONTWRITEBYTECODE="1"),
        capture_output=True, text=True, check=False, preexec_fn=set_limit if limit else None,
    )  # fmt: skip


def _forbidden(spec: Path, place: Path, clean: Tree, tally: Tally) -> None:
    """Build in a folder that may not be written to, and then may again."""
    if not _mounted(place, 64 * 2**20):
        return
    try:
        for incremental in (False, True):
            if incremental:
                outside.metagen("synth", str(spec), "--out", str(place / "out"))
            subprocess.run(["mount", "-o", "remount,ro", str(place)], check=True)
            arguments = ("synth", str(spec), "--out", str(place / "out"), *_EDIT)
            _judge("read-only", result := outside.metagen(*arguments), tally)
            tally.check(result.returncode == 1, "unclear", f"read-only: {result.stderr[-300:]}")
            subprocess.run(["mount", "-o", "remount,rw", str(place)], check=True)
            again = outside.metagen(*arguments)
            wrong = inside.difference(inside.tree(place / "out"), clean)
            tally.check(not again.returncode and not wrong, "stale", f"read-only: {wrong}")
            tally.count("read-only folders")
    finally:
        subprocess.run(["umount", str(place)], check=True)
