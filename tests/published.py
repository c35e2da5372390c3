"""The published models that a family's trend is fitted on."""

from __future__ import annotations

from typing import Any

from metagen import paths


def published(family: Any) -> bytes:
    """Return the family's table of published models."""
    return paths.source(family.published).read_bytes()
