"""Tables from CSV and Parquet files, as columns of numbers or of words."""

import csv
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.errors import fail

Column = NDArray[Any]
MISSING = frozenset({"", "?", "n/a", "na", "nan", "none", "null"})
"""What stands in a cell without a value, in small letters."""


def read_table(path: Path) -> dict[str, Column]:
    """Return the columns of a .csv, .tsv or .parquet file by their names, or stop.

    A column whose every value is a number is float64, with NaN where there is none; any other is
    an object array of words, with "" where there is none.
    """
    suffix = path.suffix.lower()
    if not path.is_file() or suffix not in (".csv", ".tsv", ".parquet"):
        fail(f"{path} is no table: name a .csv, .tsv or .parquet file.")
    columns = _read_parquet(path) if suffix == ".parquet" else _read_csv(path, suffix)
    if not columns or not len(next(iter(columns.values()))):
        fail(f"{path} has no rows.")
    for name, values in columns.items():
        if is_numeric(values) and np.isinf(values).any():
            fail(f"{path}: column {name!r} has an infinite number.")
    return columns


def is_numeric(column: Column) -> bool:
    """Return whether a column holds numbers."""
    return bool(column.dtype == np.float64)


def _read_csv(path: Path, suffix: str) -> dict[str, Column]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = csv.reader(file, delimiter="\t" if suffix == ".tsv" else ",")
            names = [name.strip() for name in next(lines, [])]
            rows = []
            for row in lines:
                if row and len(row) != len(names):
                    fail(
                        f"{path}:{lines.line_num} has {len(row)} cells, and the first line names "
                        f"{len(names)} columns."
                    )
                if row:
                    rows.append(row)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        fail(f"{path} cannot be read as a table in UTF-8: {error}.")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice or "" in names:
        fail(f"{path}: each column needs a name of its own in the first line; see {twice or ['']}.")
    cells = zip(*rows, strict=True) if rows else ([] for _ in names)
    return {name: _column(values) for name, values in zip(names, cells, strict=True)}


def _read_parquet(path: Path) -> dict[str, Column]:
    try:
        import pyarrow  # type: ignore[import-untyped]
        import pyarrow.parquet  # type: ignore[import-untyped]
    except ImportError:
        fail("reading Parquet needs a library: pip install pyarrow.")
    try:
        table = pyarrow.parquet.read_table(path)
    except (OSError, pyarrow.ArrowException) as error:
        fail(f"{path} cannot be read as Parquet: {error}.")
    columns = {}
    for name, values in zip(table.column_names, table.columns, strict=True):
        if pyarrow.types.is_integer(values.type) or pyarrow.types.is_floating(values.type):
            columns[name] = values.to_numpy().astype(np.float64)
        else:
            columns[name] = _column(["" if v is None else str(v) for v in values.to_pylist()])
    return columns


def _column(cells: Sequence[str]) -> Column:
    words = [cell.strip() for cell in cells]
    words = ["" if word.lower() in MISSING else word for word in words]
    try:
        return np.array([float(word) if word else math.nan for word in words])
    except ValueError:
        return np.array(words, dtype=object)
