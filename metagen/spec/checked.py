"""A spec whose values are checked and typed."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from metagen.errors import Problem
from metagen.files import brief, canonical, sha256
from metagen.spec.declared import nested
from metagen.spec.schema import keys

_WORD = re.compile(r"[\w.+∞-]{1,40}")


def said(value: Any) -> str:
    """Return a value for a sentence: short, on one line, with control characters escaped."""
    word = isinstance(value, str) and _WORD.fullmatch(value)
    return str(value) if word else brief(value)


@dataclass(frozen=True)
class Spec:
    """The requirements on a model: every leaf key, checked and typed.

    Attributes:
        path: The file it was read from.
        sha256: Digest of the file at that time.
        warnings: Keys that are allowed but unusual.
    """

    path: Path
    sha256: str
    warnings: tuple[Problem, ...]
    _values: Mapping[str, Any]
    _sources: Mapping[str, str]
    _spelled: Mapping[str, Any]

    def key(self, name: str) -> Any:
        """Return the typed value of a leaf key; None if it is not declared.

        Raises:
            KeyError: The schema has no such leaf key.
        """
        return copy.deepcopy(self._values[name])

    def keys(self) -> tuple[str, ...]:
        """Return the names of all leaf keys, in the order of the schema."""
        return tuple(keys())

    def digest(self, name: str) -> str:
        """Return the sha256 of a value and its type: 1, 1.0, true, "1" and null all differ."""
        return sha256(canonical(self._values[name]).encode())

    def shown(self, name: str) -> str:
        """Return a value as declared, such as `8B`; control characters are escaped."""
        spelled = self._spelled.get(name)
        return "not declared" if spelled is None else said(spelled)

    def source(self, name: str) -> str:
        """Return where a key was set: `file:line:column`, the override's text, or `default`."""
        self._values[name]
        return self._sources.get(name, "default")

    def tree(self) -> dict[str, Any]:
        """Return the spec as a nested mapping, with defaults and without undeclared keys.

        Loading the result as a spec gives the same value for every leaf key.
        """
        values = ((name, self.key(name)) for name in keys())
        return nested({name: _listed(value) for name, value in values if value is not None})


def _listed(value: Any) -> Any:
    """Return a value with lists in place of tuples, which YAML lacks."""
    return [_listed(part) for part in value] if isinstance(value, tuple) else value
