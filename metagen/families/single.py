"""What families share whose model takes one input at a time: an image, a row, a window, a pair."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from metagen.families.family import Dims


def context(m: Dims) -> int | None:
    """Return None: an input has one size, so there is no context window."""
    return None


def lengths(full: Mapping[str, Any]) -> tuple[int, list[int]]:
    """Return one input, which is all that is measured: each takes the same."""
    return 1, [1]


def input_length(m: Dims) -> int:
    """Return 1: one input gives one output."""
    return 1


def training_length(m: Dims) -> int:
    """Return 1: training data is counted in inputs, as operations are."""
    return 1
