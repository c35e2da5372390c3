"""`metagen trace`: where a number of a document comes from, by the files of its package alone.

The package may come from a stranger: nothing of it runs, no link in it is followed, and what
`docs/provenance.json` and the manifest hold is checked before it is shown.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from metagen import entries, files, units
from metagen.docs import provenance
from metagen.engine.graph import RESOLVED
from metagen.engine.inventory import Inventory, shown
from metagen.engine.verify import manifest
from metagen.errors import Problem, TaskError, UsageError

Row = dict[str, Any]
_TEXT, _OR_NULL = (str,), (str, type(None))
_FIELDS: Mapping[str, tuple[type, ...]] = {
    **dict.fromkeys(("document", "printed", "fact", "unit", "how"), _TEXT),
    **dict.fromkeys(("source", "pointer", "formula", "task"), _OR_NULL),
    "value": (str, int, float, bool, list, dict, type(None)),
    "entries": (list,),
}
_HINT = "ask for the whole package, or build it again"
_MOST = 20_000  # rows; a package has some hundred
_INTERNAL = ("code:", "graph:", "edited:", "generated:", "names:", "provenance:")
_FOLDED = 5  # files of a folder that are named one by one
_NUMBER = re.compile(r"[-\u2212]?\d[\d,]*(?:\.\d+)?")


def trace(run: Path, value: str) -> list[Row]:
    """Return where a value of the documents of a package comes from; one record a fact.

    A record has the fields of `docs/provenance.json`, `documents` in place of `document`, the
    `sha256` of the source, the files and keys that its task `read`, and `now`, true while the
    source still holds the value.

    Args:
        run: The folder of a package, of any name.
        value: A text as printed, the number in it, the address of a fact, or that of an entry.

    Raises:
        TaskError: The package's lists are missing or malformed.
        UsageError: No document prints the value.
    """
    here = Inventory.of(run)
    if RESOLVED not in here.files:
        sentence = f"This is no package: it has no file {RESOLVED}."
        raise UsageError(Problem(sentence, str(run), "Name the folder of a package."))
    rows = _rows(here)
    found = _matches(rows, value)
    if not found:
        raise UsageError(_nothing(rows, value, run))
    listed = manifest(here)
    return [_record(here, listed, group) for group in _by_fact(found)]


def _rows(here: Inventory) -> list[Row]:
    """Return the rows of a package's `docs/provenance.json`, checked."""
    place = str(here.root / provenance.TARGET)
    data = here.read(provenance.TARGET)
    if data is None:
        raise TaskError(Problem("The package does not say where its numbers come from.", place))
    try:
        rows = json.loads(data)
    except (ValueError, RecursionError):
        raise TaskError(Problem("This file cannot be read.", place, _HINT)) from None
    if not isinstance(rows, list) or len(rows) > _MOST:
        raise TaskError(Problem(f"This is no list of at most {_MOST:,} rows.", place, _HINT))
    for number, row in enumerate(rows, 1):
        if flaw := _flaw(row):
            raise TaskError(Problem(f"row {number}: {flaw}", place, _HINT))
    return rows


def _flaw(row: Any) -> str:
    """Return what is wrong with a row; "" for a right one."""
    if not isinstance(row, dict):
        return "this is no mapping."
    for name, kinds in _FIELDS.items():
        if name not in row:
            return f"the field {name!r} is missing."
        if type(row[name]) not in kinds:
            return f"the field {name!r} has a value of another type."
    if not all(isinstance(each, str) for each in row["entries"]):
        return "the field 'entries' must be a list of addresses."
    if (row["source"] is None) != (row["pointer"] is None):
        return "of the fields 'source' and 'pointer', one is null."
    paths = (row["document"], *([row["source"]] if row["source"] is not None else []))
    outside = next((path for path in paths if not files.is_inside(path)), None)
    return "" if outside is None else f"the path {shown(outside)!r} is not one of a package."


def _matches(rows: Sequence[Row], value: str) -> list[Row]:
    """Return the rows that a value names: by their address, else by text, else by number."""
    wanted, number = _plain(value), _number(value)
    ways: tuple[Callable[[Row], bool], ...] = (
        lambda row: value in (row["fact"], _address(row)),
        lambda row: _plain(row["printed"]) == wanted,
        lambda row: number is not None and _leading(row["printed"]) == number,
        lambda row: number is not None and row["value"] == number,
        lambda row: number is not None and number in _numbers(row["printed"]),
    )
    return next((found for way in ways if (found := list(filter(way, rows)))), [])


def _plain(text: str) -> str:
    """Return a text without spaces, and with the minus of a keyboard."""
    return "".join(text.split()).replace("\u2212", "-")


def _number(text: str) -> float | None:
    match = _NUMBER.fullmatch(_plain(text))
    return float(match[0].replace(",", "")) if match else None


def _numbers(text: str) -> list[float | None]:
    return [_number(each) for each in _NUMBER.findall(text)]


def _leading(text: str) -> float | None:
    """Return the number that a printed amount starts with, such as that of `1.86 bit/byte`."""
    return _number(text.split()[0]) if text.split() else None


def _address(row: Row) -> str | None:
    return None if row["source"] is None else f"{row['source']}#{row['pointer']}"


def _nothing(rows: Sequence[Row], value: str, run: Path) -> Problem:
    """Return that no document prints a value, with the nearest text that one prints."""
    number = _number(value)
    texts = [*dict.fromkeys(row["printed"] for row in rows), *{row["fact"] for row in rows}]
    near = units.nearest(value, sorted(texts))
    if number is not None:
        amounts = [text for text in texts if _leading(text) is not None]
        near = min(amounts, key=lambda t: abs((_leading(t) or 0.0) - number), default=near)
    hint = f"The nearest is {shown(near)!r}." if near else ""
    return Problem(f"No document of this package prints {shown(value)!r}.", str(run), hint)


def _by_fact(rows: Sequence[Row]) -> Iterator[list[Row]]:
    """Yield the rows of each fact in each of its texts, from all documents."""
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row["fact"], row["printed"]), []).append(row)
    yield from groups.values()


def _record(here: Inventory, listed: Mapping[str, Mapping[str, Any]], rows: list[Row]) -> Row:
    row, source = rows[0], rows[0]["source"]
    data = None if source is None else here.read(source)
    made = listed.get(source or "", {})
    return {
        "documents": [each["document"] for each in rows],
        **{name: row[name] for name in provenance.FIELDS if name != "document"},
        "sha256": None if data is None else files.sha256(data),
        "read": _folded([str(each) for each in made.get("made_from", ())]),
        "now": _still(row, data),
    }


def _still(row: Row, data: bytes | None) -> bool | None:
    """Return whether an entry still has its value; None for what is no entry."""
    if row["source"] is None or row["formula"] is not None:
        return None
    if data is None:
        return False
    _, way = entries.split(f"#{row['pointer']}")
    try:
        value = entries.at(entries.parse(row["source"], data), way)
    except (ValueError, LookupError, TypeError, RecursionError):
        return False
    return bool(value == row["value"]) or bool(way and way[-1] == row["value"])


def _folded(made_from: Sequence[str]) -> list[str]:
    """Return what a task read: keys of the spec, and files; many of one folder as their number."""
    read = [each for each in made_from if not each.startswith(_INTERNAL)]
    keys = [f"spec: {each.removeprefix('key:')}" for each in read if each.startswith("key:")]
    folders: dict[str, list[str]] = {}
    for each in read:
        if not each.startswith("key:"):
            path = entries.file(each)
            folders.setdefault(path.rpartition("/")[0], []).append(path)
    named: list[str] = []
    for folder, inside in folders.items():
        few = not folder or len(inside) < _FOLDED
        named += dict.fromkeys(inside) if few else [f"{folder}/ ({len(inside)} files)"]
    return [*keys, *named]


def lines(record: Row) -> Iterator[str]:
    """Yield a record for a terminal."""
    printed = " ".join(record["printed"].split())
    yield f"{shown(printed)}  in {shown(', '.join(record['documents']))}"
    for name, text in _told(record):
        yield f"  {name:<8} {shown(text)}"


def _told(record: Row) -> Iterator[tuple[str, str]]:
    yield "fact", record["fact"]
    value = record["value"]
    text = value if isinstance(value, str) else files.canonical(value)
    yield "value", f"{text} {record['unit']}".strip()
    if record["entries"]:
        yield "from", ", ".join(record["entries"])
    if record["source"] is not None:
        yield "source", str(_address(record))
        yield "sha256", record["sha256"] or "the file is missing"
    if record["task"]:
        yield "task", record["task"]
    if record["read"]:
        yield "read", ", ".join(record["read"])
    yield "how", record["how"]
    if record["now"] is False:
        yield "warning", "the source does not hold this value now"
