"""Structured files of a package and their entries, addressed by JSON pointers (RFC 6901)."""

from __future__ import annotations

import ast
import csv
import io
import json
import re
from collections.abc import Sequence
from typing import Any

import yaml

from metagen.files import sha256

ABSENT = "absent"  # the digest of an entry that is not there; no sha256 reads so
_CITATION = re.compile(r"\\cite[tp]?\{([^}]*)\}")


def parse(path: str, data: bytes) -> Any:
    """Return the content of a .json, .yaml, .csv, .py or .tex file.

    Cells of a table are numbers or None; of Python, there is the list of the modules that it
    imports, anywhere in it, as `imports`; of LaTeX, that of the keys that it cites, as `citations`.

    Raises:
        ValueError: It is no such file.
    """
    if path.endswith(".json"):
        return json.loads(data)
    if path.endswith(".yaml"):
        try:
            return yaml.load(data, Loader=yaml.CSafeLoader)  # the safe loader, in C
        except yaml.YAMLError as error:
            raise ValueError(str(error)) from None
    if path.endswith(".py"):
        return {"imports": _imports(data)}
    if path.endswith(".tex"):
        return {"citations": _citations(data)}
    rows = csv.DictReader(io.StringIO(data.decode()))
    return [{key: float(cell) if cell else None for key, cell in row.items()} for row in rows]


def _imports(data: bytes) -> list[str]:
    """Return the modules that some Python imports, sorted."""
    try:
        nodes = list(ast.walk(ast.parse(data)))
    except SyntaxError as error:
        raise ValueError(f"it is no Python, by line {error.lineno}: {error.msg}") from None
    names = {alias.name for n in nodes if isinstance(n, ast.Import) for alias in n.names}
    return sorted(names | {n.module for n in nodes if isinstance(n, ast.ImportFrom) and n.module})


def _citations(data: bytes) -> list[str]:
    """Return the keys that some LaTeX cites, sorted."""
    found = _CITATION.findall(data.decode())
    return sorted({key.strip() for keys in found for key in keys.split(",")})


def at(content: Any, way: Sequence[str]) -> Any:
    """Return the entry at the end of a way of keys and positions.

    Raises:
        LookupError: There is no such entry.
    """
    for part in way:
        if isinstance(content, list) and part.isdecimal():
            content = content[int(part)]
        elif isinstance(content, dict):
            content = content[part]
        else:
            raise LookupError(part)
    return content


def names(content: Any) -> tuple[str, ...]:
    """Return the keys of a mapping, or the positions in a list, as parts of a way."""
    if isinstance(content, dict):
        return tuple(content)
    return tuple(map(str, range(len(content or ()))))


def digest(value: Any) -> str:
    """Return the sha256 of a value, its types and its order, since documents show the order."""
    return sha256(json.dumps(value, separators=(",", ":")).encode())


def pointer(path: str, way: Sequence[str]) -> str:
    """Return the address of an entry, such as `blueprint/params.json#/by_module/layers`."""
    return path + "#" + "".join(f"/{p.replace('~', '~0').replace('/', '~1')}" for p in way)


def file(address: str) -> str:
    """Return the path of the file that an address names, or a path as it is."""
    return address.partition("#")[0]


def split(address: str) -> tuple[str, tuple[str, ...]]:
    """Return the path and the way that `pointer` made an address from."""
    path, _, rest = address.partition("#")
    parts = rest.split("/")[1:]
    return path, tuple(p.replace("~1", "/").replace("~0", "~") for p in parts)
