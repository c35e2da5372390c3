"""Several builds at once in one out folder, several jobs in one build, and workers that die."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import time
from pathlib import Path

from . import inside, outside
from .inside import Tree
from .lab import Lab
from .tally import Tally

FULL = 14
_JOBS = (1, 2, 8)


def measure(lab: Lab) -> Tally:
    """Start two to eight builds at once, of one spec or of several; then the single cases."""
    tally = Tally("concurrency")
    tally.must_not("run twice", "failed", "other bytes", "waited in vain", "hanging")
    with lab.folder() as folder:
        clean = {spec: _clean(folder, spec) for spec in lab.specs}
        for number in lab.progress("concurrency", range(lab.size(FULL))):
            with lab.folder() as place:
                _together(number, 2 + number % 7, place, clean, tally)
        for jobs in _JOBS:
            _jobs(jobs, folder, clean, tally)
        _locked(folder, lab.specs[0], tally)
        _dead_worker(folder, lab.specs[0], clean[lab.specs[0]], tally)
    return tally


def _clean(folder: Path, spec: Path) -> Tree:
    outside.metagen("synth", str(spec), "--out", str(folder / "clean" / spec.stem))
    return inside.tree(folder / "clean" / spec.stem)


def _together(number: int, builds: int, out: Path, clean: dict[Path, Tree], tally: Tally) -> None:
    """Run several builds at once; every other time each is of another spec."""
    log, specs = out / "log", list(clean)
    chosen = [specs[n % len(specs)] if number % 2 else specs[0] for n in range(builds)]
    started = [
        outside.start("synth", str(spec), "--out", str(out / "out"), FAKED_LOG=str(log))
        for spec in chosen
    ]
    for process in started:
        _, errors = process.communicate(timeout=outside.LIMIT)
        tally.count("builds")
        tally.check(process.returncode == 0, "failed", f"{builds} builds: {errors[-300:]}")
    twice = [task for task, times in outside.noted(log, "began").items() if times > 1]
    tally.check(not twice, "run twice", f"{builds} builds at once: {sorted(twice)}")
    expected = {path: data for spec in set(chosen) for path, data in clean[spec].items()}
    wrong = inside.difference(inside.tree(out / "out"), expected)
    tally.check(not wrong, "other bytes", f"{builds} builds at once: {wrong}")


def _jobs(jobs: int, folder: Path, clean: dict[Path, Tree], tally: Tally) -> None:
    """Build all specs in one build with some jobs."""
    out, log = folder / f"jobs{jobs}", folder / f"jobs{jobs}.log"
    arguments = ("synth", *map(str, clean), "--out", str(out), "-n", str(jobs))
    result = outside.metagen(*arguments, FAKED_LOG=str(log))
    tally.count("builds")
    tally.check(result.returncode == 0, "failed", f"-n {jobs}: {result.stderr[-300:]}")
    twice = [task for task, times in outside.noted(log, "began").items() if times > 1]
    tally.check(not twice, "run twice", f"-n {jobs}: {sorted(twice)}")
    expected = {path: data for tree in clean.values() for path, data in tree.items()}
    wrong = inside.difference(inside.tree(out), expected)
    tally.check(not wrong, "other bytes", f"-n {jobs}: {wrong}")


def _locked(folder: Path, spec: Path, tally: Tally) -> None:
    """Hold the folder by a long build: another ends at once with status 4 under --no-wait."""
    out, log = folder / "locked", folder / "locked.log"
    long = outside.start(
        "synth", str(spec), "--out", str(out), FAKED_LOG=str(log), FAKED_WORKER="3"
    )
    outside.wait_for(log, "worker begins")
    result = outside.metagen("synth", str(spec), "--out", str(out), "--no-wait")
    right = result.returncode == 4 and long.poll() is None
    tally.check(right, "waited in vain", f"--no-wait: {result.returncode} {result.stderr}")
    _end(long)
    result = outside.metagen("synth", str(spec), "--out", str(out), "--no-wait")
    tally.check(result.returncode == 0, "waited in vain", f"the lock outlives: {result.stderr}")


def _dead_worker(folder: Path, spec: Path, clean: Tree, tally: Tally) -> None:
    """Kill the worker of a measurement: the build says so in seconds, and the next one is clean."""
    for jobs in ("1", "2"):
        out, log, temporary = (folder / f"worker{jobs}{end}" for end in ("", ".log", ".tmp"))
        temporary.mkdir()
        arguments = ("synth", str(spec), "--out", str(out), "-n", jobs)
        options = {"FAKED_LOG": str(log), "FAKED_WORKER": "30", "TMPDIR": str(temporary)}
        process = outside.start(*arguments, **options)
        outside.wait_for(log, "worker begins")
        _kill_worker(temporary)
        _told_soon(process, f"-n {jobs}", tally)
        _kill_worker(temporary)  # the one of a task beside it, which may end in peace
        _hangs_not(process, f"-n {jobs}", tally)
        result = outside.metagen(*arguments)
        wrong = inside.difference(inside.tree(out), clean)
        right = result.returncode == 0 and not wrong
        tally.check(right, "other bytes", f"after a killed worker: {result.stderr[-300:]} {wrong}")


def _kill_worker(temporary: Path) -> None:
    end = time.monotonic() + 2
    while time.monotonic() < end:
        if pids := outside.inhabitants(temporary):
            os.kill(pids[0], signal.SIGKILL)
            return
        time.sleep(0.01)


def _told_soon(process: subprocess.Popen[str], label: str, tally: Tally) -> None:
    ready, _, _ = select.select([process.stderr], [], [], 5)
    errors = process.stderr.readline() if ready and process.stderr else ""
    tally.check("signal 9" in errors, "hanging", f"{label}: no error 5 s after a kill: {errors}")


def _hangs_not(process: subprocess.Popen[str], label: str, tally: Tally) -> None:
    try:
        _, errors = process.communicate(timeout=10)
    except subprocess.TimeoutExpired:
        tally.violated("hanging", f"{label}: the build goes on 10 s after its workers were killed")
        _end(process)
        return
    right = process.returncode == 1 and "Traceback" not in errors
    tally.check(right, "hanging", f"{label}: status {process.returncode}, {errors[-300:]}")


def _end(process: subprocess.Popen[str]) -> None:
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
