"""Kills at random moments of a release: the next one needs no flag and is as a clean one.

A release of a toy package links, copies and lists the weights of a training folder. It is cold, or
meets a new checkpoint, with hard links or without, and is ended by SIGKILL, SIGTERM or SIGINT,
while a reader looks at every file of the package. The training folder stays as it was.
"""

from __future__ import annotations

import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from metagen import files

from . import inside, outside
from .crash import reader
from .lab import Lab
from .released import SHARDS
from .tally import Tally

FULL = 200
_SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
_SIZE = 2**20  # bytes of a shard
_SECONDS = 5.0  # until which a signalled process must be gone


@dataclass(frozen=True)
class Kill:
    """One kill: which signal, in what release, and when as a share of a whole one."""

    number: int
    signal: signal.Signals
    cold: bool
    copies: bool
    moment: float

    def __str__(self) -> str:
        release = "a cold release" if self.cold else "a release of a new checkpoint"
        links = " without hard links" if self.copies else ""
        return f"#{self.number} {self.signal.name} at {self.moment:.0%} of {release}{links}"


def kills(lab: Lab) -> list[Kill]:
    """Return the kills of a run, every combination about equally often."""
    chance = lab.chance("release_crash")
    return [
        Kill(n, _SIGNALS[n % 3], n // 3 % 2 == 0, n // 6 % 2 == 1, chance.random())
        for n in range(lab.size(FULL))
    ]


def write_training(folder: Path, steps: int) -> None:
    """Write a training folder; a checkpoint that is there is replaced by renames."""
    new = folder / ".checkpoint.train-new"
    new.mkdir(parents=True)
    for number, name in enumerate(SHARDS):
        (new / name).write_bytes(random.Random(f"{steps} {number}").randbytes(_SIZE))
    shutil.rmtree(folder / "checkpoint", ignore_errors=True)
    new.rename(folder / "checkpoint")
    (folder / "run.json").write_text(f'{{"steps": {steps}}}')
    (folder.parent / "results.json").write_text(f'{{"value": {steps / 7}}}')


@dataclass
class _Scene:
    """What all kills share: released folders, bytes of clean releases, how long one takes."""

    root: Path
    known: dict[str, set[str]]
    clean: dict[str, bytes]
    seconds: dict[tuple[bool, bool], float]

    def place(self, where: Path, *, cold: bool) -> Path:
        """Put a training folder, and what was released before, into a new folder."""
        shutil.copytree(self.root / ("after" if cold else "before"), where)
        if not cold:
            write_training(where / "run", 400)
        return where


def _start(place: Path, log: Path, *, copies: bool) -> subprocess.Popen[str]:
    line = [sys.executable, "-m", "tests.properties.released"]
    line += [str(place / name) for name in ("out", "run", "results.json")]
    more = {"RELEASED_LOG": str(log), "RELEASED_COPIES": "yes" if copies else ""}
    return subprocess.Popen(
        line, env=outside.environment(**more), text=True, cwd=outside.REPOSITORY,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip


def _timed(place: Path, *, copies: bool) -> float:
    """Release, and return the seconds from the first line of the program to its end."""
    log = place.with_suffix(".log")
    process = _start(place, log, copies=copies)
    output = process.communicate(timeout=outside.LIMIT)[1]
    assert process.returncode == 0, output
    begun, ended = (float(line.split()[-1]) for line in log.read_text().splitlines())
    return ended - begun


def _scene(folder: Path) -> _Scene:
    before, after = folder / "before", folder / "after"
    write_training(before / "run", 300)
    write_training(after / "run", 400)
    scene = _Scene(folder, {}, {}, {})
    _timed(before, copies=False)
    for cold in (True, False):
        for copies in (True, False):
            name = f"{'cold' if cold else 'new'} {'copies' if copies else 'links'}"
            place = scene.place(folder / name, cold=cold)
            scene.seconds[cold, copies] = _timed(place, copies=copies)
            scene.clean = inside.tree(place / "out")
    for tree in (inside.tree(before / "out"), scene.clean):
        for path, data in tree.items():
            scene.known.setdefault(path, set()).add(files.sha256(data))
    return scene


def measure(lab: Lab) -> Tally:
    """Kill releases, look at what is left, release once more and compare."""
    tally = Tally("release_crash")
    tally.must_not("stale", "stuck", "torn reads", "tracebacks", "left files", "changed trainings")
    with lab.folder() as folder:
        scene = _scene(folder)
        for kill in lab.progress("release_crash", kills(lab)):
            while not _hit(kill, scene, lab, tally):
                tally.count("that came too late, and were repeated")
            tally.count("kills")
    return tally


def _hit(kill: Kill, scene: _Scene, lab: Lab, tally: Tally) -> bool:
    """Do a kill; return False when the release was over before, and guess its time anew."""
    with lab.folder() as folder:
        place = scene.place(folder / "place", cold=kill.cold)
        at_work = _killed(kill, scene, place, tally)
        if at_work:
            _again(kill, scene, place, tally)
    scene.seconds[kill.cold, kill.copies] *= 1.02 if at_work else 0.8
    return at_work


def _killed(kill: Kill, scene: _Scene, place: Path, tally: Tally) -> bool:
    log = place / "first.log"
    process = _start(place, log, copies=kill.copies)
    with reader(place / "out", scene.known, tally, str(kill)):
        outside.wait_for(log, "main begins")
        time.sleep(kill.moment * scene.seconds[kill.cold, kill.copies])
        at_work = process.poll() is None
        process.send_signal(kill.signal)
        try:
            output = process.communicate(timeout=_SECONDS)[1]
        except subprocess.TimeoutExpired:
            tally.violated("stuck", f"{kill}: it goes on {_SECONDS:.0f} seconds later")
            process.kill()
            output = process.communicate()[1]
    tally.check("Traceback" not in output, "tracebacks", f"{kill}: {output[-600:]}")
    return at_work and process.returncode != 0


def _again(kill: Kill, scene: _Scene, place: Path, tally: Tally) -> None:
    before = _contents(place / "run")
    process = _start(place, place / "second.log", copies=kill.copies)
    try:
        output = process.communicate(timeout=outside.LIMIT)[1]
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        tally.violated("stuck", str(kill))
        return
    wrong = inside.difference(inside.tree(place / "out"), scene.clean)
    right = not wrong and process.returncode == 0
    tally.check(right, "stale", f"{kill}: status {process.returncode}; {output[-300:]}; {wrong}")
    tally.check("Traceback" not in output, "tracebacks", f"{kill}: {output[-600:]}")
    state = place / "out" / ".metagen"
    left = [*(state / "tmp").glob("*"), *(state / "backup").rglob("*")]
    tally.check(not left, "left files", f"{kill}: {left}")
    tally.check(_contents(place / "run") == before, "changed trainings", str(kill))
    links = [place / "out/run-toy/release/linked" / name for name in SHARDS]
    shared = all(each.samefile(place / "run/checkpoint" / each.name) for each in links)
    tally.check(kill.copies or shared, "unlinked weights", str(kill))


def _contents(folder: Path) -> Mapping[str, str]:
    found = (path for path in folder.rglob("*") if path.is_file())
    return {str(path): files.sha256_of(path) for path in found}
