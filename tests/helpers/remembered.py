"""What costs most of a build and is the same in each: the index of metagen's code, and figures."""

from __future__ import annotations

import contextlib
import functools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

from metagen.docs import drawing
from metagen.engine import digest
from metagen.work import Desk

_MOST = 500  # figures to remember
_real_index = digest.CodeIndex.of_package
_real_saved = drawing.saved
drawings: dict[str, bytes] = {}


@contextlib.contextmanager
def figures_of_equal_data() -> Iterator[None]:
    """Draw the same figure once: drawing takes two thirds of a clean build."""
    with mock.patch.object(drawing, "saved", _saved):
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


def _saved(desk: Desk, picture: drawing.Picture, form: str) -> bytes:
    """Draw a figure unless its data was drawn before; data that has no JSON is drawn each time."""
    draw: Any = picture.draw
    data = [cell.cell_contents for cell in draw.__closure__ or ()]
    place = [draw.__code__.co_filename, draw.__code__.co_firstlineno]
    try:
        key = json.dumps([form, picture.height, picture.width, place, data])
    except TypeError:
        return _real_saved(desk, picture, form)
    if len(drawings) > _MOST:
        drawings.clear()
    if key not in drawings:
        drawings[key] = _real_saved(desk, picture, form)
    desk.version("matplotlib")
    return drawings[key]
