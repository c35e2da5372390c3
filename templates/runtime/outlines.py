"""Outlines of objects in COCO's forms, as masks: polygons, and plain or packed run lengths."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.errors import fail

Mask = NDArray[np.bool_]

LEAST_NUMBERS = 6  # A polygon has three corners, of two numbers each.
MOST_RUNS = 2**24  # A longer list describes no image that is read.
FAR = 10**6  # px; coordinates beyond it describe no image that is read


def fault(outline: Any, size: tuple[int, int]) -> str | None:
    """Return what is wrong with an outline of an image of this height and width, or None."""
    if isinstance(outline, dict):
        return _runs_fault(outline, size)
    if not isinstance(outline, list) or not outline:
        return "is neither a list of polygons nor an object with counts and size"
    for polygon in outline:
        if not isinstance(polygon, list) or len(polygon) < LEAST_NUMBERS or len(polygon) % 2:
            return "has a polygon that is no list of at least three corners x, y"
        if not all(is_number(each) for each in polygon):
            return f"has a corner that is no number from {-FAR:,} to {FAR:,}"
    return None


def is_number(value: Any) -> bool:
    """Return whether a value of JSON is a finite number that a coordinate may be."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= FAR


def _runs_fault(outline: dict[str, Any], size: tuple[int, int]) -> str | None:
    """Return what is wrong with run lengths, or None."""
    if outline.get("size") != list(size):
        return f"has a size that is not the image's height and width, {list(size)}"
    try:
        runs = _runs(outline.get("counts"))
    except (ValueError, TypeError):
        return "has counts that are neither whole numbers nor COCO's packed form of them"
    if min(runs, default=-1) < 0 or sum(runs) != size[0] * size[1]:
        return "has counts that do not add up to the pixels of the image"
    return None


def _runs(counts: Any) -> list[int]:
    """Return run lengths as numbers.

    Raises:
        ValueError: They are in no known form.
    """
    if isinstance(counts, str):
        return _unpacked(counts)
    if not isinstance(counts, list) or len(counts) > MOST_RUNS:
        raise ValueError
    if not all(type(each) is int for each in counts):
        raise ValueError
    return counts


def _unpacked(text: str) -> list[int]:
    """Return the run lengths of COCO's packed text.

    A character holds five bits of a number, its lowest first, and a sixth for whether more follow;
    the last one's highest bit is the sign. From the fourth number on, they are differences from the
    number two places before.

    Raises:
        ValueError: A character is not one of those that are used, or the text ends in a number.
    """
    runs: list[int] = []
    value = shift = 0
    for code in (ord(each) - 48 for each in text):
        if not 0 <= code < 64 or shift > 30:
            raise ValueError
        value |= (code & 31) << shift
        shift += 5
        if code & 32:
            continue
        value -= (1 << shift) if code & 16 else 0
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
        value = shift = 0
    if shift:
        raise ValueError
    return runs


def mask_of(outline: Any, whole: tuple[int, int], size: tuple[int, int], scale: float) -> Mask:
    """Return the pixels of an outline without a fault, scaled, in the upper left of a picture.

    Args:
        outline: In one of COCO's forms.
        whole: Height and width of the image that it belongs to.
        size: Height and width of the picture.
        scale: Pixels of the picture for each pixel of the image.
    """
    if isinstance(outline, dict):
        return _of_runs(_runs(outline["counts"]), whole, size, scale)
    return _of_polygons(outline, whole, size, scale)


def _of_runs(
    runs: Sequence[int], whole: tuple[int, int], size: tuple[int, int], scale: float
) -> Mask:
    """Return the mask of run lengths, which go down the columns and begin outside of the object."""
    inside = np.arange(len(runs)) % 2 == 1
    # Columns come first in the run lengths, so the mask is read as (width, height) and turned.
    pixels = np.repeat(inside, runs).reshape(whole[::-1]).T
    rows, columns = (
        ((np.arange(math.ceil(side * scale)) + 0.5) / scale).astype(int).clip(max=side - 1)
        for side in whole
    )
    scaled = pixels[rows[: size[0]]][:, columns[: size[1]]]
    mask = np.zeros(size, bool)
    mask[: scaled.shape[0], : scaled.shape[1]] = scaled
    return mask


def _of_polygons(
    polygons: Sequence[Sequence[float]], whole: tuple[int, int], size: tuple[int, int], scale: float
) -> Mask:
    """Return the pixels that lie in any of some polygons, as COCO draws them."""
    try:
        from pycocotools import mask as packer  # type: ignore[import-untyped]
    except ImportError:
        fail("outlines of objects are drawn by a library: pip install pycocotools.")
    # What lies far outside would only take memory.
    edges = np.array(whole[::-1])
    inside = [np.clip(np.reshape(each, (-1, 2)), 0, edges) * scale for each in polygons]
    drawn = packer.frPyObjects([each.ravel().tolist() for each in inside], *size)
    mask: Mask = packer.decode(packer.merge(drawn)).astype(bool)
    return mask
