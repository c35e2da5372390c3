"""Tables from CSV and Parquet files, as columns of numbers or of words."""

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.errors import fail
from runtime.rows import csv_rows, parquet_table

Column = NDArray[Any]
MISSING = frozenset({"", "?", "n/a", "na", "nan", "none", "null"})
"""Text of a cell without a value, in small letters."""
DELIMITERS = {".csv": ",", ".tsv": "\t"}


def read_table(path: Path) -> dict[str, Column]:
    """Return the columns of a .csv, .tsv or .parquet file by their names, or stop.

    A column of numbers alone is float64, with NaN for a missing value; any other is an object array
    of words, with "" for a missing value.
    """
    suffix = path.suffix.lower()
    if not path.is_file() or suffix not in (*DELIMITERS, ".parquet"):
        fail(f"{path} is not a table: name a .csv, .tsv or .parquet file.")
    columns = _read_parquet(path) if suffix == ".parquet" else _read_csv(path, DELIMITERS[suffix])
    if not columns or not len(next(iter(columns.values()))):
        fail(f"{path} has no rows.")
    for name, values in columns.items():
        if is_numeric(values) and np.isinf(values).any():
            fail(f"{path}: column {name!r} has an infinite number.")
    return columns


def is_numeric(column: Column) -> bool:
    """Return whether a column holds numbers."""
    return bool(column.dtype == np.float64)


def _read_csv(path: Path, delimiter: str) -> dict[str, Column]:
    every = [cells for _, cells in csv_rows(path, delimiter)]
    names = _distinct(path, [name.strip() for name in every[0]]) if every else []
    cells: Iterable[Sequence[str]] = (
        zip(*every[1:], strict=True) if every[1:] else [()] * len(names)
    )
    return {name: _column(values) for name, values in zip(names, cells, strict=True)}


def _distinct(path: Path, names: list[str]) -> list[str]:
    """Return the names of columns, or stop if two are equal or one is empty."""
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice or "" in names:
        fail(f"{path}: each column needs a name of its own in the first line; see {twice or ['']}.")
    return names


def _read_parquet(path: Path) -> dict[str, Column]:
    table = parquet_table(path)
    from pyarrow import types  # type: ignore[import-untyped]

    columns = {}
    for name, values in zip(table.column_names, table.columns, strict=True):
        # Numbers stay as arrays: a large table would not fit into memory as Python's objects.
        if types.is_integer(values.type) or types.is_floating(values.type):
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
