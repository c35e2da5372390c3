"""Measurements over time, from a table with a row for each step."""

from pathlib import Path

from runtime.errors import fail
from runtime.tables import Column, is_numeric, read_table

TIMES = frozenset({"date", "datetime", "day", "ds", "index", "month", "time", "timestamp", "year"})
"""Names of a first column that holds times, in small letters."""


def read_series(path: Path, noun: str) -> dict[str, Column]:
    """Return the columns of numbers of a table, oldest step first, or stop if one has text.

    A first column of dates is ignored: steps are at equal intervals, so dates add nothing.

    Args:
        path: A .csv, .tsv or .parquet file.
        noun: Word for a column in errors, such as "series".
    """
    columns = read_table(path)
    first = next(iter(columns))
    if not is_numeric(columns[first]) or first.lower() in TIMES:
        del columns[first]
    if not columns:
        fail(f"{path} has no column besides {first!r}: add a column of numbers for each {noun}.")
    for name, column in columns.items():
        if not is_numeric(column):
            fail(f"{path}: column {name!r} has text, but a {noun} must be a column of numbers.")
    return columns
