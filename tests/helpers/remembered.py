"""What costs most of a build and is the same in each: the index of metagen's code, and figures."""

from __future__ import annotations

import contextlib
import functools
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

from metagen.docs import drawing, figures, outcome
from metagen.engine import digest
from metagen.work import Desk

_MOST = 500  # figures to remember
_real_index = digest.CodeIndex.of_package
_real_drawn = drawing.drawn
drawings: dict[str, dict[str, bytes]] = {}


@contextlib.contextmanager
def figures_of_equal_data() -> Iterator[None]:
    """Draw the same figure of a paper once: drawing takes two thirds of a clean build."""
    with (
        mock.patch.object(figures, "drawn", _drawn),
        mock.patch.object(outcome, "drawn", _drawn),
    ):
        yield


@contextlib.contextmanager
def code() -> Iterator[None]:
    """Parse equal code once: reading metagen's takes a third of a clean build."""
    with mock.patch.object(digest.CodeIndex, "of_package", _index):
        yield


def _index(root: Path) -> digest.CodeIndex:
    return _indexed(root, digest.package_digest(root))


@functools.lru_cache(maxsize=8)
def _indexed(root: Path, sha256: str) -> digest.CodeIndex:
    return _real_index(root)


def _drawn(
    desk: Desk, name: str, height: float, draw: Callable[..., None], width: float = drawing.WIDTH
) -> dict[str, bytes]:
    """Draw a figure unless its data was drawn before; data that has no JSON is drawn each time."""
    data = [cell.cell_contents for cell in draw.__closure__ or ()]
    try:
        key = json.dumps([name, height, width, draw.__code__.co_firstlineno, data])
    except TypeError:
        return _real_drawn(desk, name, height, draw, width)
    if len(drawings) > _MOST:
        drawings.clear()
    if key not in drawings:
        drawings[key] = _real_drawn(desk, name, height, draw, width)
    desk.version("matplotlib")
    return drawings[key]
