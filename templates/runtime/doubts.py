"""Doubts about a table: what makes its scores too good or its columns useless, in notes."""

import math
import re

import numpy as np
from numpy.typing import NDArray

from runtime.columns import Parts, Rows, Schema
from runtime.notes import note
from runtime.numbers import Column
from runtime.tables import is_numeric

Codes = NDArray[np.int64]
FEWEST = 20  # rows below which a relation between two columns may be chance
REPEATS = 5  # rows a value, on average, that make a relation more than chance
LINEAR = 0.9999  # a correlation from here on is the same quantity, rounded
NAMES_OF_ROWS = re.compile(r"id|.*[_ ]id|.*Id|uuid|guid|key|index|no|nr|number|row", re.IGNORECASE)


def note_columns(rows: Rows) -> None:
    """Note columns that are useless, written in two ways, or know the answer."""
    for name, column in rows.columns.items():
        at = f"{rows.name}: column {name!r}"
        codes = codes_of(column)
        if codes.max() == 0:
            note(f"{at} has the same value in all rows, or none: it tells nothing.")
        elif counts_rows(column):
            note(f"{at} counts the rows: remove it, unless their order has a meaning.")
        if why := gives_away(column, rows.values):
            note(f"{at} may be the answer: {why} {rows.target!r}. Remove it if so.")
    for name, column in {**rows.columns, rows.target: rows.values}.items():
        if not is_numeric(column) and (twin := twins(column)):
            note(f"{rows.name}: {name!r} has {twin[0]!r} and {twin[1]!r} as two different words.")


def note_parts(rows: Rows, parts: Parts, schema: Schema) -> None:
    """Note words that have no place in the model, and rows of one split that repeat another's."""
    for name, words in schema.categorical.items():
        column = rows.columns[name][parts["train"]]
        distinct = len(set(column.tolist()) - {""})
        if distinct > len(words):
            note(
                f"{rows.name}: column {name!r} has {distinct:,} distinct words in the training "
                f"rows, and the model keeps the {len(words):,} most frequent: is it a category?"
            )
    ids = [n for n, c in rows.columns.items() if NAMES_OF_ROWS.fullmatch(n) and all_differ(c)]
    others = [codes_of(column) for name, column in rows.columns.items() if name not in ids]
    if not ids or not others:
        return
    same = joined(others)
    count = int(np.isin(same[parts["test"]], same[parts["train"]]).sum())
    if count:
        note(
            f"{rows.name}: {count:,} rows of the test split are equal to training rows but for "
            f"{', '.join(map(repr, ids))}: remove that column, so that equal rows stay together."
        )


def repeats(rows: Rows) -> int:
    """Return how many rows have the same inputs as an earlier one."""
    codes = joined([codes_of(column) for column in rows.columns.values()])
    return len(codes) - int(codes.max()) - 1


def codes_of(column: Column) -> Codes:
    """Return the number of each cell's value, from 0; missing cells share one."""
    values = column if is_numeric(column) else column.astype(str)
    codes: Codes = np.unique(values, return_inverse=True)[1].reshape(-1)
    return codes


def joined(columns: list[Codes]) -> Codes:
    """Return the number of each row's combination of values."""
    total = columns[0]
    for codes in columns[1:]:
        total = np.unique(total * (codes.max() + 1) + codes, return_inverse=True)[1].reshape(-1)
    return total


def all_differ(column: Column) -> bool:
    """Return whether no two cells are equal, and all are words or whole numbers."""
    whole = not is_numeric(column) or bool((np.mod(column, 1) == 0).all())
    return whole and int(codes_of(column).max()) + 1 == len(column)


def counts_rows(column: Column) -> bool:
    """Return whether a column is the number of each row, from any first one."""
    return len(column) > 1 and is_numeric(column) and bool((np.diff(column) == 1).all())


def twins(column: Column) -> tuple[str, str] | None:
    """Return two words that differ only in capital letters or spaces, if there are some."""
    seen: dict[str, str] = {}
    for word in sorted(set(column.tolist())):
        key = " ".join(word.casefold().split())
        if seen.setdefault(key, word) != word:
            return seen[key], word
    return None


def gives_away(column: Column, target: Column) -> str:
    """Return in which way a column knows the target, or ""."""
    rows = len(target)
    own, true = codes_of(column), codes_of(target)
    values, answers = int(own.max()) + 1, int(true.max()) + 1
    if rows < FEWEST or values < 2 or answers < 2:
        return ""
    missing = np.isnan(column) if is_numeric(column) else column == ""
    known = int(joined([missing.astype(np.int64), true]).max()) + 1
    if REPEATS <= missing.sum() <= rows - REPEATS and known == answers <= rows / REPEATS:
        return "whether it has a value shows the value of"
    pairs = int(joined([own, true]).max()) + 1
    if pairs == values == answers and rows - answers >= REPEATS:
        return "each of its values stands for one value of"
    if pairs == values and values * REPEATS <= rows:
        return "each of its values has only one value of"
    if is_numeric(column) and is_numeric(target) and _same_order(column, target):
        return "it rises or falls exactly with"
    return ""


def _same_order(column: Column, target: Column) -> bool:
    """Return whether two columns of numbers are one quantity, perhaps on different scales."""
    known = ~np.isnan(column)
    one, two = column[known], target[known]
    if len(one) < FEWEST or not np.ptp(one) or not np.ptp(two):
        return False
    exact = abs(_correlation(codes_of(one), codes_of(two)))
    return math.isclose(exact, 1, abs_tol=1e-12) or abs(_correlation(one, two)) > LINEAR


def _correlation(one: Column, two: Column) -> float:
    return float(np.mean((one - one.mean()) * (two - two.mean())) / (one.std() * two.std()))
