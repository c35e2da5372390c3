"""Files that a training run or a harness left, at the door: JSON of some size, fields of some kind.

All of it may come from a stranger. What is wrong is a `TaskError`, whose place names the file and
the entry, and whose hint is the next step.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any, NoReturn

from metagen.entries import pointer
from metagen.errors import Problem, TaskError
from metagen.spec.findings import shown
from metagen.spec.kinds import Kind, RefusedError

MOST = 64 * 2**20  # bytes of a JSON file; harnesses write some megabytes, with their samples
_SHOWN = 30  # problems in one message
_LONGEST = 300  # characters of a place
AGAIN = "bind the file as the program wrote it"


def refuse(sentence: str, place: str, hint: str = AGAIN) -> NoReturn:
    """Raise one problem; its place may hold names that a stranger chose."""
    raise TaskError(_shown(Problem(sentence, place, hint)))


def settle(problems: Iterable[Problem]) -> None:
    """Raise problems, if there are any; of many, the first."""
    if every := [_shown(problem) for problem in islice(problems, _SHOWN)]:
        raise TaskError(every)


def _shown(problem: Problem) -> Problem:
    """Return a problem whose place a terminal can show: short, without control characters."""
    place = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in problem.place[:_LONGEST])
    return replace(problem, place=place)


def content(path: str, data: bytes, *, nan: bool = False) -> Any:
    """Return the content of a JSON file.

    Args:
        path: Its name, for messages.
        data: Its bytes.
        nan: Whether NaN and Infinity, which JSON lacks, are numbers; Python writes them.

    Raises:
        TaskError: It is no JSON, is too large or too deep, or an object has a name twice.
    """
    if len(data) > MOST:
        refuse(f"This file has {len(data):,} bytes, more than {MOST:,}.", path)
    constant = float if nan else _no_number
    try:
        return json.loads(data, object_pairs_hook=_once, parse_constant=constant)
    except json.JSONDecodeError as error:
        place = f"{path}:{error.lineno}:{error.colno}"
        refuse(f"This is not valid JSON, or it is cut short: {error.msg}.", place)
    except (ValueError, RecursionError) as error:
        refuse(f"This is not valid JSON: {error}.", path)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"an object has the name {shown(twice)} twice")
    return found


def _no_number(text: str) -> Any:
    raise ValueError(f"{text} is not a number of JSON")


def flaws(
    path: str, keys: Sequence[str], value: Any, kinds: Mapping[str, Kind]
) -> Iterator[Problem]:
    """Yield what is wrong with the fields of an object; it may have others, which nothing reads.

    Args:
        path: The file.
        keys: Where the object lies in it.
        value: What should be the object.
        kinds: The fields that it must have, each with its kind.
    """
    if not isinstance(value, dict):
        yield Problem(f"This must be an object, and is {shown(value)}.", pointer(path, keys), AGAIN)
        return
    for name, kind in kinds.items():
        place = pointer(path, (*keys, name))
        if name not in value:
            yield Problem(f"The field {name} is missing.", place, AGAIN)
            continue
        try:
            kind.parse(value[name])
        except RefusedError as error:
            for flaw in error.flaws:
                yield Problem(f"{name}{flaw.at} {flaw.sentence}.", place, flaw.hint or AGAIN)
