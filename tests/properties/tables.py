"""Tables of strangers: encodings, separators and kinds of cells, with the right values known.

A table is read with the right values, or it is refused, or a line on standard error names the
column. Without damage or doubt it is read, and nothing is said.
"""

from __future__ import annotations

import csv
import gzip
import io
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from tests.helpers.readers import Readers, readers

from .lab import Lab
from .reading import heard
from .tally import Tally

FULL = 5000
WORDS = ("Köln", "a;b", "x, y", "one|two", 'the "old" one', "Zürich", "no", "yes", "tab\tbed")
DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "a NUL": lambda data: data[:-2] + b"\0\n",
    "a tar": lambda data: b"t.csv".ljust(257, b"\0") + b"ustar\x0000" + data,
    "a page": lambda data: b"<html><body>" + data,
    "a stray byte": lambda data: data[:-1] + b"\x81\n",
    "an open quote": lambda data: data + b'"',
    "a cell too many": lambda data: data.rstrip() + b",;\t|,1\n",
}
LARGEST = 10**7


@dataclass(frozen=True)
class Way:
    """A way to write numbers: the text of a whole number, and the value that the text stands for.

    Attributes:
        text: Writes a number.
        value: Returns its value.
        plain: Whether `float` reads it, so that nothing need be said.
    """

    text: Callable[[int], str]
    value: Callable[[int], float]
    plain: bool = False


WAYS = {
    "whole": Way(str, float, plain=True),
    "decimal": Way(lambda n: f"{n / 100:.2f}", lambda n: n / 100, plain=True),
    "power": Way(lambda n: f"{n}e-3", lambda n: n / 1000, plain=True),
    "thousands": Way(lambda n: f"{n:,}", float),
    "thousands and cents": Way(lambda n: f"{n / 100:,.2f}", lambda n: n / 100),
    "decimal comma": Way(lambda n: f"{n / 100:.2f}".replace(".", ","), lambda n: n / 100),
    "points and comma": Way(
        lambda n: f"{n / 100:,.2f}".translate(str.maketrans(",.", ".,")), lambda n: n / 100
    ),
    "spaces": Way(lambda n: f"{n:,}".replace(",", " "), float),
    "apostrophes": Way(lambda n: f"{n:,}".replace(",", "'"), float),
    "percent": Way(lambda n: f"{n / 10}%", lambda n: n / 1000),
    "dollars": Way(lambda n: f"-${-n:,}" if n < 0 else f"${n:,}", float),
    "euros": Way(lambda n: f"{n / 100:.2f} €".replace(".", ","), lambda n: n / 100),
    "bookkeeping": Way(lambda n: f"({-n:,}.0)" if n < 0 else f"{n:,}.0", float),
    "ids": Way(lambda n: str(2**53 + 1 + 2 * abs(n)), lambda n: 2**53 + 1 + 2 * abs(n)),
}


@dataclass(frozen=True)
class Member:
    """One table: the numbers of a column, how they are written, and the form of the file."""

    way: str
    numbers: list[int]
    words: list[str]
    missing: list[int]
    bad: int | None
    encoding: str
    separator: str
    end: str
    packed: bool
    suffix: str
    damage: str | None


@st.composite
def members(draw: st.DrawFn) -> Member:
    """Draw a table; half are without a doubt."""
    # Hypothesis would draw each cell of a list by itself, which takes most of the time.
    chance = random.Random(draw(st.integers(0, 2**32)))
    numbers = [chance.randint(-LARGEST, LARGEST) for _ in range(chance.randint(30, 60))]
    rows = st.integers(0, len(numbers) - 1)
    return Member(
        draw(st.sampled_from([*WAYS])),
        numbers,
        chance.choices(WORDS, k=len(numbers)),
        draw(st.lists(rows, max_size=5)),
        draw(st.one_of(st.none(), st.none(), rows)),
        draw(st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "cp1252"])),
        draw(st.sampled_from([",", ";", "\t", "|"])),
        draw(st.sampled_from(["\n", "\r\n"])),
        draw(st.booleans()),
        draw(st.sampled_from([".csv", ".CSV", ".tsv", ".csv.gz"])),
        draw(st.one_of(st.none(), st.none(), st.none(), st.sampled_from([*DAMAGES]))),
    )


def measure(lab: Lab) -> Tally:
    """Write and read tables that Hypothesis draws."""
    tally = Tally("tables")
    tally.must_not("silently another thing", "refused without a doubt", "crashed", "no reason")

    @seed(lab.seed)
    @settings(
        max_examples=lab.size(FULL), database=None, deadline=None, phases=[Phase.generate],
        suppress_health_check=[*HealthCheck],
    )  # fmt: skip
    @given(members())
    def one(member: Member) -> None:
        with lab.folder() as folder:
            _judge(member, folder, runtime, tally)

    with readers() as runtime:
        one()
    return tally


def _judge(member: Member, folder: Path, runtime: Readers, tally: Tally) -> None:
    path = folder / f"t{member.suffix}"
    path.write_bytes(_written(member))
    runtime.notes.note.cache_clear()
    label = str(member)
    tally.count("tables")
    try:
        columns, said = heard(lambda: runtime.tables.read_table(path))
    except Exception as error:
        tally.violated("crashed", f"{error!r}: {label}")
        return
    doubt = member.bad is not None or member.damage or not WAYS[member.way].plain
    if columns is None:
        tally.count("refused")
        tally.check(str(path) in said, "no reason", f"{said}: {label}")
        tally.check(bool(doubt), "refused without a doubt", f"{said}: {label}")
        return
    right = not member.damage and _right(member, columns)
    tally.count("right" if right else "loud")
    named = "'n'" in said or "'w'" in said or "column" in said
    tally.check(right or named, "silently another thing", f"{said}: {label}")


def _written(member: Member) -> bytes:
    """Return the file of a member."""
    text = io.StringIO()
    table = csv.writer(text, delimiter=member.separator, lineterminator=member.end)
    table.writerow(["n", "w"])
    for row, (number, word) in enumerate(zip(member.numbers, member.words, strict=True)):
        cell = "" if row in member.missing else WAYS[member.way].text(number)
        table.writerow(["not stated" if row == member.bad else cell, word])
    data = text.getvalue().encode(member.encoding, errors="replace")
    if member.damage:
        data = DAMAGES[member.damage](data)
    return gzip.compress(data, mtime=0) if member.packed else data


def _right(member: Member, columns: dict[str, Any]) -> bool:
    """Return whether the columns have the values of a member, and no others."""
    if [*columns] != ["n", "w"] or columns["w"].tolist() != member.words or member.bad is not None:
        return False
    way, values = WAYS[member.way], columns["n"].tolist()
    for row, (number, value) in enumerate(zip(member.numbers, values, strict=True)):
        if row in member.missing:
            if value not in ("", None) and value == value:
                return False
        elif abs(float(value) - way.value(number)) > 1e-9 * max(1.0, abs(number)):
            return False
    return True
