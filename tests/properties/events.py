"""`--json`: one event a line, whatever happens, and `end` with the exit status as the last."""

from __future__ import annotations

import fcntl
import json
import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from . import outside
from .lab import Lab
from .tally import Tally

Event = dict[str, Any]
_Case = Callable[[Path, Path, Tally], None]


def measure(lab: Lab) -> Tally:
    """Build side by side, build what cannot be built, and read each line."""
    tally = Tally("events")
    tally.must_not("no JSON", "other end", "misreported", "no reason")
    for spec in lab.specs:
        for case in lab.progress("events", lab.some(_CASES, "events"), lambda case: case.__name__):
            with lab.folder() as folder:
                lab.begin(folder / "out", spec)
                case(spec, folder / "out", tally)
    return tally


def _side_by_side(spec: Path, out: Path, tally: Tally) -> None:
    """A cold build with four jobs, and one after an edit, report each task that ran, once."""
    for number, place in enumerate((out.parent / "cold", out)):
        log = out.parent / f"{number}.log"
        events = _events(0, spec, place, tally, "seed=3", "-n", "4", FAKED_LOG=str(log))
        ran = [f"run-{spec.stem}/{e['task']}" for e in _of(events, "task") if e["action"] == "run"]
        right = sorted(ran) == sorted(outside.noted(log, "ended"))
        tally.check(right, "misreported", f"{spec.stem}: {sorted(ran)}")


def _nothing_to_do(spec: Path, out: Path, tally: Tally) -> None:
    events = _events(0, spec, out, tally)
    tally.check(not _of(events, "task"), "misreported", f"{spec.stem}: nothing to do")


def _failed_task(spec: Path, out: Path, tally: Tally) -> None:
    """A script that was edited into no Python fails the tasks that read it."""
    (out / f"run-{spec.stem}" / "code" / "train.py").write_text("def (")
    for jobs in ("1", "4"):
        _reasoned(_events(1, spec, out, tally, "-n", jobs), "failure", tally)


def _refused_spec(spec: Path, out: Path, tally: Tally) -> None:
    _reasoned(_events(2, spec, out, tally, "constraints.memory_budget=much"), "error", tally)


def _violated(spec: Path, out: Path, tally: Tally) -> None:
    """A budget that no design keeps is status 3 under --strict, and named in the summary."""
    settings = ("constraints.parameter_budget.max=1K", "--strict", "-n", "2")
    events = _events(3, spec, out, tally, *settings)
    named = [e["constraints"]["violated"] for e in _of(events, "summary")]
    tally.check(bool(named and named[0]), "no reason", f"{spec.stem}: violated {named}")


def _locked(spec: Path, out: Path, tally: Tally) -> None:
    with (out / ".metagen" / "lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        _reasoned(_events(4, spec, out, tally, "--no-wait"), "error", tally)


def _in_conflict(spec: Path, out: Path, tally: Tally) -> None:
    card = out / f"run-{spec.stem}" / "README.md"
    card.write_text("".join(f"mine: {line}" for line in card.read_text().splitlines(True)))
    events = _events(5, spec, out, tally, "description=another")
    waiting = [path for e in _of(events, "summary") for path in e["conflicts"]]
    tally.check(waiting == ["README.md"], "no reason", f"{spec.stem}: {waiting}")


_CASES: tuple[_Case, ...] = (
    _side_by_side, _nothing_to_do, _failed_task, _refused_spec, _violated, _locked, _in_conflict,
)  # fmt: skip


def _events(
    status: int, spec: Path, out: Path, tally: Tally, *more: str, **environment: str
) -> list[Event]:
    """Build with --json; return the events, each line of which must be one."""
    arguments = ("synth", str(spec), "--out", str(out), "--run-id", spec.stem, "--json", *more)
    result = outside.metagen(*arguments, **environment)
    label = f"{spec.stem} {' '.join(more)}"
    events = [event for line in result.stdout.splitlines() if (event := _event(line, label, tally))]
    ends = [event["status"] for event in _of(events, "end")]
    last = bool(events) and events[-1]["event"] == "end"
    right = last and ends == [status] and result.returncode == status
    tally.check(right, "other end", f"{label}: {result.returncode}, {ends}, {_tail(result)}")
    tally.count("builds")
    tally.count("lines", len(events))
    return events


def _event(line: str, label: str, tally: Tally) -> Event:
    try:
        event = json.loads(line)
    except ValueError:
        event = None
    right = isinstance(event, dict) and "event" in event
    tally.check(right, "no JSON", f"{label}: {line[:200]}")
    return event if right else {}


def _reasoned(events: Iterable[Event], kind: str, tally: Tally) -> None:
    reasons = [json.dumps(event) for event in _of(events, kind)]
    tally.check(bool(reasons), "no reason", f"no event {kind}")


def _of(events: Iterable[Event], kind: str) -> list[Event]:
    return [event for event in events if event["event"] == kind]


def _tail(result: subprocess.CompletedProcess[str]) -> str:
    return f"{result.stdout[-200:]} {result.stderr[-300:]}"
