"""Structured files of a package and their entries, addressed by JSON pointers (RFC 6901)."""

from __future__ import annotations

import ast
import copy
import csv
import io
import json
import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

import yaml

from metagen.files import sha256

ABSENT = "absent"  # The digest of a missing entry; it cannot be mistaken for a sha256.
_VERSION = re.compile(r"(?m)^(?:# (?=Python))?([\w.-]+)(?:==| )(\d[\w.]*)")
# The fields of a node of Python that hold statements, or nodes that do.
_BLOCKS = ("body", "handlers", "orelse", "finalbody", "cases")
_CITATION = re.compile(r"\\cite[tp]?\{([^}]*)\}")


def parse(path: str, data: bytes) -> Any:
    """Return the content of a .json, .yaml, .csv, .lock, .py or .tex file.

    A table is a list of rows, whose cells are numbers or None. A lock file has the version of each
    library, and of `python`. A Python file has one entry, `imports`: the modules that it imports
    anywhere. A LaTeX file has one, `citations`: the keys that it cites.

    Raises:
        ValueError: The content does not fit the file's suffix.
    """
    if path.endswith(".json"):
        return json.loads(data)
    if path.endswith(".yaml"):
        return copy.deepcopy(_yaml(data))
    if path.endswith(".py"):
        return {"imports": list(_imports(data))}
    if path.endswith(".tex"):
        return {"citations": _citations(data)}
    if path.endswith(".lock"):
        return {name.lower(): number for name, number in _VERSION.findall(data.decode())}
    return [
        {key: float(cell) if cell else None for key, cell in row.items()} for row in csv_rows(data)
    ]


def csv_rows(data: bytes) -> list[dict[str, str]]:
    """Return the rows of a table of texts, each by the names of its columns."""
    return list(csv.DictReader(io.StringIO(data.decode())))


# A build reads its plan and its scripts in dozens of tasks.
@lru_cache(maxsize=64)
def _yaml(data: bytes) -> Any:
    try:
        return yaml.load(data, Loader=yaml.CSafeLoader)  # libyaml's, which is fast
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from None


@lru_cache(maxsize=256)
def _imports(data: bytes) -> tuple[str, ...]:
    try:
        nodes = list(statements(ast.parse(data)))
    except SyntaxError as error:
        raise ValueError(f"it is not valid Python, line {error.lineno}: {error.msg}") from None
    names = {alias.name for n in nodes if isinstance(n, ast.Import) for alias in n.names}
    froms = {n.module for n in nodes if isinstance(n, ast.ImportFrom) and n.module}
    return tuple(sorted(names | froms))


def statements(node: ast.AST) -> Iterator[ast.AST]:
    """Yield a node and the statements in it, at any depth; expressions hold no statement."""
    yield node
    for name in _BLOCKS:
        for inner in getattr(node, name, ()):
            yield from statements(inner)


def _citations(data: bytes) -> list[str]:
    lists = _CITATION.findall(data.decode())
    return sorted({key.strip() for keys in lists for key in keys.split(",")})


def at(content: Any, keys: Sequence[str]) -> Any:
    """Return the entry under nested keys; a key of a list is a position as text.

    Raises:
        LookupError: There is no such entry.
    """
    for key in keys:
        if isinstance(content, list) and key.isdecimal():
            content = content[int(key)]
        elif isinstance(content, dict):
            content = content[key]
        else:
            raise LookupError(key)
    return content


def names(content: Any) -> tuple[str, ...]:
    """Return the keys of a mapping, or the positions in a list as text."""
    if isinstance(content, dict):
        return tuple(content)
    return tuple(map(str, range(len(content or ()))))


def digest(value: Any) -> str:
    """Return the sha256 of a value, its types and its order, which documents show."""
    return sha256(json.dumps(value, separators=(",", ":")).encode())


def pointer(path: str, keys: Sequence[str]) -> str:
    """Return the address of an entry, such as `blueprint/params.json#/by_module/layers`."""
    return path + "#" + "".join(f"/{p.replace('~', '~0').replace('/', '~1')}" for p in keys)


def file(address: str) -> str:
    """Return the path in an address; an address may be a path alone."""
    return address.partition("#")[0]


def split(address: str) -> tuple[str, tuple[str, ...]]:
    """Return the path and the keys of an address: the reverse of `pointer`."""
    path, _, rest = address.partition("#")
    parts = rest.split("/")[1:]
    return path, tuple(p.replace("~1", "/").replace("~0", "~") for p in parts)
