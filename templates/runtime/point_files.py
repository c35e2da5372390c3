"""Clouds of points in a user's files: rows, arrays, or meshes in a folder for each class.

A row of a .jsonl, .json, .parquet or .arrow file is a cloud; a .npz file holds many of one size; an
.obj or .ply file is a mesh, or bare points.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from runtime.errors import fail
from runtime.fields import LABEL, label_of, named, picked, read_arrays
from runtime.formats import SUFFIXES as ROWS
from runtime.formats import rows_of
from runtime.listing import suffix_of
from runtime.meshes import LEAST_SIZE, read_mesh
from runtime.meshes import SUFFIXES as MESHES
from runtime.surfaces import Points, Surface

NPZ = ".npz"
# A cell of a CSV file holds no list.
TABLES = (*(each for each in ROWS if ".csv" not in each and ".tsv" not in each), NPZ)
SUFFIXES = (*TABLES, *MESHES)
POINTS = ("points", "pos", "x", "X", "data")
LARGEST = 1e12  # A coordinate's square stays far from the largest float32.


@dataclass(frozen=True)
class Cloud:
    """A cloud as it was read.

    Attributes:
        place: Where it stands, for errors.
        surface: Its points, or a mesh that points are drawn from.
        label: Its class; None where none is asked for.
    """

    place: str
    surface: Surface
    label: str | None


def read_clouds(path: Path, *, labelled: bool, label: str | None = None) -> list[Cloud]:
    """Return the clouds of a file, or stop.

    Args:
        path: A file of any of `SUFFIXES`.
        labelled: Whether each cloud of a table must have a class.
        label: The class of a mesh, which its folder names.
    """
    suffix = suffix_of(path)
    if suffix not in SUFFIXES or not path.is_file():
        fail(f"{path} is neither a {', '.join(SUFFIXES)} file nor a folder of them.")
    if suffix in MESHES:
        return [Cloud(str(path), read_mesh(path), label)]
    clouds = list(_arrays(path, labelled) if suffix == NPZ else _rows(path, labelled))
    if not clouds:
        fail(f"{path} has no cloud: write one into each line.")
    return clouds


def _rows(path: Path, labelled: bool) -> Iterator[Cloud]:
    for place, row in rows_of(path):
        place = place.rstrip(",")
        _, points = picked(row, POINTS, place)
        if points is None:
            fail(f'{place} has no "points", a list of [x, y, z]; it has {named(row)}.')
        label = label_of(picked(row, LABEL, place)[1], row, place) if labelled else None
        yield Cloud(place, _cloud(points, place), label)


def _arrays(path: Path, labelled: bool) -> Iterator[Cloud]:
    arrays = read_arrays(path)
    _, points = picked(arrays, POINTS, str(path))
    labels = picked(arrays, LABEL, str(path))[1]
    if points is None or points.ndim != 3:
        fail(f"{path} has no points (clouds, points, 3); it has {named(arrays)}.")
    if labelled and (labels is None or np.ndim(labels) == 0 or len(labels) != len(points)):
        fail(f"{path} has {len(points):,} clouds, and not as many labels: give y one for each.")
    for number, each in enumerate(points):
        place = f"{path}, cloud {number}"
        label = label_of(labels[number], arrays, place) if labelled else None
        yield Cloud(place, _cloud(each, place), label)


def _cloud(value: Any, place: str) -> Surface:
    """Return points as a surface without faces, or stop at what is none."""
    try:
        points: Points = np.array(value, np.float64)
    except (ValueError, TypeError, OverflowError):
        fail(f"{place}: points must be numbers, three or more for each: x, y, z and what follows.")
    if points.ndim != 2 or points.shape[1] < 3 or not len(points):
        fail(f"{place}: points must have an [x, y, z] each, and there must be some.")
    points = points[:, :3]
    if not np.isfinite(points).all() or np.abs(points).max() > LARGEST:
        fail(f"{place} has a coordinate that is no finite number, or too large: correct it.")
    if np.ptp(points, axis=0).max() < LEAST_SIZE:
        fail(f"{place} has all points in one place: leave it out.")
    return Surface(points, np.zeros((0, 3), np.int64))
