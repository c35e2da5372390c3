"""Interactions of users with items, read from a table: who, with what, when, and what else."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.digests import digest, files_digest
from runtime.errors import fail
from runtime.notes import note
from runtime.numbers import Column
from runtime.parts import table_files
from runtime.tables import is_numeric, read_parts
from runtime.times import odd_date, times_of

Integers = NDArray[np.int64]

# Usual names of each column in small letters without punctuation, the likeliest first.
USERS = (
    *("user", "userid", "uid", "users", "customer", "customerid", "visitor", "visitorid"),
    *("member", "memberid", "reviewer", "reviewerid", "account", "accountid", "client"),
    *("clientid", "session", "sessionid"),
)
ITEMS = (
    *("item", "itemid", "iid", "items", "product", "productid", "movie", "movieid", "parentasin"),
    *("asin", "article", "articleid", "track", "trackid", "song", "songid", "artist", "artistid"),
    *("book", "bookid", "isbn", "game", "gameid", "app", "appid", "video", "videoid", "newsid"),
    *("content", "contentid", "sku", "recipeid", "businessid"),
)
TIMES = (
    *("time", "timestamp", "datetime", "date", "ts", "t", "eventtime", "createdat", "created"),
    *("unixreviewtime", "unixtime", "reviewtime"),
)
JUDGED = frozenset({"rating", "ratings", "score", "stars", "overall", "liked", "feedback"})


@dataclass(frozen=True)
class Interactions:
    """Pairs of a user and an item, each once, in the order of their times.

    Attributes:
        name: Name of the data in reports.
        sha256: Digest of the data.
        users: Names of the users, sorted; a name's place is its number.
        items: Names of the items, sorted.
        user: The user of each pair, (M,).
        item: The item of each pair, (M,).
        times: When each pair was, (M,); None for data without times.
        of_users: Columns that have one value for each user, (users,) each.
        of_items: Columns that have one value for each item, (items,) each.
        of_pairs: The other columns, (M,) each.
    """

    name: str
    sha256: str
    users: NDArray[Any]
    items: NDArray[Any]
    user: Integers
    item: Integers
    times: NDArray[np.float64] | None
    of_users: dict[str, Column]
    of_items: dict[str, Column]
    of_pairs: dict[str, Column]

    def __len__(self) -> int:
        return len(self.user)


def read_interactions(path: Path) -> Interactions:
    """Return the interactions of a table, or of a folder with its parts; or stop."""
    files = table_files(path)
    columns = read_parts(path, files)
    whole = [str(file.relative_to(path)) for file in files] if path.is_dir() else None
    sha256 = files_digest(files, whole) if whole else digest(path.read_bytes())
    user, item = (_required(columns, names, path) for names in (USERS, ITEMS))
    time = _named(columns, TIMES)
    _say_judged(columns, path)
    ids = [_words(columns.pop(name)) for name in (user, item)]
    times = _times(columns.pop(time), time, path) if time else None
    known = (ids[0] != "") & (ids[1] != "")
    if times is not None:
        known &= ~np.isnan(times)
    if not known.all():
        note(f"{path}: {(~known).sum():,} rows without a user, an item or a time are left out.")
    rows = np.flatnonzero(known)
    if not len(rows):
        fail(f"{path} has no row with a user and an item.")
    others = {name: column[rows] for name, column in columns.items()}
    moments = None if times is None else times[rows]
    return interactions(path.name, sha256, ids[0][rows], ids[1][rows], moments, others)


def interactions(
    name: str,
    sha256: str,
    users: NDArray[Any],
    items: NDArray[Any],
    times: NDArray[np.float64] | None,
    columns: Mapping[str, Column],
) -> Interactions:
    """Return rows as interactions: in the order of times, and the first row of each pair alone.

    Args:
        name: Name of the data.
        sha256: Digest of the data.
        users: The name of each row's user.
        items: The name of each row's item.
        times: The time of each row; None for data without times.
        columns: The other columns.
    """
    order = np.arange(len(users)) if times is None else np.argsort(times, kind="stable")
    known, user = np.unique(users[order].astype(str), return_inverse=True)
    things, item = np.unique(items[order].astype(str), return_inverse=True)
    _, first = np.unique(user * len(things) + item, return_index=True)
    first.sort()
    if len(first) < len(user):
        again = len(user) - len(first)
        note(f"{name}: {again:,} rows repeat a user and an item: the first of each pair counts.")
    user, item, order = user[first], item[first], order[first]
    of_users, of_items, of_pairs = _owners(
        {n: column[order] for n, column in columns.items()}, (user, item), name
    )
    moments = None if times is None else times[order]
    return Interactions(
        name, sha256, known, things, user, item, moments, of_users, of_items, of_pairs
    )


def _owners(
    columns: Mapping[str, Column], sides: tuple[Integers, Integers], place: str
) -> tuple[dict[str, Column], dict[str, Column], dict[str, Column]]:
    """Return the columns of users, of items, and of pairs.

    A column with one value for each user describes users, one with one for each item items.
    """
    owned: tuple[dict[str, Column], dict[str, Column]] = ({}, {})
    others: dict[str, Column] = {}
    for name, column in columns.items():
        values = np.unique(
            column if is_numeric(column) else column.astype(str), return_inverse=True
        )
        if len(values[0]) < 2:
            note(f"{place}: column {name!r} has the same value in all rows: left out.")
            continue
        for side, found in zip(sides, owned, strict=True):
            if _is_of(values[1], side):
                _, first = np.unique(side, return_index=True)
                found[name] = column[first]
                break
        else:
            others[name] = column
    return *owned, others


def _is_of(values: Integers, side: Integers) -> bool:
    """Return whether rows of one owner have one value."""
    first = np.zeros(side.max() + 1, np.int64)
    first[side[::-1]] = values[::-1]
    return bool((values == first[side]).all())


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _named(columns: Mapping[str, Column], names: tuple[str, ...]) -> str | None:
    """Return the column with the likeliest of some names."""
    plain = {_plain(name): name for name in reversed([*columns])}
    return next((plain[name] for name in names if name in plain), None)


def _required(columns: Mapping[str, Column], names: tuple[str, ...], path: Path) -> str:
    found = _named(columns, names)
    if found is None:
        there = ", ".join(map(repr, columns))
        fail(
            f"{path} has no column of {names[0]}s: name it {names[0]!r}, {names[0]}_id or in "
            f"another usual way; it has {there}."
        )
    return found


def _words(column: Column) -> NDArray[Any]:
    """Return ids as words, "" where there is none; 3.0 is "3"."""
    if not is_numeric(column):
        return column
    whole = np.nan_to_num(column).astype(np.int64)
    if (whole == np.nan_to_num(column)).all():
        words = whole.astype(str).astype(object)
    else:
        words = column.astype(str).astype(object)
    words[np.isnan(column)] = ""
    return words


def _times(column: Column, name: str, path: Path) -> NDArray[np.float64]:
    """Return times as numbers that rise, NaN where there is none; or stop."""
    if is_numeric(column):
        return column
    words = column.tolist()
    found = times_of(words)
    if found is None:
        row = odd_date(words)
        odd = "" if row is None else f"; row {row + 1} has {words[row]!r:.40}"
        fail(f"{path}: column {name!r} has neither numbers nor dates such as 2024-01-31{odd}.")
    return found


def _say_judged(columns: Mapping[str, Column], path: Path) -> None:
    judged = [name for name in columns if _plain(name) in JUDGED]
    if judged:
        note(
            f"{path}: every row counts as one that the user took, whatever its {judged[0]!r}: "
            "leave out rows that should not be recommended."
        )
