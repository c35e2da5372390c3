"""The weights of a checkpoint by the headers of their files: what they are, and of which model.

Nothing is loaded and nothing is unpickled.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from metagen.spec.findings import shown
from metagen.trained import header
from metagen.trained.door import AGAIN, content, refuse
from metagen.trained.header import FLOATS, Header, Tensor
from metagen.work import Desk

CHECKPOINT = "checkpoint"
FILE, INDEX = "model.safetensors", "model.safetensors.index.json"
# Tensors that follow from the config; older versions of transformers save them.
DERIVED = re.compile(r".*(position_ids|inv_freq)")
_MOST_FILES = 10_000
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
    for name, head in headers.items():
        for tensor in head.tensors:
            if tensor in tensors:
                refuse(f"The tensor {shown(tensor)} lies in two files.", f"{CHECKPOINT}/{name}")
        tensors |= head.tensors
    _as_indexed(table, {name: head.tensors for name, head in headers.items()})
    where = f"{CHECKPOINT}/{names[0] if len(names) == 1 else INDEX}"
    dtype = compare(where, tensors, planned)
    count = sum(tensors[name].count for name in planned["parameters"])
    files = tuple(_file(desk, name) for name in names)
    step = _step(f"{CHECKPOINT}/{names[0]}", headers[names[0]].metadata)
    return Weights(files, dtype, count, step)


def _listed(desk: Desk) -> tuple[tuple[str, ...], Mapping[str, str] | None]:
    """Return the names of the files of weights, and the table of the index, if there is one."""
    names = desk.trained_names(CHECKPOINT)
    if FILE in names:
        return (FILE,), None
    if INDEX in names:
        place = f"{CHECKPOINT}/{INDEX}"
        return _indexed(content(place, desk.trained(place)), names)
    if any(re.fullmatch(r"(pytorch_model.*\.bin|.*\.(pt|pth|pkl|pickle))", each) for each in names):
        hint = "save them again with transformers' save_pretrained(), which writes safetensors"
        refuse("The weights are a pickle, which could run any code.", CHECKPOINT, hint)
    hint = "name the folder that train.py wrote with --out"
    refuse(f"The training folder has no {CHECKPOINT}/{FILE}.", CHECKPOINT, hint)


def _indexed(index: Any, names: Sequence[str]) -> tuple[tuple[str, ...], Mapping[str, str]]:
    place = f"{CHECKPOINT}/{INDEX}"
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
    refuse(sentence, f"{CHECKPOINT}/{INDEX}#/weight_map", "save the checkpoint again, as a whole")


def _file(desk: Desk, name: str) -> File:
    path = f"{CHECKPOINT}/{name}"
    return File(name, desk.trained_digest(path), desk.trained_place(path).stat().st_size)


def _header(desk: Desk, name: str) -> Header:
    path = f"{CHECKPOINT}/{name}"
    return header.read(desk.trained_glance(path), path)


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
