"""Kills at random moments: the next build needs no flag and ends in the bytes of a clean one.

A build of the metagen command, cold or incremental, is ended by SIGKILL, SIGTERM or SIGINT, sent
to the process or to its group, while a reader looks at every file of the package. Measurements
are faked, each in a real worker process.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from metagen import files

from . import inside, outside
from .lab import Lab
from .tally import Tally

FULL = 200
_SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
_EDIT = ("description=edited before the kill", "constraints.parameter_budget.max=9M", "seed=8")
_SECONDS = 5.0  # until which a signalled process, its workers and their folders must be gone


@dataclass(frozen=True)
class Kill:
    """One kill: which signal, to whom, in what build, and when as a share of a whole build."""

    number: int
    signal: signal.Signals
    group: bool
    cold: bool
    jobs: int
    moment: float

    def __str__(self) -> str:
        whom = "the group" if self.group else "the process"
        build = "a cold" if self.cold else "an incremental"
        return (
            f"#{self.number} {self.signal.name} to {whom} at {self.moment:.0%} of {build} build "
            f"with -n {self.jobs}"
        )


def kills(lab: Lab) -> list[Kill]:
    """Return the kills of a run, every combination about equally often."""
    chance = lab.chance("crash")
    return [_kill(number, chance) for number in range(lab.size(FULL))]


def _kill(number: int, chance: random.Random) -> Kill:
    return Kill(
        number,
        _SIGNALS[number % 3],
        group=number // 3 % 2 == 0,
        cold=number // 6 % 2 == 0,
        jobs=1 + number // 12 % 2,
        moment=chance.random(),
    )


@dataclass
class _Scene:
    """What all kills share: the spec, folders and bytes of clean builds, and how long one takes."""

    spec: Path
    before: Path
    clean: dict[str, bytes]
    known: dict[str, set[str]]
    seconds: dict[bool, float]

    def command(self, out: Path, *more: str) -> tuple[str, ...]:
        """Return the arguments of the build that is killed and of the one after it."""
        return ("synth", str(self.spec), "--out", str(out), *_EDIT, *more)


def measure(lab: Lab) -> Tally:
    """Kill builds, look at what is left, build once more and compare."""
    tally = Tally("crash")
    tally.must_not(
        "stale", "stuck", "torn reads", "redone", "tracebacks", "left processes",
        "left scratch folders",
    )  # fmt: skip
    with lab.folder() as folder:
        scene = _scene(lab, folder)
        for kill in lab.progress("crash", kills(lab)):
            while not _hit(kill, scene, lab, tally):
                tally.count("that came too late, and were repeated")
            tally.count("kills")
    return tally


def _hit(kill: Kill, scene: _Scene, lab: Lab, tally: Tally) -> bool:
    """Do a kill; return False when the build was over before, and guess its time anew."""
    with lab.folder() as place:
        at_work = _measure(kill, scene, place, tally)
    scene.seconds[kill.cold] *= 1.02 if at_work else 0.8
    return at_work


def _scene(lab: Lab, folder: Path) -> _Scene:
    spec = lab.specs[-1]
    before, clean = folder / "before", folder / "clean"
    outside.metagen("synth", str(spec), "--out", str(before))
    scene = _Scene(spec, before, {}, {}, {})
    scene.seconds[True] = _timed(scene, clean)
    incremental = Path(shutil.copytree(before, folder / "incremental"))
    scene.seconds[False] = _timed(scene, incremental)
    scene.clean = inside.tree(clean)
    for tree in (inside.tree(before), scene.clean):
        for path, data in tree.items():
            scene.known.setdefault(path, set()).add(files.sha256(data))
    return scene


def _timed(scene: _Scene, out: Path) -> float:
    """Build, and return the seconds from the first line of the program to its end."""
    log = out.with_suffix(".log")
    process = outside.start(*scene.command(out), FAKED_WORKER="0.1", FAKED_LOG=str(log))
    outside.wait_for(log, "main begins")
    started = time.monotonic()
    process.communicate()
    return time.monotonic() - started


def _measure(kill: Kill, scene: _Scene, place: Path, tally: Tally) -> bool:
    """Kill, build once more, compare; return whether the first build was at work."""
    out, temporary = place / "out", place / "tmp"
    temporary.mkdir()
    if not kill.cold:
        shutil.copytree(scene.before, out)
    at_work, finished = _killed(kill, scene, out, temporary, tally)
    log = place / "second.log"
    result = outside.metagen(*scene.command(out), FAKED_LOG=str(log), TMPDIR=str(temporary))
    if not tally.check(result.returncode >= 0, "stuck", str(kill)):
        return at_work
    wrong = inside.difference(inside.tree(out), scene.clean)
    right = not wrong and result.returncode == 0
    case = f"{kill}: status {result.returncode}; {result.stderr[-300:]}"
    tally.check(right, "stale", f"{case}; {wrong}")
    tally.check("Traceback" not in result.stderr, "tracebacks", case)
    again = sorted(finished & set(outside.noted(log, "began")))
    tally.check(len(again) <= kill.jobs, "redone", f"{kill}: {again}")
    litter = outside.left_over(out)
    tally.check(not litter, "temporary files", f"{kill}: {litter}")
    return at_work


def _killed(
    kill: Kill, scene: _Scene, out: Path, temporary: Path, tally: Tally
) -> tuple[bool, set[str]]:
    """Start a build, kill it, look at what it leaves.

    Returns:
        Whether the build was at work, and the tasks whose work had ended.
    """
    log = temporary.parent / "first.log"
    options = {"FAKED_LOG": str(log), "TMPDIR": str(temporary), "FAKED_WORKER": "0.1"}
    process = outside.start(*scene.command(out, "-n", str(kill.jobs)), **options)
    with reader(out, scene.known, tally, str(kill)):
        outside.wait_for(log, "main begins")
        time.sleep(kill.moment * scene.seconds[kill.cold])
        at_work = process.poll() is None
        _signal(process, kill.signal, group=kill.group)
        output = _ended(process, kill, tally)
    tally.check("Traceback" not in output, "tracebacks", f"{kill}: {output[-600:]}")
    _nothing_left(kill, temporary, tally)
    return at_work, set(outside.noted(log, "ended"))


def _signal(process: subprocess.Popen[str], number: int, *, group: bool) -> None:
    with suppress(ProcessLookupError):  # it was done already
        (os.killpg if group else os.kill)(process.pid, number)


def _ended(process: subprocess.Popen[str], kill: Kill, tally: Tally) -> str:
    """Wait until a signalled process ends; return its output."""
    try:
        return process.communicate(timeout=_SECONDS)[1]
    except subprocess.TimeoutExpired:
        tally.violated("stuck", f"{kill}: it goes on {_SECONDS:.0f} seconds later")
        _signal(process, signal.SIGKILL, group=True)
        return process.communicate()[1]


def _nothing_left(kill: Kill, temporary: Path, tally: Tally) -> None:
    end = time.monotonic() + _SECONDS
    while (left := outside.inhabitants(temporary)) or any(temporary.iterdir()):
        if time.monotonic() > end:
            break
        time.sleep(0.01)
    tally.check(not left, "left processes", f"{kill}: {len(left)} workers live on")
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    scratch = list(temporary.iterdir())
    tally.check(not scratch, "left scratch folders", f"{kill}: {len(scratch)}")


@contextmanager
def reader(out: Path, known: dict[str, set[str]], tally: Tally, case: str) -> Iterator[None]:
    """Read every file of the package again and again; each must hold the bytes of a whole one."""
    over = threading.Event()

    def read() -> None:
        while not over.is_set():
            for path, data in _readable(out).items():
                tally.count("reads")
                if files.sha256(data) not in known.get(path, set()):
                    tally.violated("torn reads", f"{case}: {path}, {len(data)} bytes")
            time.sleep(0.01)

    thread = threading.Thread(target=read)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _readable(out: Path) -> dict[str, bytes]:
    """Return the files of the run folders, temporary ones aside, that do not vanish meanwhile."""
    contents = {}
    for path in out.glob("run-*/**/[!.]*"):
        try:
            contents[str(path.relative_to(out))] = path.read_bytes()
        except (FileNotFoundError, IsADirectoryError):
            continue
    return contents
