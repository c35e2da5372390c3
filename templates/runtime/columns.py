"""Rows of a table as inputs of a network, in splits; scales come from training rows alone."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from runtime.digests import digest, files_digest, uniform
from runtime.errors import fail
from runtime.notes import note
from runtime.numbers import Column
from runtime.order import samples_at
from runtime.parts import table_files
from runtime.settings import read_json
from runtime.splits import SPLITS, require_samples
from runtime.tables import is_index, is_numeric, read_parts

Index = NDArray[np.int64]
Parts = dict[str, Index]
TARGETS = frozenset({"class", "label", "labels", "outcome", "target", "y"})
"""Usual names of a column to predict, in small letters."""


@dataclass(frozen=True)
class Rows:
    """Rows of a table with a column to predict.

    Attributes:
        name: Name of the table in reports.
        sha256: Digest of the data.
        columns: The input columns, by name.
        target: Name of the column to predict.
        values: The column to predict.
    """

    name: str
    sha256: str
    columns: dict[str, Column]
    target: str
    values: Column


def rows_of(path: Path, target: str | None) -> Rows:
    """Return the rows of a table that have a value in the target column, by default the last one.

    Args:
        path: A file, or a folder of parts.
        target: The name of the column.
    """
    files = table_files(path)
    columns = without_index(path, read_parts(path, files))
    name = target or list(columns)[-1]
    if name not in columns:
        fail(f"{path} has no column {name!r}: it has {', '.join(columns)}.")
    if other := [
        each for each in columns if not target and each.lower() in TARGETS - {name.lower()}
    ]:
        note(f"{path}: the last column, {name!r}, is predicted; --target names another: {other}.")
    values = columns.pop(name)
    known = ~np.isnan(values) if is_numeric(values) else values != ""
    if not columns or not known.any():
        fail(f"{path} needs a column besides {name!r}, and rows with a value in {name!r}.")
    if not known.all():
        note(
            f"{path}: {(~known).sum():,} rows without a value in {name!r} are left out; a word "
            "such as None or NA is no value."
        )
    features = {each: column[known] for each, column in columns.items()}
    whole = [str(file.relative_to(path)) for file in files] if path.is_dir() else None
    sha256 = files_digest(files, whole) if whole else digest(path.read_bytes())
    return Rows(path.name, sha256, features, name, values[known])


def without_index(path: Path, columns: dict[str, Column]) -> dict[str, Column]:
    """Return columns without a first one that only counts the rows, or stop if it has no name."""
    first = next(iter(columns))
    if is_index(first, columns[first]):
        what = f"{first!r}" if first else "which has no name"
        note(f"{path}: the first column, {what}, is an index of the rows: it is left out.")
        return {name: column for name, column in columns.items() if name != first}
    if not first:
        fail(f"{path}: column 1 has no name: write one into the first line.")
    return columns


def places(rows: Rows, salt: str) -> NDArray[np.float64]:
    """Return a number from 0 to 1 for each row: a digest of its cells without the target.

    A row keeps its number when rows are added. Equal rows have equal numbers; otherwise training
    would read some of the rows that are scored.

    Args:
        rows: The rows.
        salt: Text that changes all numbers; each cross-validation has its own.
    """
    cells = zip(*rows.columns.values(), strict=True)
    texts = ("\0".join([salt, *(str(cell) for cell in row)]) for row in cells)
    return np.array([uniform(text) for text in texts])


def parts_of(rows: Rows, val_fraction: float, test_fraction: float) -> Parts:
    """Return the rows of each split, or stop if one has none."""
    place = places(rows, "")
    return _parts(place < test_fraction, place < test_fraction + val_fraction, rows)


def folds_of(rows: Rows, val_fraction: float, folds: int, repeats: int) -> Iterator[Parts]:
    """Yield the splits of each fold of some cross-validations, or stop if one has no rows."""
    for repeat in range(repeats):
        fold = (places(rows, f"fold {repeat}") * folds).astype(int)
        val = places(rows, f"val {repeat}") < val_fraction
        for each in range(folds):
            yield _parts(fold == each, val | (fold == each), rows)


def _parts(test: NDArray[np.bool_], held: NDArray[np.bool_], rows: Rows) -> Parts:
    masks = {"train": ~held, "val": held & ~test, "test": test}
    parts = {split: np.flatnonzero(mask) for split, mask in masks.items()}
    require_samples(rows.name, "rows", {split: len(parts[split]) for split in SPLITS})
    return parts


@dataclass(frozen=True)
class Schema:
    """How a row becomes numbers, learned from training rows and stored in the checkpoint.

    Attributes:
        numeric: Mean and standard deviation of each numeric column.
        categorical: The words of each other column with an embedding in the model.
        target: The `name` of the column to predict, and facts of the task about it.
    """

    numeric: dict[str, tuple[float, float]]
    categorical: dict[str, list[str]]
    target: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        """Return the `columns` of config.json."""
        return asdict(self)


def schema_of(rows: Rows, index: Index, model: Any, target: dict[str, Any]) -> Schema:
    """Return the schema of some rows, or stop if the model has too few inputs.

    Args:
        rows: The table.
        index: The training rows.
        model: The model's Config.
        target: Facts of the task about the target.
    """
    numeric = {n: scale_of(c[index]) for n, c in rows.columns.items() if is_numeric(c)}
    words = {n: c[index] for n, c in rows.columns.items() if not is_numeric(c)}
    for kind, named, room in (
        ("numeric", numeric, model.n_numeric),
        ("categorical", words, model.n_categorical),
    ):
        if len(named) > room:
            fail(
                f"{rows.name} has {len(named)} {kind} columns, but the model has room for {room}: "
                f"set n_{kind} in architecture.dims of the spec, or remove columns."
            )
    # Row 0 of the embedding table is for missing and rare words; columns share the other rows.
    share = (model.n_categories - 1) // max(1, len(words))
    common = {n: Counter(w for w in c if w).most_common(share) for n, c in words.items()}
    listed = {name: sorted(word for word, _ in pairs) for name, pairs in common.items()}
    return Schema(numeric, listed, {"name": rows.target, **target})


def scale_of(column: Column) -> tuple[float, float]:
    """Return mean and standard deviation of a column's values; the latter is 1 for a constant."""
    known = column[~np.isnan(column)]
    # An empty column stays NaN, which the network replaces by the mean.
    return (float(known.mean()) if len(known) else 0.0), deviation_of(column) or 1.0


def deviation_of(column: Column) -> float:
    """Return the standard deviation of a column's values; 0 if there are none."""
    known = column[~np.isnan(column)]
    # The mean of equal numbers is rounded, so the formula alone would not give 0.
    return float(known.std()) if len(known) and np.ptp(known) else 0.0


def read_schema(folder: Path) -> Schema:
    """Return the schema of a checkpoint, or stop if it has none."""
    values: Any = read_json(folder / "config.json").get("columns")
    try:
        numeric = {name: (float(at), float(std)) for name, (at, std) in values["numeric"].items()}
        words = {name: list(map(str, known)) for name, known in values["categorical"].items()}
        return Schema(numeric, words, dict(values["target"]))
    except (AttributeError, KeyError, TypeError, ValueError):
        fail(f"{folder} does not name the columns that it was trained on: train it again.")


def inputs(schema: Schema, columns: Mapping[str, Column], model: Any) -> tuple[Tensor, Tensor]:
    """Return numbers (rows, n_numeric) and categories (rows, n_categorical), or stop.

    Args:
        schema: The schema of training.
        columns: The columns; those outside the schema are ignored.
        model: The model's Config.
    """
    for name in (*schema.numeric, *schema.categorical):
        if name not in columns:
            fail(f"the table has no column {name!r}, which the model was trained on: add it.")
    count = len(next(iter(columns.values())))
    numbers = np.full((count, model.n_numeric), np.nan, np.float32)
    for place, (name, (mean, std)) in enumerate(schema.numeric.items()):
        if not is_numeric(columns[name]):
            fail(f"column {name!r} has text, but the model was trained on numbers: correct it.")
        numbers[:, place] = (columns[name] - mean) / std
    categories, start = np.zeros((count, model.n_categorical), np.int64), 1
    for place, (name, words) in enumerate(schema.categorical.items()):
        row = {word: start + i for i, word in enumerate(words)}
        categories[:, place] = [row.get(_word(cell), 0) for cell in columns[name]]
        # Columns share one embedding table, so each column's words begin after those of the last.
        start += len(words)
    return torch.from_numpy(numbers), torch.from_numpy(categories)


def note_unknown(schema: Schema, columns: Mapping[str, Column]) -> None:
    """Note columns most of whose words training did not keep, so that predictions ignore them."""
    for name, words in schema.categorical.items():
        known = set(words)
        cells = [_word(cell) for cell in columns[name].tolist()]
        new = [cell for cell in cells if cell not in known and cell not in ("", "nan")]
        if len(new) > len(cells) / 2:
            note(
                f"column {name!r}: {len(new):,} of {len(cells):,} words, such as {new[0]!r}, are "
                "unknown to the model: it reads them as missing."
            )


def _word(cell: object) -> str:
    """Return a cell as a word.

    A column of words is read as numbers if each of these rows has one by chance: 3.0 is "3".
    """
    return str(int(cell)) if isinstance(cell, float) and cell.is_integer() else str(cell)


@dataclass(frozen=True)
class Table:
    """Rows in the form for a network.

    Attributes:
        name: Name of the data in reports.
        sha256: Digest of the data.
        schema: How columns became numbers.
        tensors: Numbers, categories and targets; (rows, ...) each.
        parts: The rows of each split.
    """

    name: str
    sha256: str
    schema: Schema
    tensors: tuple[Tensor, Tensor, Tensor]
    parts: Parts

    def batch_at(self, position: int, count: int, seed: int) -> tuple[Tensor, ...]:
        """Return the samples at some positions of the training order."""
        train = self.parts["train"]
        order = [i for _, i in samples_at(position, count, len(train), seed)]
        return self.rows(train[order])

    def batches(self, split: str, size: int) -> list[tuple[Tensor, ...]]:
        """Return all rows of a split in batches."""
        index = self.parts[split]
        return [self.rows(index[at : at + size]) for at in range(0, len(index), size)]

    def rows(self, index: Index) -> tuple[Tensor, ...]:
        """Return some rows."""
        return tuple(tensor[torch.from_numpy(index)] for tensor in self.tensors)


def design(tensors: tuple[Tensor, ...], model: Any) -> NDArray[np.float64]:
    """Return the inputs of a linear model, shape (rows, n_numeric + n_categories).

    A missing number is 0, the mean; each category has a column that is 1 in its rows.
    """
    numbers, categories = (tensor.numpy() for tensor in tensors[:2])
    one_hot = np.zeros((len(numbers), model.n_categories))
    for column in categories.T:
        one_hot[np.arange(len(numbers)), column] = 1.0
    one_hot[:, 0] = 0.0  # missing and unknown words have no column
    return np.concatenate((np.nan_to_num(numbers.astype(np.float64)), one_hot), axis=1)
