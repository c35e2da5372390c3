"""Mesh files: OBJ (Wavefront) and PLY (Stanford), read with limits, and written as OBJ or PLY."""

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import NoReturn

import numpy as np

from runtime.errors import fail
from runtime.listing import suffix_of
from runtime.ply import MOST, FaultError, read_ply
from runtime.surfaces import Surface

SUFFIXES = (".obj", ".ply")
# Forms of shapes that are not read, so that their files are named and not passed over.
UNREAD = (
    ".stl",
    ".off",
    ".glb",
    ".gltf",
    ".fbx",
    ".dae",
    ".3ds",
    ".blend",
    ".usd",
    ".usdz",
    ".xyz",
)
MOST_BYTES = 2**29  # A larger file is refused before it is read.
MOST_CORNERS = 256  # corners of a polygon
LEAST_SIZE = 1e-12  # side of the box around a shape


def read_mesh(path: Path) -> Surface:
    """Return the surface that an OBJ or PLY file describes, or stop.

    Polygons are cut into triangles that share their first corner, as convex ones can be. Colours,
    normals, textures and materials are not read, and no file that a mesh names is opened.
    """
    size = path.stat().st_size
    if size > MOST_BYTES:
        _refuse(path, f"has {size:,} bytes, more than {MOST_BYTES:,}: use a coarser mesh")
    try:
        surface = read_ply(path) if suffix_of(path) == ".ply" else _read_obj(path)
        _check(surface)
    except FaultError as fault:
        _refuse(path, str(fault))
    return surface


def write_obj(path: Path, surface: Surface) -> None:
    """Write a mesh as OBJ, with five decimals."""
    lines = [f"v {x:.5f} {y:.5f} {z:.5f}\n" for x, y, z in surface.vertices]
    lines += [f"f {a} {b} {c}\n" for a, b, c in surface.faces + 1]
    path.write_text("".join(lines), encoding="ascii")


def write_cloud(path: Path, points: np.ndarray[tuple[int, int], np.dtype[np.float64]]) -> None:
    """Write points as a binary PLY file without faces."""
    names = "".join(f"property float {axis}\n" for axis in "xyz")
    head = (
        f"ply\nformat binary_little_endian 1.0\nelement vertex {len(points)}\n{names}end_header\n"
    )
    path.write_bytes(head.encode() + points.astype("<f4").tobytes())


def _refuse(path: Path, fault: str) -> NoReturn:
    fail(f"{path} {fault}.")


def _check(surface: Surface) -> None:
    """Raise what is wrong with a surface that was read.

    Raises:
        FaultError: It has no extent, a coordinate is no number, or a corner is missing.
    """
    vertices, faces = surface.vertices, surface.faces
    if not len(vertices):
        raise FaultError("has no vertices: leave it out")
    if not np.isfinite(vertices).all() or np.abs(vertices).max() > 1e30:
        raise FaultError("has a coordinate that is no usable number: export it again")
    if len(faces) and (faces.min() < 0 or faces.max() >= len(vertices)):
        raise FaultError(
            f"has a face with a vertex that does not exist, of {len(vertices):,}: export it again"
        )
    if np.ptp(vertices, axis=0).max() < LEAST_SIZE or (
        len(faces) and not surface.areas().sum() > 0
    ):
        raise FaultError("has no surface, since all its points are in one place: leave it out")


def _read_obj(path: Path) -> Surface:
    """Return the surface of an OBJ file.

    Raises:
        FaultError: A line is not what it must be, with its number.
    """
    vertices: list[tuple[float, float, float]] = []
    faces: list[tuple[int, int, int]] = []
    for number, line in _lines(path):
        word, *rest = line.split()
        try:
            if word == "v":
                vertices.append((float(rest[0]), float(rest[1]), float(rest[2])))
            elif word == "f":
                faces += _triangles([_corner(each, len(vertices)) for each in rest])
        except (ValueError, IndexError):
            raise FaultError(f"line {number:,} is not OBJ: {line[:60]!a}") from None
        if len(vertices) > MOST or len(faces) > MOST:
            raise FaultError(f"has more than {MOST:,} vertices or faces: use a coarser mesh")
    corners = np.asarray(faces, dtype=np.int64).reshape(-1, 3)
    return Surface(np.asarray(vertices, dtype=np.float64).reshape(-1, 3), corners)


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the number and the text of each line; a backslash at its end joins the next one."""
    joined = ""
    with path.open(encoding="utf-8", errors="replace") as file:
        for number, line in enumerate(file, start=1):
            joined += line.strip()
            if joined.endswith("\\") and len(joined) < 2**16:
                joined = joined[:-1] + " "
                continue
            if joined:
                yield number, joined
            joined = ""


def _corner(text: str, known: int) -> int:
    """Return the vertex of a corner such as `7/2/3`; a negative one counts from the last."""
    index = int(text.partition("/")[0])
    if index == 0:
        raise ValueError("vertices of OBJ are counted from 1")
    return index - 1 if index > 0 else known + index


def _triangles(corners: list[int]) -> Iterator[tuple[int, int, int]]:
    """Yield the triangles of a polygon, all from its first corner."""
    if not 3 <= len(corners) <= MOST_CORNERS:
        raise ValueError("a face has from 3 corners to MOST_CORNERS")
    for one, two in pairwise(corners[1:]):
        yield corners[0], one, two
