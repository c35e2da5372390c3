"""Times of steps: dates in usual forms, or numbers that rise; and the steps that they count."""

import bisect
import itertools
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

Times = NDArray[np.float64]  # (rows,): seconds since 1970, or numbers in a unit of their own
DAY = 86400.0
JITTER = 0.15  # share of a step by which the distance of two rows may differ from whole steps
MOST = 0.8  # share of a column's cells of which the others are mistakes
DATES = (
    *("%Y-%m-%d", "%Y/%m/%d", "%Y.%m.%d", "%Y%m%d", "%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y"),
    *("%d-%m-%Y", "%m-%d-%Y", "%d.%m.%y", "%d/%m/%y", "%m/%d/%y", "%d %b %Y", "%d-%b-%Y"),
    *("%d-%b-%y", "%b %d, %Y", "%b %d %Y", "%d %B %Y", "%B %d, %Y", "%b %Y", "%B %Y", "%b-%Y"),
    *("%b-%y", "%m/%Y", "%Y/%m", "%Ym%m"),
)
CLOCKS = ("", " %H:%M", " %H:%M:%S", " %H:%M:%S.%f", "T%H:%M:%S", " %I:%M %p", " %I:%M:%S %p")
QUARTER = re.compile(r"(?P<year>\d{4})[ -]?Q(?P<quarter>[1-4])", re.IGNORECASE)


def times_of(words: Sequence[str]) -> Times | None:
    """Return the times of some words in seconds since 1970, or None if one is no date.

    NaN stands for "". If a day may be a month, that order counts in which the rows are the most
    evenly spaced.
    """
    known = [word for word in words if word]
    if not known or not any(char.isdigit() for char in known[0]):
        return None
    if len(known) < len(words):
        if (found := times_of(known)) is not None:
            wide = np.full(len(words), np.nan)
            wide[[bool(word) for word in words]] = found
            found = wide
        return found
    words = [QUARTER.sub(_month, word) for word in words]
    if (times := _iso(words)) is not None:
        return times
    sample = words[:: max(1, len(words) // 8)]
    forms = (date + clock for date, clock in itertools.product(DATES, CLOCKS))
    likely = [form for form in forms if _parsed(sample, form) is not None]
    every = (_parsed(words, form) for form in likely)
    return max((each for each in every if each is not None), key=_evenness, default=None)


def odd_date(words: Sequence[str]) -> int | None:
    """Return the first row that is no date though the others are; None if it is not so."""
    shapes = [re.sub(r"\d", "0", word) for word in words]
    usual = max(set(shapes), key=shapes.count)
    same = [word for word, shape in zip(words, shapes, strict=True) if shape == usual]
    if MOST * len(words) <= len(same) < len(words) and times_of(same) is not None:
        return next(row for row, shape in enumerate(shapes) if shape not in (usual, ""))
    # Once a word is no date, no longer list is one of dates, so the first one is found by halves.
    low = bisect.bisect_left(range(len(words)), 1, key=lambda row: _fails(words[: row + 1]))
    rest = [*words[:low], *words[low + 1 :]]
    return low if low < len(words) and rest and times_of(rest) is not None else None


def _fails(words: Sequence[str]) -> int:
    return int(times_of(words) is None)


def _month(match: re.Match[str]) -> str:
    return f"{match['year']}-{3 * int(match['quarter']) - 2:02}"


def _iso(words: Sequence[str]) -> Times | None:
    """Return times of ISO 8601; those with an offset in UTC, those without as if in UTC."""
    shapes = {re.sub(r"\d", "0", word) for word in words}
    try:
        if shapes <= {"0000-00", "0000-00-00", "0000-00-00 00:00:00", "0000-00-00T00:00:00"}:
            return np.array(words, "datetime64[s]").astype(np.float64)  # a hundred times as fast
        dates = [datetime.fromisoformat(word) for word in words]
    except ValueError:
        return None
    aware = (date if date.tzinfo else date.replace(tzinfo=UTC) for date in dates)
    return np.array([date.timestamp() for date in aware])


def _parsed(words: Sequence[str], form: str) -> Times | None:
    try:
        dates = (datetime.strptime(word, form).replace(tzinfo=UTC) for word in words)
        return np.array([date.timestamp() for date in dates])
    except ValueError:
        return None


def _evenness(times: Times) -> float:
    """Return the share of steps that have a row; 0 for rows that are not evenly spaced."""
    ordered = np.sort(times)
    even = len(times) > 1 and bool((np.diff(ordered) > 0).all())
    steps = steps_of(ordered, dates=True) if even else None
    return 0.0 if steps is None else len(times) / float(steps[-1] + 1)


def numbered(column: NDArray[Any]) -> Times | None:
    """Return the times of numbers such as 20240131, or 202401 if they rise or fall, or None."""
    whole = not np.isnan(column).any() and bool((np.mod(column, 1) == 0).all())
    if not whole or column.min() < 190001 or column.max() > 21001231:
        return None
    words = [str(int(value)) for value in column]
    lengths = {len(word) for word in words}
    if lengths == {8}:
        return _parsed(words, "%Y%m%d")
    return _parsed(words, "%Y%m") if lengths == {6} and is_ordered(column) else None


def is_ordered(column: NDArray[Any]) -> bool:
    """Return whether numbers only rise, or only fall."""
    steps = np.diff(column)
    return len(steps) > 0 and (bool((steps > 0).all()) or bool((steps < 0).all()))


def is_even(column: NDArray[Any]) -> bool:
    """Return whether numbers rise, or fall, by equal steps."""
    steps = np.diff(column)
    return len(steps) > 1 and bool(steps[0]) and np.allclose(steps, steps[0], rtol=1e-6, atol=0)


def is_clock(column: NDArray[Any]) -> bool:
    """Return whether numbers may be seconds (or parts of them) since 1970, in any order."""
    low, high, values = column.min(), column.max(), np.unique(column)
    spaced = is_ordered(column) or (len(values) > 2 and steps_of(values, dates=False) is not None)
    return spaced and any(4e8 * unit < low and high < 4.2e9 * unit for unit in (1, 1e3, 1e6, 1e9))


def steps_of(times: Times, *, dates: bool) -> NDArray[np.int64] | None:
    """Return the number of each row's step, from 0, or None if the rows are not evenly spaced.

    Months, quarters and years count as equal steps, and so do weekdays without weekends.

    Args:
        times: The times, each later than the last.
        dates: Whether they are seconds since 1970.
    """
    apart = np.diff(times)
    if dates and (steps := _calendar(times, apart)) is not None:
        return steps
    for base in (apart.min(), float(np.median(apart))):
        counts = np.rint(apart / base)
        if (counts >= 1).all() and (np.abs(apart / base - counts) <= JITTER).all():
            return np.concatenate(([0], np.cumsum(counts))).astype(np.int64)
    return None


def _calendar(times: Times, apart: Times) -> NDArray[np.int64] | None:
    days = times.astype("datetime64[s]").astype("datetime64[D]")
    if float(np.median(apart)) >= 28 * DAY:
        months = days.astype("datetime64[M]").astype(np.int64)
        each = np.gcd.reduce(np.diff(months)) if (np.diff(months) > 0).all() else 0
        return (months - months[0]) // each if each else None
    weekdays = np.is_busday(days)
    if weekdays.all() and (apart.min() == DAY) and days[-1] - days[0] > np.timedelta64(13, "D"):
        return np.busday_count(days[0], days).astype(np.int64)
    return None
