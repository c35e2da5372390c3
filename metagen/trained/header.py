"""The header of a .safetensors file: what tensors it holds, and where.

The file begins with the length of a JSON header in eight bytes; the header names each tensor with
its format, its shape and its place in the rest of the file
(https://github.com/huggingface/safetensors, README.md, "Format"). It may come from a stranger, and
no tensor is read.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from metagen.errors import from_system
from metagen.files import open_plain
from metagen.spec.findings import shown
from metagen.trained.door import content, refuse

BYTES = {
    "F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1,
    "BOOL": 1,
}  # fmt: skip
# Formats that hold the same weights, with PyTorch's names; the scripts convert them.
NAMES = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}
FLOATS = tuple(NAMES)
_LENGTH = 8  # bytes before the header, which say how long it is
_LONGEST = 100_000_000  # bytes of a header, the limit of the safetensors library
_MOST_SIDES = 64
_NUMBERS = 2**53  # beyond, JSON readers disagree on whole numbers
_POINTER = b"version https://git-lfs"  # A file that Git LFS has not fetched begins so.
_DAMAGED = "copy the file again, or save the checkpoint again"


@dataclass(frozen=True)
class Tensor:
    """A tensor by its header: its format, and its shape."""

    dtype: str
    shape: tuple[int, ...]

    def __str__(self) -> str:
        return " ".join(filter(None, (self.dtype, "x".join(map(str, self.shape)))))

    @classmethod
    def of(cls, text: str) -> Tensor:
        """Return the tensor of a text such as `F32 4096x1024`; `F32` is one number."""
        dtype, _, sides = text.partition(" ")
        return cls(dtype, tuple(map(int, sides.split("x"))) if sides else ())

    @property
    def count(self) -> int:
        """How many numbers it has."""
        return math.prod(self.shape)

    @property
    def size(self) -> int:
        """How many bytes they take."""
        return self.count * BYTES[self.dtype]


@dataclass(frozen=True)
class Header:
    """The tensors of a file by name, where the bytes of each begin in it, and its metadata."""

    tensors: dict[str, Tensor]
    starts: dict[str, int]
    metadata: Mapping[str, Any]


def read(place: Path, path: str) -> Header:
    """Return the header of a regular file.

    Args:
        place: Where the file lies.
        path: Its name for messages.

    Raises:
        TaskError: It is none, or its tensors do not fill the file without a gap.
    """
    with from_system(), open_plain(place) as stream:
        whole = place.stat().st_size
        begin = stream.read(_LENGTH)
        if begin + stream.read(len(_POINTER) - _LENGTH) == _POINTER:
            hint = "run `git lfs pull` in the repository that it comes from"
            refuse("This is a pointer of Git LFS in the place of the weights.", path, hint)
        stream.seek(_LENGTH)
        length = int.from_bytes(begin, "little")
        if not 2 <= length <= min(_LONGEST, whole - _LENGTH):
            refuse("This is no .safetensors file, or it is cut short.", path, _DAMAGED)
        head = stream.read(length)
    return _parsed(path, head, whole)


def _parsed(path: str, head: bytes, whole: int) -> Header:
    header = content(path, head)
    if not isinstance(header, dict):
        refuse("The header of this file is no object.", path, _DAMAGED)
    metadata = header.pop("__metadata__", {})
    entries = {name: _tensor(path, name, entry) for name, entry in header.items()}
    first = _LENGTH + len(head)
    _must_fill(path, entries, whole - first)
    return Header(
        {name: tensor for name, (tensor, _, _) in entries.items()},
        {name: first + start for name, (_, start, _) in entries.items()},
        metadata if isinstance(metadata, dict) else {},
    )


def _must_fill(path: str, entries: Mapping[str, tuple[Tensor, int, int]], size: int) -> None:
    end = 0
    for name, (tensor, start, stop) in sorted(entries.items(), key=lambda each: each[1][1:]):
        if start != end or stop - start != tensor.size:
            sentence = f"The place of {shown(name)} in this file does not fit its shape."
            refuse(sentence, path, _DAMAGED)
        end = stop
    if end != size:
        sentence = f"The tensors take {end:,} bytes, but the file has {size:,} for them."
        refuse(f"{sentence} It does not end with its last tensor.", path, _DAMAGED)


def _tensor(path: str, name: str, entry: Any) -> tuple[Tensor, int, int]:
    fields = entry if isinstance(entry, dict) else {}
    dtype, shape, offsets = (fields.get(key) for key in ("dtype", "shape", "data_offsets"))
    if not isinstance(dtype, str) or dtype not in BYTES:
        sentence = f"The tensor {shown(name)} has the format {shown(dtype)}; allowed: "
        refuse(sentence + f"{', '.join(BYTES)}.", path, "save the weights without quantization")
    sides, place = _wholes(shape), _wholes(offsets)
    if sides is None or place is None or len(place) != 2 or len(sides) > _MOST_SIDES:
        refuse(f"The header of this file describes {shown(name)} wrongly.", path, _DAMAGED)
    return Tensor(dtype, sides), place[0], place[1]


def _wholes(value: Any) -> tuple[int, ...] | None:
    right = isinstance(value, list) and all(
        type(each) is int and 0 <= each < _NUMBERS for each in value
    )
    return tuple(value) if right else None
