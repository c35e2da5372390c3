"""Parameters of which the default tests take a few, and continuous integration all, in turn."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

IN_TURN = (pytest.mark.slow, pytest.mark.ci)


def in_turn(values: Iterable[Any], *always: Any) -> list[Any]:
    """Return parameters: those that are always taken, or else the first, and the others as slow."""
    every = [*values]
    kept = always or every[:1]
    return [each if each in kept else pytest.param(each, marks=IN_TURN) for each in every]
