"""Measurements over time, from a table with a row for each step."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, NoReturn

import numpy as np
from numpy.typing import NDArray

from runtime.errors import fail
from runtime.notes import note
from runtime.numbers import Column
from runtime.parts import INDEX
from runtime.tables import is_numeric, read_table
from runtime.times import (
    Times,
    is_clock,
    is_even,
    is_ordered,
    numbered,
    odd_date,
    steps_of,
    times_of,
)

TIMES = frozenset(
    {"date", "datetime", "day", "ds", "epoch", "hour", "index", "minute", "month", "quarter"}
    | {"second", "seconds", "step", "t", "time", "timestamp", "ts", "unix", "week", "year"}
)
"""Names of a first column that holds times, in small letters."""
MOST_STEPS = 2.0  # steps for each row; rows with more gaps than that are not evenly spaced


class Clock(NamedTuple):
    """The column of times: its name, the time of each row, and how a time is shown."""

    name: str
    times: Times
    dates: bool
    shown: Callable[[int], str]


def read_series(path: Path, noun: str, *, fill: bool) -> dict[str, Column]:
    """Return the columns of numbers of a table, oldest step first, or stop if one has text.

    Rows are put into the order of their times, and two of one time are refused. All that is done
    to them is noted.

    Args:
        path: A table, as for `read_table`.
        noun: Word for a column in errors, such as "series".
        fill: Whether steps without a row become rows of missing values.
    """
    columns = {name: _switched(column) for name, column in read_table(path).items()}
    clock = _clock(path, columns, noun)
    if clock:
        del columns[clock.name]
    if not columns:
        fail(f"{path} has only a column of times: add a column of numbers for each {noun}.")
    order = _order(path, clock, columns, noun) if clock else None
    for name, column in columns.items():
        if not is_numeric(column):
            text = next(cell for cell in column if cell)
            fail(
                f"{path}: column {name!r} has text such as {text!r}, but a {noun} must be a column "
                "of numbers: remove it, or write it as numbers."
            )
    if clock is None or order is None:
        return columns
    columns = {name: column[order] for name, column in columns.items()}
    return _spaced(path, clock, clock.times[order], columns, fill)


def described_times(path: Path) -> str:
    """Return a line on the column of times, and on the rows that it orders."""
    columns = read_table(path)
    rows = len(next(iter(columns.values())))
    clock = _clock(path, columns, "series")
    if clock is None:
        return f"{rows:,} rows, in the order of the file: there is no column of times"
    first, last = int(np.argmin(clock.times)), int(np.argmax(clock.times))
    return f"{rows:,} rows by {clock.name!r}, {clock.shown(first)} to {clock.shown(last)}"


def _switched(column: Column) -> Column:
    """Return a column of true and false as 1 and 0."""
    words = set() if is_numeric(column) else {word.lower() for word in column.tolist()}
    if not words or words == {""} or not words <= {"true", "false", ""}:
        return column
    return np.array([{"true": 1.0, "false": 0.0}.get(w.lower(), np.nan) for w in column.tolist()])


def _clock(path: Path, columns: dict[str, Column], noun: str) -> Clock | None:
    """Return the column of times, if there is one.

    That is the first column of dates; without one, a first column of numbers that are like times.
    A first column that counts or names the rows is removed.
    """
    first = next(iter(columns))
    for name, column in columns.items():
        words = [] if is_numeric(column) else column.tolist()
        if words and (times := times_of(words)) is not None:
            if name != first and is_numeric(columns[first]) and _is_named(first):
                note(f"{path}: column {first!r} is left out, because {name!r} has the dates.")
                del columns[first]
            return Clock(name, times, True, words.__getitem__)
        if words and (odd := odd_date(words)) is not None:
            fail(f"{path}: row {odd + 1} has {words[odd]!r} in {name!r}, which is no date.")
    if is_numeric(columns[first]):
        return _numbers(path, first, columns)
    words = columns[first].tolist()
    if len(set(words)) < len(words):
        fail(
            f"{path}: column {first!r} has {_twice(words)!r} more than once, and no dates: "
            f"give each {noun} a column of its own, and each step one row."
        )
    note(f"{path}: column {first!r} is left out: its words, like {words[0]!r}, are no dates.")
    del columns[first]
    return None


def _is_named(name: str) -> bool:
    return name.lower() in TIMES or INDEX.fullmatch(name) is not None


def _numbers(path: Path, name: str, columns: dict[str, Column]) -> Clock | None:
    """Return a first column of numbers as times if it is like one, by its name or its values."""
    column, alone = columns[name], len(columns) == 1
    if (times := numbered(column)) is not None:
        return Clock(name, times, True, lambda row: str(int(column[row])))
    if _is_named(name) or (not alone and (is_even(column) or is_clock(column))):
        note(f"{path}: column {name!r} is the time of the rows, so it is no series or channel.")
        return Clock(name, column, False, lambda row: f"{column[row]:.15g}")
    if is_ordered(column):
        note(f"{path}: column {name!r} only rises or falls: if it is a time, name it 'time'.")
    return None


def _twice(cells: list[str]) -> str:
    """Return the first cell that another one equals."""
    counts = Counter(cells)
    return next(cell for cell in cells if counts[cell] > 1)


def _order(path: Path, clock: Clock, columns: dict[str, Column], noun: str) -> NDArray[np.int64]:
    """Return the rows from the oldest on; a note says so if they are in another order."""
    missing = np.flatnonzero(np.isnan(clock.times))
    if len(missing):
        fail(f"{path}: row {missing[0] + 1} has no value in {clock.name!r}: write its time.")
    order = np.argsort(clock.times, kind="stable")
    same = np.flatnonzero(np.diff(clock.times[order]) == 0)
    if len(same):
        _refuse_doubled(path, clock, int(order[same[0]]), columns, noun)
    if len(order) > 1 and (np.diff(order) == -1).all():
        note(f"{path}: the newest row is first, so the rows are turned: row 1 is the oldest.")
    elif (np.diff(order) != 1).any():
        note(f"{path}: the rows are not in the order of {clock.name!r}, so they are sorted.")
    return order


def _refuse_doubled(
    path: Path, clock: Clock, row: int, columns: dict[str, Column], noun: str
) -> NoReturn:
    """Stop because two rows have one time, with the way that the other columns suggest."""
    shown = f"{clock.shown(row)} is the {clock.name!r} of several rows"
    parts = [name for name in columns if name.lower() in TIMES]
    if parts:
        fail(f"{path}: {shown}: write {clock.name!r} and {parts[0]!r} as one column of dates.")
    words = [name for name, column in columns.items() if not is_numeric(column)]
    each = f", like {words[0]!r}, one of" if words else " of"
    pivot = f"index={clock.name!r}" + (f", columns={words[0]!r}" if words else "")
    fail(
        f"{path}: {shown}. Each step has one row: if rows are{each} several {noun}, give each a "
        f"column (in pandas: table.pivot({pivot}, ...)); if not, remove the doubled ones."
    )


def _spaced(
    path: Path, clock: Clock, times: Times, columns: dict[str, Column], fill: bool
) -> dict[str, Column]:
    """Return columns with a row for each step, if steps are missing and are to be filled."""
    if len(times) < 3:
        return columns
    steps = steps_of(times, dates=clock.dates)
    count = len(times) if steps is None else int(steps[-1]) + 1
    if steps is None or count > MOST_STEPS * len(times):
        apart = np.diff(times)
        unit = " s" if clock.dates else ""
        note(
            f"{path}: rows are unevenly spaced in {clock.name!r}, by {apart.min():.6g} to "
            f"{apart.max():.6g}{unit}, but count as equal steps: resample them if that is wrong."
        )
        return columns
    if count == len(times):
        return columns
    longest = int(np.diff(steps).max()) - 1
    gaps = f"{count - len(times):,} of {count:,} steps have no row (at most {longest:,} in a row)"
    if not fill:
        note(f"{path}: {gaps}, and windows go on over them: add rows with empty cells.")
        return columns
    note(f"{path}: {gaps}: they are filled as missing values are.")
    filled = {name: np.full(count, np.nan) for name in columns}
    for name, column in columns.items():
        filled[name][steps] = column
    return filled
