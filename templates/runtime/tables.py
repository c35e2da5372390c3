"""Tables from CSV, JSON and Parquet files, as columns of numbers or of words."""

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from runtime.arrow import pyarrow_for
from runtime.errors import fail
from runtime.formats import rows_of
from runtime.listing import suffix_of
from runtime.notes import note
from runtime.numbers import EXACT, Cells, Column, columns_of
from runtime.parts import INDEX, SUFFIXES, Texts, joined, require_equal
from runtime.rows import csv_rows, delimiter_of

MISSING = frozenset(
    {"", "?", "-", "--", "#n/a", "<na>", "n/a", "n.a.", "na", "nan", "nat", "none", "null", "\\n"}
)
"""Text of a cell without a value, in small letters."""


def read_table(path: Path) -> dict[str, Column]:
    """Return the columns of a table by their names, or stop.

    A column of numbers alone is float64, with NaN for a missing value; any other is an object array
    of words, with "" for a missing value. The first column may have the name "".

    Args:
        path: A file with one of SUFFIXES; all but the last may be packed by gzip.
    """
    if path.is_dir():
        fail(f"{path} is a folder: name one table.")
    return read_parts(path, [path])


def read_parts(path: Path, files: Sequence[Path]) -> dict[str, Column]:
    """Return the columns of a table in some files, as `read_table` does, or stop.

    Args:
        path: The table, for notes and errors.
        files: Its parts, all in one format and with equal columns.
    """
    suffix = suffix_of(files[0]).removesuffix(".gz")
    if not files[0].is_file() or suffix not in SUFFIXES:
        fail(f"{path} is not a table: name a {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]} file.")
    if suffix == ".parquet":
        columns = _parquet(path, files)
    else:
        read = _csv if suffix in (".csv", ".tsv") else _json
        columns = _from_texts(path, joined([read(file) for file in files], files))
    if not columns or not len(next(iter(columns.values()))):
        fail(f"{path} has no rows.")
    for name, values in columns.items():
        if is_numeric(values) and np.isinf(values).any():
            fail(f"{path}: column {name!r} has an infinite number.")
    return columns


def is_numeric(column: Column) -> bool:
    """Return whether a column holds numbers."""
    return bool(column.dtype == np.float64)


def is_index(name: str, column: Column) -> bool:
    """Return whether the first column of a table is what pandas and R write before its columns."""
    known = len(set(column.tolist())) == len(column)
    counts = is_numeric(column) and known and bool((np.mod(column, 1) == 0).all())
    return INDEX.fullmatch(name) is not None and (counts or (known and name == ""))


def described(name: str, column: Column) -> str:
    """Return a line about a column: its kind, range, missing and different values."""
    if is_numeric(column):
        known = column[~np.isnan(column)]
        kind = f"numbers from {known.min():.6g} to {known.max():.6g}" if len(known) else "no values"
    else:
        known = column[column != ""]
        kind = "words"
    missing, distinct = len(column) - len(known), len(set(known.tolist()))
    return f"{name}: {kind}, {distinct:,} distinct, {missing:,} missing"


def _csv(path: Path) -> Texts:
    delimiter = delimiter_of(path)
    every = [*csv_rows(path, delimiter)]
    if not every:
        return Texts([], str)
    names = [name.strip() for name in every[0][1]]
    _note_numbers(every[0][0], names)
    cells: list[Sequence[str]] = [*zip(*(row for _, row in every[1:]), strict=True)]
    columns = [*zip(names, cells or [()] * len(names), strict=True)]
    places = [place for place, _ in every[1:]]
    return Texts(columns, places.__getitem__, delimiter == ",")


def _note_numbers(place: str, names: Sequence[str]) -> None:
    """Note that a first line may be one of data; years and counts are names."""
    numbers = [name for name in names if re.fullmatch(r"[-+]?\d*\.?\d+([eE][-+]?\d+)?", name)]
    counted = numbers in ([str(i + first) for i in range(len(numbers))] for first in (0, 1))
    if not counted and not all(re.fullmatch("(19|20)[0-9]{2}", name) for name in numbers):
        note(
            f"{place} names the columns, but {numbers[0]!r} is a number: if the line is one of "
            "data, write a line with names above it."
        )


def _json(path: Path) -> Texts:
    objects = [*rows_of(path)]
    names = dict.fromkeys(name for _, row in objects for name in row)
    columns = [(n, [_text(row.get(n), n, place) for place, row in objects]) for n in names]
    return Texts([*columns], lambda row: objects[row][0].rstrip(","))


def _text(value: Any, name: str, place: str) -> str:
    if isinstance(value, list | dict):
        fail(f"{place} {name!r} holds {json.dumps(value)[:40]}, but a cell is a number or a text.")
    return "" if value is None else str(value)


def _from_texts(path: Path, texts: Texts) -> dict[str, Column]:
    columns = {name: [*map(_word, cells)] for name, cells in _named(path, texts.columns)}
    cells = {name: Cells(path, name, words, texts.place) for name, words in columns.items()}
    return columns_of(cells, texts.comma)


def _word(cell: str) -> str:
    word = cell.strip()
    return "" if word.lower() in MISSING else word


def _named(path: Path, columns: Sequence[tuple[str, Any]]) -> Iterator[tuple[str, Any]]:
    """Yield the columns with their names, or stop if two are equal or one is empty.

    Only the first column may lack a name. One without a value is left out, such as what a comma at
    the end of each line adds.
    """
    names = [name for name, _ in columns]
    twice = sorted({name for name in names if name and names.count(name) > 1})
    if twice:
        fail(f"{path}: each column needs a name of its own in the first line; see {twice}.")
    for place, (name, column) in enumerate(columns, start=1):
        if not name and not any(map(_word, map(str, column))):
            note(f"{path}: column {place} has neither a name nor a value: it is left out.")
        elif not name and place > 1:
            fail(f"{path}: column {place} has no name: write one into the first line.")
        else:
            yield name, column


def _parquet(path: Path, files: Sequence[Path]) -> dict[str, Column]:
    arrow = pyarrow_for(path)
    tables = [_arrow_table(file, arrow) for file in files]
    require_equal([table.column_names for table in tables], files)
    try:
        # Whole numbers beside fractions become fractions; numbers beside texts do not fit.
        table = arrow.concat_tables(tables, promote_options="permissive")
    except arrow.ArrowException as error:
        fail(f"{path} has parts whose columns differ in type: {error}.")
    types = arrow.types
    columns: dict[str, Column] = {}
    texts: dict[str, Sequence[str]] = {}
    for name, values in _named(path, _index_first(table)):
        if types.is_nested(values.type):
            fail(f"{path}: column {name!r} holds {values.type}, but a cell is a number or a text.")
        columns[name] = np.empty(0)  # keeps the order
        # Numbers stay as arrays: a large table would not fit into memory as Python's objects.
        if types.is_floating(values.type) or (types.is_integer(values.type) and _small(values)):
            columns[name] = values.to_numpy().astype(np.float64)
        else:
            texts[name] = ["" if v is None else str(v) for v in values.to_pylist()]
    place = f"{path}, row {{}}".format
    return columns | _from_texts(path, Texts([*texts.items()], lambda row: place(row + 1)))


def _arrow_table(file: Path, arrow: Any) -> Any:
    try:
        # A folder named year=2024 would become a column; only the file's own columns count.
        return arrow.parquet.read_table(file, partitioning=None)
    except (OSError, arrow.ArrowException) as error:
        fail(f"{file} cannot be read as Parquet: {error}.")


def _index_first(table: Any) -> list[tuple[str, Any]]:
    """Return the columns of a Parquet file by name, with the index of pandas first, as in CSV.

    Pandas writes the index of a table last, where it would be the column to predict.
    """
    index = (table.schema.pandas_metadata or {}).get("index_columns", [])
    columns = [*zip(table.column_names, table.columns, strict=True)]
    columns.sort(key=lambda column: column[0] not in index)
    return [("" if re.fullmatch(r"__index_level_\d+__", n) else n, each) for n, each in columns]


def _small(values: Any) -> bool:
    """Return whether float64 has all of some whole numbers."""
    import pyarrow.compute  # type: ignore[import-untyped]

    ends = pyarrow.compute.min_max(values).as_py()
    return all(abs(end or 0) <= EXACT for end in ends.values())
