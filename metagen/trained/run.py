"""`run.json` of a training run: an entry for each start of train.py, and what they say together.

A start at step 0 begins another run, so the starts of a checkpoint are those from the last such
entry on. An entry says what the last checkpoint of its start holds, even after a kill. A kill just
between a checkpoint and its entry leaves steps that no entry counts: then no sum is stated.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from itertools import pairwise
from typing import Any

from metagen.entries import pointer
from metagen.errors import Problem
from metagen.measure.results import COMMAND, DIGEST, LINE, NAME, NUMBER, map_of, or_null
from metagen.spec.findings import shown
from metagen.spec.kinds import Kind, choice, list_of, real, refuse, whole
from metagen.trained import door
from metagen.trained.log import Row
from metagen.trained.log import losses as logged

PATH = "run.json"
VERSION = 1
RUNNING, DONE, STOPPED, FAILED = "running", "done", "stopped", "failed"
_MOST_STARTS = 100_000
_COUNT, _AMOUNT = whole(0, 10**15), real(0.0, 1e21)
HINT = "bind the training folder as train.py left it"

Entry = dict[str, Any]


def _time() -> Kind:
    allowed = "a time such as 2026-05-01T12:00:00+00:00"

    def parse(value: Any) -> datetime:
        try:
            time = datetime.fromisoformat(value) if isinstance(value, str) else None
        except ValueError:
            time = None
        return time if time and time.tzinfo else refuse(value, allowed)

    return Kind(allowed, parse)


TIME = _time()
_ANY = Kind("any value", lambda value: value)
_OBJECT = map_of(_ANY, NAME)
# The fields of an entry, by their addresses below it; `settings` are those of the scripts.
FIELDS: Mapping[tuple[str, ...], Mapping[str, Kind]] = {
    (): {
        "command": COMMAND,
        "began": TIME,
        "ended": or_null(TIME),
        "status": choice(RUNNING, DONE, STOPPED, FAILED),
        "size": choice("full", "proxy"),
        "seed": whole(0, 2**64),
        "code": map_of(DIGEST, LINE),
        "config": or_null(DIGEST),
        "data": _OBJECT,
        "devices": _OBJECT,
        "memory_peak": or_null(_COUNT),
        "versions": map_of(NAME, NAME),
        "precision": NAME,
        "parallel": NAME,
        "steps": _OBJECT,
        "unit": NAME,
        "units": _COUNT,
        "seconds": _OBJECT,
        "throughput": or_null(_AMOUNT),
        "mfu": or_null(real(0.0, 1.0)),
        "energy": _OBJECT,
        "init_from": or_null(DIGEST),
        "losses": _OBJECT,
        "checkpoint": or_null(_OBJECT),
        "settings": map_of(_OBJECT, NAME),
    },
    ("data",): {
        "name": NAME,
        "sha256": or_null(DIGEST),
        "unit": NAME,
        "splits": map_of(_COUNT, NAME),
    },
    ("devices",): {"type": NAME, "names": list_of(NAME, least=1), "count": whole(1, 10**7)},
    ("steps",): {"from": _COUNT, "to": _COUNT},
    ("seconds",): {"wall": _AMOUNT, "device": or_null(_AMOUNT)},
    ("energy",): {"joules": or_null(_AMOUNT), "source": choice("NVML", "RAPL", "not measured")},
    ("losses",): {"train": or_null(NUMBER), "val": or_null(NUMBER)},
    ("checkpoint",): {"step": whole(1, 10**15), "sha256": DIGEST},
}


def read(data: bytes) -> list[Entry]:
    """Return the starts that the last checkpoint rests on, each of them well-formed.

    Raises:
        TaskError: With every problem of the file.
    """
    file = door.content(PATH, data)
    if not isinstance(file, dict) or file.get("version") != VERSION:
        door.refuse(f"This must be an object with the version {VERSION}.", PATH, HINT)
    starts = file.get("starts")
    if not isinstance(starts, list) or not 0 < len(starts) <= _MOST_STARTS:
        door.refuse("This must be a list of the starts of train.py.", f"{PATH}#/starts", HINT)
    door.settle(flaw for number, entry in enumerate(starts) for flaw in _flaws(number, entry))
    door.settle(_contradictions(starts))
    first = max((n for n, entry in enumerate(starts) if not entry["steps"]["from"]), default=0)
    return starts[first:]


def _flaws(number: int, entry: Any) -> Iterator[Problem]:
    keys = ("starts", str(number))
    broken = list(door.flaws(PATH, keys, entry, FIELDS[()]))
    yield from broken
    for at, kinds in FIELDS.items() if not broken else ():
        if at and entry[at[0]] is not None:
            yield from door.flaws(PATH, (*keys, *at), entry[at[0]], kinds)


def _contradictions(starts: Sequence[Entry]) -> Iterator[Problem]:
    for number, entry in enumerate(starts):
        before = starts[number - 1] if number else None
        for field, sentence in (*_alone(entry), *_after(entry, before)):
            place = pointer(PATH, ("starts", str(number), *field.split(".")))
            yield Problem(f"Start {number + 1}: {field} {sentence}.", place, HINT)


def _alone(entry: Entry) -> Iterator[tuple[str, str]]:
    """Yield the fields of a start that contradict each other."""
    first, last, checkpoint = entry["steps"]["from"], entry["steps"]["to"], entry["checkpoint"]
    if last < first:
        yield "steps.to", f"is {last:,}, before the first step, {first:,}"
    if checkpoint and checkpoint["step"] != last:
        yield "checkpoint.step", f"is {checkpoint['step']:,}, but the start ends at step {last:,}"
    if not checkpoint and last > first:
        yield "checkpoint", "is null, but steps were saved"
    if entry["ended"] and TIME.parse(entry["ended"]) < TIME.parse(entry["began"]):
        yield "ended", f"is {entry['ended']}, before the start began"
    batch = entry["settings"].get("train", {}).get("batch_size")
    if type(batch) is int and batch > 0 and (last - first) * batch > entry["units"]:
        least = f"{last - first:,} steps of {batch:,} samples take more"
        yield "units", f"is {entry['units']:,}, but {least}"
    if entry["energy"]["joules"] is not None and entry["energy"]["source"] == "not measured":
        yield "energy.source", "is 'not measured', but joules are given"


def _after(entry: Entry, before: Entry | None) -> Iterator[tuple[str, str]]:
    """Yield what contradicts the start before."""
    first = entry["steps"]["from"]
    if before is None or not first:
        return
    last = before["steps"]["to"]
    if first != last and not (before["status"] == RUNNING and first > last):
        yield "steps.from", f"is {first:,}, but the start before ended at step {last:,}"
    if TIME.parse(entry["began"]) < TIME.parse(before["began"]):
        yield "began", f"is {entry['began']}, before the start before"
    for name in ("size", "seed", "unit", "init_from"):
        if entry[name] != before[name]:
            yield name, f"is {shown(entry[name])}, and {shown(before[name])} in the start before"
    if entry["data"]["sha256"] != before["data"]["sha256"]:
        yield "data.sha256", "differs from that of the start before"
    if _rate(entry) and _rate(before) and _rate(entry) != _rate(before):
        yield "units", "does not grow with the steps as in the start before"


def _rate(entry: Entry) -> float | None:
    """Return the units of a step, None for a start without steps."""
    steps = entry["steps"]["to"] - entry["steps"]["from"]
    return entry["units"] / steps if steps else None


def against(starts: Sequence[Entry], step: int, sha256: str, rows: Sequence[Row]) -> None:
    """Refuse starts that do not end at a checkpoint, or whose losses are not those of the log.

    Args:
        starts: What `read` returned.
        step: The step of the checkpoint.
        sha256: The digest of its weights.
        rows: The lines of the log, up to that step.
    """
    number, last = len(starts) - 1, starts[-1]
    place = pointer(PATH, ("starts", str(number), "steps", "to"))
    done = last["steps"]["to"]
    if done != step and not (last["status"] == RUNNING and step > done):
        sentence = f"The checkpoint is of step {step:,}, but the last start ended at step {done:,}."
        door.refuse(sentence, place, HINT)
    for entry in starts:
        saved = entry["checkpoint"]
        if saved and saved["step"] == step and saved["sha256"] != sha256:
            sentence = "The weights are not those that train.py saved: their sha256 is "
            sentence += f"{sha256}, and {saved['sha256']} in run.json."
            door.refuse(sentence, "checkpoint", "bind the checkpoint of this run, as it was saved")
    door.settle(_losses(starts, rows))


def _losses(starts: Sequence[Entry], rows: Sequence[Row]) -> Iterator[Problem]:
    for number, entry in enumerate(starts):
        first, last = entry["steps"]["from"], entry["steps"]["to"]
        if first == last or last > len(rows):
            continue
        for name, value in logged(rows[first:last]).items():
            said = entry["losses"][name]
            if said is not None and (value is None or not math.isclose(said, value, rel_tol=1e-6)):
                place = pointer(PATH, ("starts", str(number), "losses", name))
                text = f"{said:g}, and {'nothing' if value is None else f'{value:g}'}"
                yield Problem(f"The {name} loss is {text} in metrics.jsonl.", place, HINT)


def whole_run(starts: Sequence[Entry], step: int) -> bool:
    """Return whether the starts count every step of a checkpoint."""
    pairs = pairwise(starts)
    joined = all(before["steps"]["to"] == after["steps"]["from"] for before, after in pairs)
    return not starts[0]["steps"]["from"] and joined and starts[-1]["steps"]["to"] == step


def together(starts: Sequence[Entry], step: int) -> dict[str, Any]:
    """Return what the starts of a checkpoint say of its training.

    A sum is None where a start lacks its part, or where steps are in no entry. What differs between
    the starts, such as their devices, is None, and each start has its own in `history`.
    """
    complete = whole_run(starts, step)
    rates = {rate for entry in starts if (rate := _rate(entry))}
    peaks = [entry["memory_peak"] for entry in starts]
    return {
        "init_from": starts[-1]["init_from"],
        "starts": len(starts),
        "unit": starts[-1]["unit"],
        "units": round(rates.pop() * step) if len(rates) == 1 else None,
        "seconds": {
            name: _sum([entry["seconds"][name] for entry in starts], complete)
            for name in ("wall", "device")
        },
        "devices": _one([entry["devices"] for entry in starts]),
        "memory_peak": None if None in peaks else max(peaks),
        "throughput": _speed(starts, "throughput"),
        "mfu": _speed(starts, "mfu"),
        "energy": _energy(starts, complete),
        "precision": _one([entry["precision"] for entry in starts]),
        "parallel": _one([entry["parallel"] for entry in starts]),
        "versions": _one([entry["versions"] for entry in starts]),
        "data": starts[-1]["data"],
        "history": [_brief(entry) for entry in starts],
    }


def _sum(parts: Sequence[float | None], complete: bool) -> float | None:
    known = [part for part in parts if part is not None]
    return sum(known) if complete and len(known) == len(parts) else None


def _one(values: Sequence[Any]) -> Any:
    return values[0] if all(value == values[0] for value in values) else None


def _speed(starts: Sequence[Entry], name: str) -> float | None:
    """Return the mean speed over the steps of starts that timed them, all of them equal work."""
    timed = [(e["steps"]["to"] - e["steps"]["from"], e[name]) for e in starts if e[name]]
    seconds = sum(steps / speed for steps, speed in timed)
    return sum(steps for steps, _ in timed) / seconds if seconds else None


def _energy(starts: Sequence[Entry], complete: bool) -> dict[str, Any]:
    source = _one([entry["energy"]["source"] for entry in starts])
    joules = _sum([entry["energy"]["joules"] for entry in starts], complete and source is not None)
    return {"joules": joules, "source": source if joules is not None else "not measured"}


def _brief(entry: Entry) -> dict[str, Any]:
    names = ("began", "ended", "status", "steps", "devices", "precision", "parallel", "seconds")
    return {name: entry[name] for name in (*names, "command")}


def changed(starts: Sequence[Entry], package: Mapping[str, str]) -> list[str]:
    """Return the files of code/ that a start ran in another version than the package has.

    Args:
        starts: What `read` returned.
        package: The sha256 of each file of the package's code/, by its name in code/.
    """
    ran = {(name, sha256) for entry in starts for name, sha256 in entry["code"].items()}
    return sorted({name for name, sha256 in ran if package.get(name) != sha256})
