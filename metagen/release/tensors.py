"""Weights as released: the plan of the files to write.

A plan needs the headers of the trained files alone, so the files of a release are known before a
byte of its weights is read.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from metagen.errors import Problem, TaskError
from metagen.trained import header
from metagen.trained.weights import FILE, INDEX

MOST = 5 * 10**9  # bytes of a file; the Hub's clients download files of this size one by one
_ENTRY = 150  # bytes of a tensor's entry in a header, at most, without its name and shape
_FORMATS = {name: short for short, name in header.NAMES.items()}


@dataclass(frozen=True)
class Tensor(header.Tensor):
    """A tensor of a file: its name there, and where its bytes begin."""

    name: str
    start: int

    def released(self, dtype: str | None) -> Tensor:
        """Return the tensor as released; only numbers with a fraction have another format."""
        if dtype is None or self.dtype not in header.FLOATS:
            return self
        return replace(self, dtype=_FORMATS[dtype])


@dataclass(frozen=True)
class Piece:
    """A tensor of a released file, and the file of the training that has it."""

    source: str
    trained: Tensor
    released: Tensor


@dataclass(frozen=True)
class Shard:
    """A released file of weights.

    Attributes:
        name: Its name in the release.
        pieces: Its tensors in their order.
        same: The file of the training with the same bytes; "" for a file that must be written.
    """

    name: str
    pieces: tuple[Piece, ...]
    same: str


@dataclass(frozen=True)
class Plan:
    """The files of weights of a release."""

    shards: tuple[Shard, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The files with weights, and their index where there are several."""
        names = tuple(shard.name for shard in self.shards)
        return names if len(names) == 1 else (*names, INDEX)

    @property
    def pieces(self) -> tuple[Piece, ...]:
        """The tensors of all files."""
        return tuple(piece for shard in self.shards for piece in shard.pieces)

    @property
    def numbers(self) -> int:
        """The numbers of all tensors, with those that training does not set, such as means."""
        return sum(piece.released.count for piece in self.pieces)

    @property
    def size(self) -> int:
        """The bytes of all tensors."""
        return sum(piece.released.size for piece in self.pieces)

    @property
    def dtype(self) -> str:
        """The format of the weights: that of most numbers."""
        counts: dict[str, int] = {}
        for piece in self.pieces:
            if piece.released.dtype in header.FLOATS:
                name = header.NAMES[piece.released.dtype]
                counts[name] = counts.get(name, 0) + piece.released.count
        return max(counts, key=lambda name: counts[name], default="float32")

    @property
    def unchanged(self) -> bool:
        """Whether each file has the bytes of a file of the training."""
        return all(shard.same for shard in self.shards)

    def index(self, parameters: int) -> dict[str, Any]:
        """Return the content of the index, as transformers writes and reads it."""
        files = {p.released.name: shard.name for shard in self.shards for p in shard.pieces}
        total = {"total_parameters": parameters, "total_size": self.size}
        return {"metadata": total, "weight_map": dict(sorted(files.items()))}


def of_folder(folder: Path, dtype: str | None, most: int = MOST) -> Plan:
    """Return the plan of the released weights of a checkpoint.

    Args:
        folder: The checkpoint.
        dtype: The format of the released weights; None for as trained.
        most: The largest file, in bytes. A tensor that is larger has a file of its own.

    Raises:
        TaskError: There are no weights, or a header is none.
    """
    sources = source_files(folder)
    tensors = {name: of_file(folder / name) for name in sources}
    pieces = [
        Piece(name, tensor, tensor.released(dtype)) for name in sources for tensor in tensors[name]
    ]
    same = all(piece.trained == piece.released for piece in pieces)
    if same and all((folder / name).stat().st_size <= most for name in sources):
        parts = [[p for p in pieces if p.source == name] for name in sources]
        return Plan(tuple(_named(parts, sources)))
    return Plan(tuple(_named(list(_parts(pieces, most)))))


def source_files(folder: Path) -> tuple[str, ...]:
    """Return the names of the files with the weights of a checkpoint.

    Raises:
        TaskError: There are none, or the index does not name files beside it.
    """
    if _is_file(folder / FILE):
        return (FILE,)
    if not _is_file(folder / INDEX):
        hint = "name the folder that train.py wrote, with checkpoint/ in it"
        raise TaskError(Problem(f"There is no {FILE}, so nothing to release", str(folder), hint))
    try:
        table = json.loads((folder / INDEX).read_bytes())["weight_map"]
        names = tuple(sorted(set(table.values())))
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise TaskError(Problem("This is not an index of weights", str(folder / INDEX))) from error
    for name in names:
        if not isinstance(name, str) or Path(name).name != name or not _is_file(folder / name):
            sentence = "The index names a file that is not beside it"
            raise TaskError(Problem(sentence, str(folder / INDEX)))
    return names


def of_file(path: Path) -> tuple[Tensor, ...]:
    """Return the tensors of a file, in the order of their bytes.

    Raises:
        TaskError: It is no file of tensors, or it is a link.
    """
    try:
        found = header.read(path, str(path))
    except TaskError as error:
        (problem,) = error.problems
        sentence = f"This is not a file of tensors: {problem.sentence}"
        raise TaskError(Problem(sentence, str(path), problem.hint)) from error
    tensors = (
        Tensor(each.dtype, each.shape, name, found.starts[name])
        for name, each in found.tensors.items()
    )
    return tuple(sorted(tensors, key=lambda each: each.start))


def _parts(pieces: Iterable[Piece], most: int) -> Iterator[list[Piece]]:
    """Yield the pieces of each file: as many in a row as fit, with the file's header."""
    part: list[Piece] = []
    used = 0
    for piece in pieces:
        entry = json.dumps([piece.released.name, piece.released.shape])
        need = piece.released.size + len(entry) + _ENTRY
        if part and used + need > most:
            yield part
            part, used = [], 0
        part.append(piece)
        used += need
    yield part


def _named(parts: Sequence[Sequence[Piece]], same: Sequence[str] = ()) -> Iterator[Shard]:
    """Yield files with the names that transformers gives them."""
    for number, part in enumerate(parts):
        many = f"model-{number + 1:05}-of-{len(parts):05}.safetensors"
        name = many if len(parts) > 1 else FILE
        yield Shard(name, tuple(part), same[number] if same else "")


def _is_file(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()
