"""A JSON file with a list of entries, such as run.json: replaced as a whole, never half-written."""

import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from runtime.errors import fail

VERSION = 1
Entries = list[dict[str, Any]]


def read_entries(path: Path, key: str) -> Entries:
    """Return the entries of a file, none if it does not exist; stop if it is damaged.

    Args:
        path: The file: an object with a `version`, and the entries under a key.
        key: The key, such as `starts`.
    """
    if not os.path.lexists(path):
        return []
    try:
        # Another file must not be taken for the record of this folder.
        content = None if path.is_symlink() else json.loads(path.read_text(encoding="utf-8"))
        to_text(content)  # what cannot be written again, such as deep nesting, is damaged too
    except (OSError, ValueError, RecursionError):
        content = None
    content = content if isinstance(content, dict) else {}
    entries = content.get(key)
    if not isinstance(entries, list) or not all(isinstance(each, dict) for each in entries):
        fail(
            f'{path} is no JSON file with a list of "{key}", so it is damaged or another file: '
            "restore it, or move it out of the folder, and a new one begins."
        )
    if content.get("version") != VERSION:
        fail(
            f"{path} has another version than {VERSION}, so other code wrote it: name a new folder "
            "with --out, or move the file out of this one."
        )
    return entries


def write_entries(path: Path, key: str, entries: Sequence[Mapping[str, Any]]) -> None:
    """Replace a file by one with these entries; a kill leaves the old one or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.new")
    new.unlink(missing_ok=True)
    # "x" creates a file, so that it never writes through a link that lies there.
    with new.open("x", encoding="utf-8") as file:
        file.write(to_text({"version": VERSION, key: list(entries)}) + "\n")
        file.flush()
        # Without fsync, a power cut could leave the name with an empty file.
        os.fsync(file.fileno())
    new.replace(path)


def to_text(value: object) -> str:
    """Return indented JSON, with null for each number that JSON has no form for."""
    return json.dumps(_finite(value), indent=2, allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {key: _finite(each) for key, each in value.items()}
    return [_finite(each) for each in value] if isinstance(value, list | tuple) else value
