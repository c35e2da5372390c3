"""`benchmarks/evidence.json`: what the files of `benchmarks/` hold, checked, and how it came.

Every task that states a result takes this file as an input, so no document is written while an
edit of these files is refused. The origin of an entry cannot be claimed: an entry that differs
from what the build wrote is `typed`, and one that says otherwise is refused.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable, Iterator
from typing import Any

from metagen import families
from metagen.entries import pointer
from metagen.errors import Problem, TaskError
from metagen.files import json_bytes
from metagen.measure.results import (
    ABLATED,
    BOUND,
    COLUMNS,
    CURVE,
    MEASURED,
    NOT_MEASURED,
    REPORT,
    RESULTS,
    TYPED,
    Flaws,
    Rows,
    doubts,
    flaws,
    has_result,
    named,
    removed,
    repeated,
)
from metagen.spec.findings import shown
from metagen.work import Desk

EVIDENCE = "benchmarks/evidence.json"
HINT = "correct the edit, or build with --discard-edits, which makes a backup"
_MOST = 30  # problems in one message

Curve = list[dict[str, float | None]]


def evidence(desk: Desk) -> dict[str, bytes]:
    """Check the files that a person may have edited, and list the origin of what they hold.

    Raises:
        TaskError: With every problem of the files.
    """
    rows = checked(RESULTS, content(RESULTS, desk.read(RESULTS)))
    curve, own_curve = _curve(desk.read(CURVE)), desk.generated(CURVE)
    settle([*_figure(desk), *edited(desk, [ABLATED]), *_bound(desk), *_edits(desk, rows)])
    as_generated = own_curve is not None and _curve(own_curve) == curve
    state = NOT_MEASURED if not curve else MEASURED if as_generated else TYPED
    fields = ("benchmark", "metric", "size", "dataset", "origin")
    origins = [{field: row[field] for field in fields} for row in rows if has_result(row)]
    return {EVIDENCE: json_bytes({"results": origins, "curve": state})}


def checked(path: str, rows: Any) -> Rows:
    """Return the entries of a file, each of them well-formed and given once.

    Raises:
        TaskError: With every problem of the entries.
    """
    if not isinstance(rows, list):
        raise TaskError(Problem("This file must hold a list of entries.", path, HINT))
    settle(problems(path, rows, {i: flaws(row) for i, row in enumerate(rows)}))
    twice = "repeats the benchmark, metric, size and data of an earlier entry"
    settle(problems(path, rows, {i: iter([("metric", twice)]) for i in repeated(rows)}))
    return rows


def content(path: str, data: bytes) -> Any:
    """Return the content of a JSON file, without repeated names and numbers that JSON lacks.

    Raises:
        TaskError: The file is no such JSON.
    """
    try:
        return json.loads(data, object_pairs_hook=_once, parse_constant=_no_number)
    except json.JSONDecodeError as error:
        place = f"{path}:{error.lineno}:{error.colno}"
        raise TaskError(Problem(f"This is not valid JSON: {error.msg}.", place, HINT)) from None
    except (ValueError, RecursionError) as error:
        raise TaskError(Problem(f"This is not valid JSON: {error}.", path, HINT)) from None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = [name for name, _ in pairs]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ValueError(f"an object has the name {shown(twice)} twice")
    return dict(pairs)


def _no_number(text: str) -> Any:
    raise ValueError(f"{text} is not a number of JSON; write null for a value that is not known")


def _edits(desk: Desk, rows: Rows) -> Iterator[Problem]:
    """Yield what is wrong with the entries that the build did not measure itself."""
    data, planned = desk.generated(RESULTS), desk.entry(families.ARCHITECTURE, "train", "steps")
    # A lost text leaves nothing to compare with, so every entry counts as typed.
    written = [] if data is None else json.loads(data)
    yield from lost(RESULTS, rows, written)
    for i, row in enumerate(rows):
        found = {i: doubts(row, rows, written, planned)}
        if row not in written:
            yield from problems(RESULTS, rows, found)
        elif row["origin"] == TYPED:
            yield from problems(REPORT, rows, found)


def lost(path: str, rows: Rows, written: Rows) -> Iterator[Problem]:
    """Yield a problem for each entry that the build wrote and an edit took away."""
    for name in removed(rows, written):
        sentence = f"The entry {name} is gone; a package lists all that was measured and requested."
        yield Problem(sentence, path, HINT)


def _figure(desk: Desk) -> Iterator[Problem]:
    """Yield a problem if the figure of the report is not the one that was measured."""
    data, own = desk.read(REPORT), desk.generated(REPORT)
    if data == own:
        return
    figure = None if own is None else _report(json.loads(own)).get("figure")
    if _report(content(REPORT, data)).get("figure") != figure:
        sentence = "The figure was edited; it shows what the build measured, so it cannot be typed."
        yield Problem(sentence, pointer(REPORT, ("report", "figure")), HINT)


def edited(desk: Desk, paths: Iterable[str]) -> Iterator[Problem]:
    """Yield a problem for each of some files that was edited and that only a build may write."""
    for path in paths:
        if desk.generated(path) not in (None, desk.read(path)):
            sentence = "This file was edited; it says what the build measured; nobody can type it."
            yield Problem(sentence, path, "build with --discard-edits, which makes a backup")


def _bound(desk: Desk) -> Iterator[Problem]:
    """Yield a problem for each file of the bound training that was edited in the package."""
    for path in BOUND:
        if desk.generated(path) not in (None, desk.read(path)):
            sentence = "This file was edited; it says what the bound files hold."
            hint = f"build with --discard-edits; a result of your own belongs into {RESULTS}"
            yield Problem(sentence, path, hint)


def _report(file: Any) -> dict[str, Any]:
    report = file.get("report") if isinstance(file, dict) else None
    return report if isinstance(report, dict) else {}


def _curve(data: bytes) -> Curve:
    """Return the rows of the training's record.

    Raises:
        TaskError: It is not a table of finite numbers with increasing steps.
    """
    try:
        lines = list(csv.reader(io.StringIO(data.decode(), newline=""), strict=True))
    except (ValueError, csv.Error) as error:
        raise TaskError(Problem(f"This table cannot be read: {error}.", CURVE, HINT)) from None
    if not lines or tuple(lines[0]) != COLUMNS:
        sentence = f"The first line must name the columns {', '.join(COLUMNS)}."
        raise TaskError(Problem(sentence, f"{CURVE}:1", HINT))
    numbered = [(n, line) for n, line in enumerate(lines[1:], 2) if line]
    settle(Problem(s, f"{CURVE}:{n}", HINT) for n, line in numbered for s in _cells(line))
    rows = [dict(zip(COLUMNS, map(_number, line), strict=True)) for _, line in numbered]
    for (n, _), row, before in zip(numbered[1:], rows[1:], rows, strict=False):
        if row["step"] <= before["step"]:  # type: ignore[operator]
            raise TaskError(Problem("The step does not follow the last one.", f"{CURVE}:{n}", HINT))
    return rows


def _number(cell: str) -> float | None:
    return float(cell) if cell else None


def _cells(line: list[str]) -> Iterator[str]:
    """Yield what is wrong with a line of the training's record."""
    if len(line) != len(COLUMNS):
        yield f"The line has {len(line)} cells, not {len(COLUMNS)}."
        return
    for column, cell in zip(COLUMNS, line, strict=True):
        if not _fits(column, cell):
            allowed = "a whole number" if column == "step" else "a finite number"
            yield f"{column} is {shown(cell)}; allowed: {allowed}"


def _fits(column: str, cell: str) -> bool:
    if column == "train_loss" and not cell:
        return False
    if column == "step":
        return cell.isdecimal() and cell.isascii() and len(cell) <= 15
    try:
        number = float(cell) if cell else 0.0
    except ValueError:
        return False
    return math.isfinite(number) and (column != "learning_rate" or number >= 0)


def problems(path: str, rows: Rows, found: dict[int, Flaws]) -> Iterator[Problem]:
    """Yield the flaws of some entries, by position, each with its file, entry and field."""
    for i, each in found.items():
        for field, sentence in each:
            keys = (str(i), *field.split(".", 1)) if field else (str(i),)
            place = pointer(path, keys) if path == RESULTS else path
            yield Problem(f"Entry {i + 1} ({named(rows[i])}): {field} {sentence}.", place, HINT)


def settle(found: Iterable[Problem]) -> None:
    """Raise problems, if there are any."""
    if every := list(found):
        more = [Problem(f"There are {len(every) - _MOST} more problems.")][: len(every) > _MOST]
        raise TaskError([*every[:_MOST], *more])
