"""What a package states by an edit: the typed numbers, and the lines of documents that rest on one.

A clean build of the same spec has none of the edits, so the lines of an unedited document that
only the package has follow from an edit.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from metagen.measure.results import CURVE, REPORT, RESULTS, has_result, named

_DOCUMENTS = ("README.md", "docs/", "paper/")
_LINES = 20  # lines shown of each document
_WIDTH = 100  # characters of a line
_WORD, _WORDS = re.compile(r"[A-Za-z]{2,}"), 6  # what a sentence has at least


def resting_on_edits(
    here: Mapping[str, bytes], clean: Mapping[str, bytes], edited: set[str]
) -> Iterator[str]:
    """Yield a line for each typed number, and for each statement that rests on an edit of one.

    Args:
        here: The files of a package.
        clean: Those of a clean build.
        edited: The files that a person edited.
    """
    if not edited & {RESULTS, REPORT, CURVE}:
        return
    yield from _typed(here.get(RESULTS, b""), clean.get(RESULTS, b""))
    for path in sorted(here.keys() & clean.keys() - edited):
        if path.startswith(_DOCUMENTS) and path.endswith((".md", ".tex")):
            yield from _lines(path, here[path].decode(errors="replace"), clean[path].decode())


def _states(line: str) -> bool:
    """Return whether a line says something, and is not a heading or markup alone."""
    return any(c.isdigit() for c in line) or len(_WORD.findall(line)) >= _WORDS


def _typed(here: bytes, clean: bytes) -> Iterator[str]:
    own = _rows(clean)
    for row in _rows(here):
        if row not in own:
            yield f"{RESULTS}: {named(row)}: {row['value']} was typed, not measured by the build"


def _rows(data: bytes) -> list[Any]:
    """Return the results of a file; none if the file was spoiled, which is reported by itself."""
    try:
        rows = json.loads(data)
        return [row for row in rows if has_result(row) and "value" in row]
    except (ValueError, TypeError, LookupError, RecursionError):
        return []


def _lines(path: str, here: str, clean: str) -> Iterator[str]:
    known = set(clean.splitlines())
    lines = enumerate(here.splitlines(), 1)
    new = [(n, line) for n, line in lines if line not in known and _states(line)]
    for number, line in islice(new, _LINES):
        text = line.strip()
        shown = text if len(text) <= _WIDTH else f"{text[: _WIDTH - 1]}…"
        yield f"{path}:{number} rests on an edit: {shown}"
    if len(new) > _LINES:
        yield f"{path}: {len(new) - _LINES} more lines rest on an edit"
