"""Series of strangers: forms of dates, their order, and rows that are missing, doubled or uneven.

A series is read in the order of its dates with a row for each step, or it is refused; whatever was
done to its rows is said on standard error. Even rows from the oldest on are read without a word.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from tests.helpers.readers import Readers, readers

from .lab import Lab
from .reading import heard
from .tally import Tally

FULL = 3000
CLOCK = (
    "%Y-%m-%d %H:%M",
    "%Y-%m-%dT%H:%M:%SZ",
    "%d.%m.%Y %H:%M",
    "%m/%d/%Y %I:%M %p",
    "unix",
    "ms",
)
DAY = (
    "%Y-%m-%d",
    "%Y/%m/%d",
    "%Y%m%d",
    "%d.%m.%Y",
    "%d/%m/%Y",
    "%m/%d/%Y",
    "%d-%b-%Y",
    "%B %d, %Y",
)
MONTH = ("%Y-%m", "%Y-%m-01", "01/%m/%Y", "%m/01/%Y", "%b %Y")
STEPS = {"minutes": CLOCK, "hours": CLOCK, "days": (*CLOCK, *DAY), "weeks": DAY, "months": MONTH}


@dataclass(frozen=True)
class Member:
    """One series: its steps, the form of its dates, and what happened to its rows."""

    step: str
    form: str
    count: int
    order: str
    missing: list[int]
    doubled: int | None
    head: str


@st.composite
def members(draw: st.DrawFn) -> Member:
    """Draw a series."""
    step = draw(st.sampled_from([*STEPS]))
    count = draw(st.integers(30, 90))
    return Member(
        step,
        draw(st.sampled_from(STEPS[step])),
        count,
        draw(st.sampled_from(["oldest first", "oldest first", "newest first", "shuffled"])),
        sorted(draw(st.sets(st.integers(1, count - 2), max_size=6))),
        draw(st.one_of(st.none(), st.none(), st.none(), st.integers(0, count - 1))),
        draw(st.sampled_from(["date", "", "Datum", "timestamp"])),
    )


def measure(lab: Lab) -> Tally:
    """Write and read series that Hypothesis draws."""
    tally = Tally("dates")
    tally.must_not("silently another thing", "a word too many", "doubled and read", "crashed")
    tally.must_not("refused without a doubt")

    @seed(lab.seed)
    @settings(
        max_examples=lab.size(FULL), database=None, deadline=None, phases=[Phase.generate],
        suppress_health_check=[*HealthCheck],
    )  # fmt: skip
    @given(members(), st.randoms(use_true_random=False))
    def one(member: Member, chance: Any) -> None:
        with lab.folder() as folder:
            _judge(member, chance, folder, runtime, tally)

    with readers() as runtime:
        one()
    return tally


def _times(member: Member) -> list[datetime]:
    start = datetime(2019, 11, 1, tzinfo=UTC)
    if member.step == "months":
        months = (10 + number for number in range(member.count))
        return [datetime(2019 + m // 12, 1 + m % 12, 1, tzinfo=UTC) for m in months]
    return [start + number * timedelta(**{member.step: 1}) for number in range(member.count)]


def _shown(time: datetime, form: str) -> str:
    factor = {"unix": 1, "ms": 1000}.get(form)
    return str(round(time.timestamp() * factor)) if factor else time.strftime(form)


def _judge(member: Member, chance: Any, folder: Path, runtime: Readers, tally: Tally) -> None:
    # The values go up and down, so that no order can be told from them.
    values = [round(math.sin(number), 6) for number in range(member.count)]
    rows = [*zip(_times(member), values, strict=True)]
    if member.doubled is not None and member.doubled not in member.missing:
        rows.append(rows[member.doubled])
    doubled = len(rows) > member.count
    rows = [row for row in rows if values.index(row[1]) not in member.missing]
    if member.order == "newest first":
        rows.reverse()
    elif member.order == "shuffled":
        chance.shuffle(rows)
    path = folder / "t.csv"
    lines = [f'"{_shown(time, member.form)}",{value}' for time, value in rows]
    path.write_text("\n".join([f"{member.head},v", *lines]) + "\n", encoding="utf-8")
    runtime.notes.note.cache_clear()
    tally.count("series")
    try:
        columns, said = heard(lambda: runtime.series.read_series(path, "series", fill=True))
    except Exception as error:
        tally.violated("crashed", f"{error!r}: {member}")
        return
    if columns is None:
        tally.count("refused")
        tally.check(doubled, "refused without a doubt", f"{said}: {member}")
        return
    tally.check(not doubled, "doubled and read", f"{said}: {member}")
    expected = [math.nan if n in member.missing else value for n, value in enumerate(values)]
    got = columns["v"].tolist() if [*columns] == ["v"] else []
    right = len(got) == len(expected) and all(
        a == b or (a != a and b != b) for a, b in zip(got, expected, strict=True)
    )
    tally.count("right" if right else "loud")
    touched = bool(member.missing) or member.order != "oldest first"
    tally.check(right or bool(said), "silently another thing", f"{said}: {member}")
    tally.check(bool(said) or not touched, "silently another thing", f"{said}: {member}")
    quiet = not said or member.form in ("unix", "ms")  # a note says that numbers are times
    tally.check(quiet or touched, "a word too many", f"{said}: {member}")
