"""Rows of CSV and Parquet files; all readers of these formats use this module."""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from runtime.errors import fail
from runtime.files import open_text

LARGEST_CELL = 2**30  # characters; the csv module's own limit is too small for some documents


def csv_rows(path: Path, delimiter: str = ",") -> Iterator[tuple[str, list[str]]]:
    """Yield the place and the cells of each row, or stop; the first one names the columns.

    A row with more or fewer cells than the first one is refused: usually a text with a comma lacks
    its quotes, which moves all later cells to wrong columns. Blank lines are skipped.
    """
    csv.field_size_limit(LARGEST_CELL)
    width = 0
    # Spreadsheets start files with a byte order mark; utf-8-sig keeps it out of the first name.
    with open_text(path, encoding="utf-8-sig", newline="") as stream:
        lines = csv.reader(stream, delimiter=delimiter)
        try:
            for cells in lines:
                place = f"{path}:{lines.line_num}"
                width = width or len(cells)
                if cells and len(cells) != width:
                    fail(
                        f"{place} has {len(cells)} cells, but the first line names {width} columns."
                    )
                if cells:
                    yield place, cells
        except csv.Error as error:
            fail(f"{path}:{lines.line_num} cannot be read as a table: {error}.")


def parquet_table(path: Path) -> Any:
    """Return the table of a Parquet file, a pyarrow.Table, or stop."""
    try:
        import pyarrow  # type: ignore[import-untyped]
        import pyarrow.parquet  # type: ignore[import-untyped]
    except ImportError:
        fail(f"reading {path} needs a library: pip install pyarrow.")
    try:
        return pyarrow.parquet.read_table(path)
    except (OSError, pyarrow.ArrowException) as error:
        fail(f"{path} cannot be read as Parquet: {error}.")
