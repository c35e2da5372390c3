"""Cells of a table as numbers: thousands, decimal commas, percents, currencies, or words after all.

A column is read in one way. What Python's `float` does not read is said in a note, and a column
that is almost one of numbers is refused with its first other cell.
"""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.errors import fail
from runtime.notes import note

Column = NDArray[Any]
EXACT = 2**53  # float64 has every whole number up to this one
FEW = 0.1  # a smaller share of cells that are no numbers is a mistake, not a category
CODES = 20  # up to so many different numbers may be names of categories
MINUS = "\u2212"
CURRENCIES = "USD|EUR|GBP|CHF|JPY|CNY|INR|CAD|AUD|SEK|NOK|DKK|PLN|BRL|KRW"
MARK = rf"(?:[A-Z]{{0,2}}[$€£¥₹₽₩₺₫₴₪฿]|{CURRENCIES}|%|‰)"
CELL = re.compile(
    rf"(?P<open>\()?(?P<sign>[-+{MINUS}]?)\s*(?P<before>{MARK}?)\s*(?P<inner>[-{MINUS}]?)"
    r"(?P<core>[\d.,](?:[\d.,'\u2019\s]*[\d.,])?(?:[eE][-+]?\d+)?)"
    rf"\s*(?P<after>{MARK}?)(?(open)\))"
)
SPACES = "['\u2019 \u00a0\u2009\u202f]"


def _pattern(decimal: str, group: str) -> re.Pattern[str]:
    """Return the pattern of a number whose whole part may be in groups of three digits."""
    # A number does not begin with a group of zeros: 0,250 is a quarter.
    thousands = rf"[1-9]\d{{0,2}}(?:{group}\d{{3}})+|[1-9]\d{{0,2}}(?:{SPACES}\d{{3}})+"
    lakhs = r"[1-9]\d?(?:,\d{2})+,\d{3}" if group == "," else thousands
    rest = rf"(?P<fraction>{decimal}\d*)?(?P<power>[eE][-+]?\d+)?"
    return re.compile(rf"(?P<whole>{thousands}|{lakhs}|\d+){rest}|(?P<small>{decimal}\d+)")


POINT, COMMA = _pattern(r"\.", ","), _pattern(",", r"\.")


@dataclass(frozen=True)
class Cells:
    """A column of a file, as text.

    Attributes:
        file: The file, for notes and errors.
        column: The column's name.
        words: The cells, stripped; "" for a missing value.
        place: Returns the place of a row, for notes and errors.
    """

    file: Path
    column: str
    words: Sequence[str]
    place: Callable[[int], str]

    @property
    def name(self) -> str:
        """The file and the column."""
        return f"{self.file}: column {self.column!r}"


def columns_of(cells: Mapping[str, Cells], comma: bool) -> dict[str, Column]:
    """Return columns as float64 with NaN for "", or as object arrays of words.

    Args:
        cells: The columns by their names.
        comma: Whether commas separate the cells of the file: then a comma before three digits
            separates thousands, because whoever writes decimal commas separates cells otherwise.
    """
    plain = {name: _floats(each.words) for name, each in cells.items()}
    forms = {name: _Forms(each.words) for name, each in cells.items() if plain[name] is None}
    commas = any(form.decimal_only for form in forms.values())
    points = any(form.point_only for form in forms.values())
    columns = {}
    for name, each in cells.items():
        values = plain[name]
        if values is None:
            known = commas != points or (comma and not commas)
            columns[name] = _written(each, forms[name], commas and not points, known)
        else:
            if commas and _in_groups(each.words):
                fail(
                    f"{each.name}: the file has decimal commas, and this column may have points "
                    "between thousands: write numbers without them."
                )
            columns[name] = _checked(each, values)
    return columns


def _floats(words: Sequence[str]) -> Column | None:
    try:
        return np.array([float(word) if word else math.nan for word in words], np.float64)
    except ValueError:
        return None


def _in_groups(words: Sequence[str]) -> bool:
    """Return whether each point of some numbers stands before three digits."""
    pointed = [word for word in words if "." in word]
    return bool(pointed) and all(re.fullmatch(r"[-+]?[1-9]\d{0,2}\.\d{3}", w) for w in pointed)


def _checked(cells: Cells, values: Column) -> Column:
    """Return numbers, or words if they are whole and too large for float64."""
    if any(
        _lossy(cells.words[i], values[i]) for i in np.flatnonzero(np.abs(values) >= EXACT).tolist()
    ):
        note(f"{cells.name} has whole numbers beyond 2^53, which lose digits: it is read as words.")
        return np.array(cells.words, dtype=object)
    coded = next((c for c in cells.words if c[:1] == "0" and len(c) > 1 and c.isdigit()), None)
    if coded:
        same = coded.lstrip("0") or "0"
        note(f"{cells.name} is read as numbers, so {coded!r} and {same!r} are equal.")
    return values


def _lossy(word: str, value: float) -> bool:
    return re.fullmatch(r"[-+]?\d+", word) is not None and int(word) != int(value)


class _Forms:
    """The different words of a column that `float` does not read, as numbers of both styles."""

    def __init__(self, cells: Sequence[str]) -> None:
        self.words = sorted({cell for cell in cells if cell})
        self.point = {word: number_in(word, POINT) for word in self.words}
        self.decimal = {word: number_in(word, COMMA) for word in self.words}
        fits = [None not in each.values() for each in (self.point, self.decimal)]
        self.point_only, self.decimal_only = fits == [True, False], fits == [False, True]
        self.numeric = any(fits) and len({_mark(word) for word in self.words}) == 1
        self.differ = [w for w in self.words if all(fits) and self.point[w] != self.decimal[w]]

    def is_number(self, word: str) -> bool:
        return self.point.get(word) is not None or self.decimal.get(word) is not None


def _written(cells: Cells, forms: _Forms, comma: bool, known: bool) -> Column:
    """Return a column that `float` does not read, as numbers written otherwise or as words.

    Args:
        cells: The column.
        forms: Its words as numbers.
        comma: Whether a comma begins the fraction where the column does not show it.
        known: Whether the file shows what a comma before three digits means.
    """
    if not forms.numeric:
        _judge(cells, forms)
        return np.array(cells.words, dtype=object)
    if forms.differ and not known:
        word = forms.differ[0]
        fail(
            f"{cells.name}: {word!r} is {forms.point[word]:.15g} or {forms.decimal[word]:.15g}: "
            "write it without separators of thousands, and with a decimal point."
        )
    read = forms.decimal if forms.decimal_only or (comma and forms.differ) else forms.point
    shown = (forms.differ or forms.words)[-1]
    note(f"{cells.name} has numbers such as {shown!r}, read as {read[shown]:.15g}.")
    return np.array([read[word] if word else math.nan for word in cells.words], np.float64)


def _judge(cells: Cells, forms: _Forms) -> None:
    """Stop or note if a column of words is almost one of numbers."""
    known = [row for row, word in enumerate(cells.words) if word]
    other = [row for row in known if not forms.is_number(cells.words[row])]
    if not other:
        one, two = _two_ways(forms)
        fail(f"{cells.name} writes numbers in two ways, {one!r} and {two!r}: write all alike.")
    numbers = len(known) - len(other)
    if numbers < len(other):
        return
    text = (
        f"{cells.place(other[0])}: {cells.words[other[0]]!r} is no number, but {numbers:,} of "
        f"{len(known):,} cells of column {cells.column!r} are"
    )
    if len(other) <= FEW * len(known) and sum(map(forms.is_number, forms.words)) > CODES:
        fail(f"{text}: correct it, or leave it empty.")
    note(f"{text}: the column is read as words.")


def _two_ways(forms: _Forms) -> tuple[str, str]:
    """Return two words of a column that are numbers in different styles or units."""
    marks = {_mark(word): word for word in forms.words}
    if len(marks) > 1:
        one, two, *_ = marks.values()
        return one, two
    points = [word for word in forms.words if forms.decimal[word] is None]
    commas = [word for word in forms.words if forms.point[word] is None]
    return points[0], commas[0]


def _mark(word: str) -> str:
    """Return the currency or percent sign of a number."""
    match = CELL.fullmatch(word)
    return match["before"] + match["after"] if match else ""


def number_in(word: str, pattern: re.Pattern[str]) -> float | None:
    """Return the number of a cell, or None if it is none; 12.5 % is 0.125, and (3) is -3."""
    cell = CELL.fullmatch(word)
    core = pattern.fullmatch(cell["core"]) if cell else None
    if not cell or not core:
        return None
    # What is no digit separates groups in the whole part, and begins the fraction.
    whole = "".join(c for c in core["whole"] or "0" if c.isdigit())
    fraction = (core["fraction"] or core["small"] or ".")[1:] or "0"
    mark = cell["before"] + cell["after"]
    value = float(f"{whole}.{fraction}{core['power'] or ''}")
    value = value / 100 if "%" in mark else value / 1000 if "‰" in mark else value
    minus = (cell["sign"] in ("-", MINUS)) + (cell["inner"] != "") + (cell["open"] is not None)
    return -value if minus % 2 else value
