"""The weights of a checkpoint by the headers of their files: what they are, and of which model.

Nothing is loaded and nothing is unpickled. A .safetensors file begins with the length of a JSON
header in eight bytes; the header names each tensor with its format, its shape and its place in the
rest of the file (github.com/huggingface/safetensors, README.md, "Format").
"""

from __future__ import annotations

import hashlib
import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from metagen.errors import from_system
from metagen.files import kind as kind_of_file
from metagen.spec.findings import shown
from metagen.trained.door import AGAIN, content, refuse
from metagen.work import Desk

FOLDER = "checkpoint"
FILE, INDEX = "model.safetensors", "model.safetensors.index.json"
BYTES = {
    "F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1,
    "BOOL": 1,
}  # fmt: skip
# Formats that hold the same weights; the scripts convert them to that of the code.
FLOATS = ("F64", "F32", "F16", "BF16")
# Tensors that follow from the config; older versions of transformers save them.
DERIVED = re.compile(r".*(position_ids|inv_freq)")
_LONGEST = 100_000_000  # bytes of a header, the limit of the safetensors library
_MOST_FILES, _MOST_SIDES = 10_000, 64
_NUMBERS = 2**53  # beyond, JSON readers disagree on whole numbers
OTHER = (
    "bind a checkpoint of this package's model, or build the package of the model that was trained"
)


@dataclass(frozen=True)
class File:
    """A file of weights: its name in the checkpoint, its sha256 and its size in bytes."""

    name: str
    sha256: str
    bytes: int


@dataclass(frozen=True)
class Weights:
    """What the headers say of the weights of a checkpoint.

    Attributes:
        files: The files, in the order of the digest.
        dtype: The format of the tensors with fractions, such as `F32`; "" without one.
        parameters: The numbers that training sets; a shared tensor counts once.
        step: The step that the first file names; None for none.
    """

    files: tuple[File, ...]
    dtype: str
    parameters: int
    step: int | None

    @property
    def sha256(self) -> str:
        """The identity of the weights, as `runtime/weights.py` computes it in `weights_digest`."""
        return digest([each.sha256 for each in self.files])

    @property
    def bytes(self) -> int:
        """The size of all files."""
        return sum(each.bytes for each in self.files)


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


def digest(digests: Sequence[str]) -> str:
    """Return the sha256 of weights from those of their files, in the order of the files' names.

    Those of one file are the file's; those of several are the sha256 of the joined digests.
    """
    if len(digests) == 1:
        return digests[0]
    return hashlib.sha256(b"".join(map(bytes.fromhex, digests))).hexdigest()


def read(desk: Desk, planned: Mapping[str, Any]) -> Weights:
    """Return the weights of the bound checkpoint, if they are those of the package's model.

    Args:
        desk: Where the training folder is bound.
        planned: Content of `blueprint/tensors.json`.

    Raises:
        TaskError: There are none, a file is damaged, or a tensor differs; the first difference.
    """
    names, table = _listed(desk)
    headers = {name: _header(desk, name) for name in names}
    tensors: dict[str, Tensor] = {}
    for name, (found, _) in headers.items():
        for tensor in found:
            if tensor in tensors:
                refuse(f"The tensor {shown(tensor)} lies in two files.", f"{FOLDER}/{name}")
        tensors |= found
    _as_indexed(table, {name: found for name, (found, _) in headers.items()})
    where = f"{FOLDER}/{names[0] if len(names) == 1 else INDEX}"
    dtype = compare(where, tensors, planned)
    count = sum(tensors[name].count for name in planned["parameters"])
    files = tuple(_file(desk, name) for name in names)
    return Weights(files, dtype, count, _step(f"{FOLDER}/{names[0]}", headers[names[0]][1]))


def _listed(desk: Desk) -> tuple[tuple[str, ...], Mapping[str, str] | None]:
    """Return the names of the files of weights, and the table of the index, if there is one."""
    names = desk.trained_names(FOLDER)
    if FILE in names:
        return (FILE,), None
    if INDEX in names:
        return _indexed(content(f"{FOLDER}/{INDEX}", desk.trained(f"{FOLDER}/{INDEX}")), names)
    if any(re.fullmatch(r"(pytorch_model.*\.bin|.*\.(pt|pth|pkl|pickle))", each) for each in names):
        hint = "save them again with transformers' save_pretrained(), which writes safetensors"
        refuse("The weights are a pickle, which could run any code.", FOLDER, hint)
    hint = "name the folder that train.py wrote with --out"
    refuse(f"The training folder has no {FOLDER}/{FILE}.", FOLDER, hint)


def _indexed(index: Any, names: Sequence[str]) -> tuple[tuple[str, ...], Mapping[str, str]]:
    place = f"{FOLDER}/{INDEX}"
    table = index.get("weight_map") if isinstance(index, dict) else None
    texts = isinstance(table, dict) and all(isinstance(part, str) for part in table.values())
    parts = sorted(set(table.values())) if isinstance(table, dict) and texts else []
    plain = all(re.fullmatch(r"[\w.-]{1,200}\.safetensors", part, re.ASCII) for part in parts)
    if not parts or not plain or len(parts) > _MOST_FILES:
        sentence = "weight_map must map each tensor's name to a .safetensors file beside the index."
        refuse(sentence, f"{place}#/weight_map")
    missing = [part for part in parts if part not in names]
    if missing:
        more = f", and {len(missing) - 1} more files" if len(missing) > 1 else ""
        hint = "copy every file of the checkpoint, then bind it again"
        refuse(f"The index names {missing[0]}{more}, missing here.", place, hint)
    return tuple(parts), table  # type: ignore[return-value]


def _as_indexed(table: Mapping[str, str] | None, parts: Mapping[str, Mapping[str, Tensor]]) -> None:
    """Refuse an index that names another place of a tensor than the files have."""
    found = {tensor: name for name, tensors in parts.items() for tensor in tensors}
    if table is None or table == found:
        return
    first = next(t for t in (*table, *found) if table.get(t) != found.get(t))
    sentence = f"The index has {shown(first)} in {table.get(first) or 'no file'}, "
    sentence += f"but it lies in {found.get(first) or 'none'}."
    refuse(sentence, f"{FOLDER}/{INDEX}#/weight_map", "save the checkpoint again, as a whole")


def _file(desk: Desk, name: str) -> File:
    path = f"{FOLDER}/{name}"
    return File(name, desk.trained_digest(path), desk.trained_place(path).stat().st_size)


def _header(desk: Desk, name: str) -> tuple[dict[str, Tensor], Mapping[str, Any]]:
    """Return the tensors of a file, and its metadata."""
    path = f"{FOLDER}/{name}"
    with from_system():
        head, size = _head(desk.trained_place(path), path)
    return parsed(path, head, size)


def _head(place: Path, path: str) -> tuple[bytes, int]:
    """Return the header of a file, and the number of bytes that follow it."""
    handle = os.open(place, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
    with os.fdopen(handle, "rb") as stream:
        found = os.fstat(handle)
        if kind_of_file(found.st_mode) != "a file":
            refuse(f"This is {kind_of_file(found.st_mode)}, not a file.", path)
        length = int.from_bytes(stream.read(8), "little")
        if not 2 <= length <= min(_LONGEST, found.st_size - 8):
            refuse("This is no .safetensors file, or it is cut short.", path, DAMAGED)
        return stream.read(length), found.st_size - 8 - length


DAMAGED = "copy the file again, or save the checkpoint again"


def parsed(path: str, head: bytes, size: int) -> tuple[dict[str, Tensor], Mapping[str, Any]]:
    """Return the tensors that a header describes, and its metadata.

    Args:
        path: The file, for messages.
        head: The JSON text.
        size: Bytes that follow it.

    Raises:
        TaskError: The header is malformed, or its tensors do not fill the file without a gap.
    """
    header = content(path, head)
    if not isinstance(header, dict):
        refuse("The header of this file is no object.", path, DAMAGED)
    metadata = header.pop("__metadata__", {})
    entries = {name: _tensor(path, name, entry) for name, entry in header.items()}
    end = 0
    for name, (tensor, start, stop) in sorted(entries.items(), key=lambda each: each[1][1:]):
        if start != end or stop - start != tensor.count * BYTES[tensor.dtype]:
            refuse(
                f"The place of {shown(name)} in this file does not fit its shape.", path, DAMAGED
            )
        end = stop
    if end != size:
        sentence = f"The tensors take {end:,} bytes, but the file has {size:,} for them."
        refuse(sentence, path, DAMAGED)
    tensors = {name: tensor for name, (tensor, _, _) in entries.items()}
    return tensors, metadata if isinstance(metadata, dict) else {}


def _tensor(path: str, name: str, entry: Any) -> tuple[Tensor, int, int]:
    fields = entry if isinstance(entry, dict) else {}
    dtype, shape, offsets = (fields.get(key) for key in ("dtype", "shape", "data_offsets"))
    if not isinstance(dtype, str) or dtype not in BYTES:
        sentence = f"The tensor {shown(name)} has the format {shown(dtype)}; allowed: "
        refuse(sentence + f"{', '.join(BYTES)}.", path, "save the weights without quantization")
    sides, place = _wholes(shape), _wholes(offsets)
    if sides is None or place is None or len(place) != 2 or len(sides) > _MOST_SIDES:
        refuse(f"The header of this file describes {shown(name)} wrongly.", path, DAMAGED)
    return Tensor(dtype, sides), place[0], place[1]


def _wholes(value: Any) -> tuple[int, ...] | None:
    right = isinstance(value, list) and all(
        type(each) is int and 0 <= each < _NUMBERS for each in value
    )
    return tuple(value) if right else None


def compare(place: str, tensors: Mapping[str, Tensor], planned: Mapping[str, Any]) -> str:
    """Return the one format of the weights; refuse the first tensor that is not the model's.

    Shapes () and (1,) are equal, since FSDP gives a single number a dimension. Weights may have
    another format than the code's, if all have it.
    """
    own = {
        name: Tensor.of(text)
        for name, text in {**planned["parameters"], **planned["others"]}.items()
    }
    _same_names(place, tensors, own, tuple(planned["spare"]))
    floats = [tensors[name].dtype for name in own if own[name].dtype in FLOATS]
    dtype = floats[0] if floats else ""
    for name, here in own.items():
        there = tensors[name]
        if _squeezed(there.shape) != _squeezed(here.shape):
            sentence = (
                f"The tensor {name} has the shape {_sides(there)}, and in the package's model "
            )
            refuse(f"{sentence}{_sides(here)}.", place, OTHER)
        right = (dtype,) if here.dtype in FLOATS and dtype in FLOATS else (here.dtype,)
        if there.dtype not in right:
            sentence = f"The tensor {name} has the format {there.dtype}, and not {right[0]}."
            refuse(sentence, place, "save all weights in one format, without quantization")
    return dtype


def _same_names(
    place: str, tensors: Mapping[str, Tensor], own: Mapping[str, Tensor], spare: tuple[str, ...]
) -> None:
    missing = [name for name in own if name not in tensors]
    if missing:
        sentence = f"The tensor {missing[0]}{_more(missing)} of the package's model is missing."
        refuse(sentence, place, OTHER)
    extra = [n for n in tensors if n not in own and not n.startswith(spare) and not _derived(n)]
    if extra:
        sentence = f"The package's model has no tensor {shown(extra[0])}{_more(extra)}."
        refuse(sentence, place, OTHER)


def _derived(name: str) -> bool:
    return bool(DERIVED.fullmatch(name))


def _more(names: Sequence[str]) -> str:
    return f" (and {len(names) - 1} more)" if len(names) > 1 else ""


def _squeezed(shape: tuple[int, ...]) -> tuple[int, ...]:
    return () if shape == (1,) else shape


def _sides(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "of a single number"


def _step(place: str, metadata: Mapping[str, Any]) -> int | None:
    text = metadata.get("step")
    if text is None:
        return None
    if not isinstance(text, str) or not re.fullmatch(r"\d{1,15}", text, re.ASCII):
        refuse(f"The header names the step {shown(text)}, which is no number.", place, AGAIN)
    return int(text)
