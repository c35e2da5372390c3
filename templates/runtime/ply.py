"""PLY files (Turk, 1994): text or binary, with triangles, polygons or points alone."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from runtime.surfaces import Faces, Points, Surface

MOST = 10_000_000  # vertices or faces of a file
MOST_HEAD = 2**16  # bytes of a header
MOST_CORNERS = 256  # corners of a polygon
TYPES = {
    **dict.fromkeys(("char", "int8"), "i1"),
    **dict.fromkeys(("uchar", "uint8"), "u1"),
    **dict.fromkeys(("short", "int16"), "i2"),
    **dict.fromkeys(("ushort", "uint16"), "u2"),
    **dict.fromkeys(("int", "int32"), "i4"),
    **dict.fromkeys(("uint", "uint32"), "u4"),
    **dict.fromkeys(("float", "float32"), "f4"),
    **dict.fromkeys(("double", "float64"), "f8"),
}
ORDERS = {"ascii": "", "binary_little_endian": "<", "binary_big_endian": ">"}
CORNERS = ("vertex_indices", "vertex_index")


class FaultError(ValueError):
    """What is wrong with a mesh file: the end of a sentence that begins with its name."""


@dataclass
class Element:
    """One kind of rows of a file.

    Attributes:
        name: Such as `vertex`.
        count: Rows.
        properties: The name of each property, the type of its values, and that of its length if it
            is a list.
    """

    name: str
    count: int
    properties: list[tuple[str, str, str | None]] = field(default_factory=list)

    @property
    def plain(self) -> bool:
        """Whether no property is a list, so that all rows have one size."""
        return all(length is None for _, _, length in self.properties)


def read_ply(path: Path) -> Surface:
    """Return the surface of a PLY file; one without faces is a cloud of points.

    Raises:
        FaultError: The file is no PLY file, ends too soon or has too much of something.
    """
    data = path.read_bytes()
    order, elements, start = _header(data)
    rows = _Text(data[start:]) if order == "" else _Binary(data, start, order)
    vertices: Points | None = None
    faces = np.empty((0, 3), dtype=np.int64)
    for element in elements:
        if element.name == "vertex":
            vertices = _coordinates(element, rows)
        elif element.name == "face":
            faces = _faces(element, rows)
            break  # What follows is no part of the surface.
        else:
            rows.skip(element)
    if vertices is None:
        raise FaultError("has no vertices before its faces: export it again")
    return Surface(vertices, faces)


def _header(data: bytes) -> tuple[str, list[Element], int]:
    """Return the byte order ("" for text), the elements, and where the rows begin."""
    mark = b"end_header"
    end = data.find(mark, 0, MOST_HEAD)
    if not data.startswith(b"ply") or end < 0:
        raise FaultError("is no PLY file, which begins with a header: export it again")
    start = end + len(mark)
    start += 2 if data[start : start + 2] == b"\r\n" else 1
    order, elements = None, list[Element]()
    for line in data[:end].decode("ascii", "replace").splitlines()[1:]:
        match line.split():
            case ["format", name, "1.0"] if name in ORDERS:
                order = ORDERS[name]
            case ["element", name, count] if count.isdecimal() and len(count) < 12:
                elements.append(Element(name, int(count)))
            case ["property", "list", length, kind, name] if elements and {length, kind} <= {
                *TYPES
            }:
                elements[-1].properties.append((name, TYPES[kind], TYPES[length]))
            case ["property", kind, name] if elements and kind in TYPES:
                elements[-1].properties.append((name, TYPES[kind], None))
            case [] | ["comment" | "obj_info", *_]:
                pass
            case _:
                raise FaultError(f"has a header line that is not PLY: {line[:60]!a}")
    if order is None:
        raise FaultError("does not say its format, text or binary, in its header")
    for element in elements:
        if element.count > MOST:
            raise FaultError(
                f"says that it has {element.count:,} of {element.name!a}, more than {MOST:,}: "
                "use a coarser mesh"
            )
    return order, elements, start


def _coordinates(element: Element, rows: _Text | _Binary) -> Points:
    names = [name for name, _, _ in element.properties]
    if not {"x", "y", "z"} <= set(names):
        raise FaultError("has vertices without x, y and z: export it again")
    if not element.plain:
        raise FaultError("has lists in its vertices, which are not read: export it without them")
    table = rows.table(element)
    return np.stack([np.asarray(table[axis], dtype=np.float64) for axis in "xyz"], axis=1)


def _faces(element: Element, rows: _Text | _Binary) -> Faces:
    """Return the triangles of polygons; all of one start at its first corner."""
    names = [name for name, _, _ in element.properties]
    place = next((names.index(each) for each in CORNERS if each in names), None)
    if element.count and (place is None or element.properties[place][2] is None):
        raise FaultError(f"has faces without a list {CORNERS[0]}: export it again")
    found: list[tuple[int, int, int]] = []
    triangles = rows.triangles(element)
    if triangles is not None:
        return triangles
    for _ in range(element.count):
        corners = rows.row(element)[place or 0]
        if not 3 <= len(corners) <= MOST_CORNERS:
            raise FaultError(f"has a face with {len(corners):,} corners: export it as triangles")
        found += [(corners[0], a, b) for a, b in pairwise(corners[1:])]
        if len(found) > MOST:
            raise FaultError(f"has more than {MOST:,} faces: use a coarser mesh")
    return np.asarray(found, dtype=np.int64).reshape(-1, 3)


class _Binary:
    """Rows of numbers in a byte order."""

    def __init__(self, data: bytes, start: int, order: str) -> None:
        self.data, self.place, self.order = data, start, order

    def table(self, element: Element) -> Any:
        """Return the rows of an element without lists, as arrays by property."""
        kinds = [(f"{i} {name}", self.order + kind) for i, (name, kind, _) in _listed(element)]
        dtype = np.dtype(kinds)
        end = self.place + element.count * dtype.itemsize
        if end > len(self.data):
            raise FaultError(_short(element))
        rows = np.frombuffer(self.data[self.place : end], dtype)
        self.place = end
        return {name: rows[f"{i} {name}"] for i, (name, _, _) in _listed(element)}

    def triangles(self, element: Element) -> Faces | None:
        """Return faces at once where each is one list of three, as in most files; else None."""
        if len(element.properties) != 1 or element.properties[0][2] is None:
            return None
        [(_, kind, length)] = element.properties
        dtype = np.dtype([("length", f"{self.order}{length}"), ("of", f"{self.order}{kind}", (3,))])
        end = self.place + element.count * dtype.itemsize
        if end > len(self.data):
            return None
        rows = np.frombuffer(self.data[self.place : end], dtype)
        if not (rows["length"] == 3).all():
            return None
        self.place = end
        return rows["of"].astype(np.int64)

    def row(self, element: Element) -> list[Any]:
        """Return the values of the next row; those of a list are a list."""
        return [self._values(element, kind, length) for _, kind, length in element.properties]

    def skip(self, element: Element) -> None:
        """Pass over the rows of an element."""
        if element.plain:
            self.table(element)
            return
        for _ in range(element.count):
            self.row(element)

    def _values(self, element: Element, kind: str, length: str | None) -> Any:
        if length is None:
            return self._numbers(element, kind, 1)[0]
        [count] = self._numbers(element, length, 1)
        if not 0 <= count <= len(self.data):
            raise FaultError(f"has a list of {count:,} values: export it again")
        return self._numbers(element, kind, int(count))

    def _numbers(self, element: Element, kind: str, count: int) -> list[Any]:
        letter = {"i1": "b", "u1": "B", "i2": "h", "u2": "H", "i4": "i", "u4": "I"}
        form = f"{self.order}{count}{letter.get(kind, 'f' if kind == 'f4' else 'd')}"
        end = self.place + struct.calcsize(form)
        if end > len(self.data):
            raise FaultError(_short(element))
        values = struct.unpack_from(form, self.data, self.place)
        self.place = end
        return list(values)


class _Text:
    """Rows of numbers as text, a row a line."""

    def __init__(self, data: bytes) -> None:
        self.lines = iter(data.decode("ascii", "replace").splitlines())

    def table(self, element: Element) -> Any:
        """Return the rows of an element without lists, as columns by property."""
        rows = [self._words(element) for _ in range(element.count)]
        width = len(element.properties)
        if any(len(row) < width for row in rows):
            raise FaultError(f"has a row of {element.name!a} that is too short")
        try:
            return {
                name: np.asarray([row[i] for row in rows], dtype=np.float64)
                for i, (name, _, _) in _listed(element)
            }
        except ValueError:
            raise FaultError(f"has a value of {element.name!a} that is no number") from None

    def triangles(self, element: Element) -> Faces | None:
        """Return None: faces of text are read one by one."""
        return None

    def row(self, element: Element) -> list[Any]:
        """Return the values of the next row; those of a list are a list."""
        words, values = iter(self._words(element)), list[Any]()
        try:
            for _, _, length in element.properties:
                if length is None:
                    values.append(float(next(words)))
                else:
                    values.append([int(next(words)) for _ in range(int(next(words)))])
        except (StopIteration, ValueError):
            raise FaultError(f"has a row of {element.name!a} that is not PLY") from None
        return values

    def skip(self, element: Element) -> None:
        """Pass over the rows of an element."""
        for _ in range(element.count):
            self._words(element)

    def _words(self, element: Element) -> list[str]:
        for line in self.lines:
            if words := line.split():
                return words
        raise FaultError(_short(element))


def _listed(element: Element) -> list[tuple[int, tuple[str, str, str | None]]]:
    return list(enumerate(element.properties))


def _short(element: Element) -> str:
    return f"ends before its {element.count:,} rows of {element.name!a}: copy it again"
