"""The reader of series: dates in any form, their order, gaps, doubles, long tables, and times."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from helpers.readers import Readers

Read = Callable[..., tuple[dict[str, list[Any]] | None, str]]
FIRST = datetime(2020, 1, 27, 6)


@pytest.fixture
def read(runtime: Readers, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Read:
    """Read rows: the columns (None if they are refused), and what is said."""

    def run(
        head: str, rows: list[str], *, fill: bool = True
    ) -> tuple[dict[str, list[Any]] | None, str]:
        path = tmp_path / "t.csv"
        path.write_text("\n".join([head, *rows]) + "\n", encoding="utf-8")
        try:
            columns = runtime.series.read_series(path, "series", fill=fill)
        except SystemExit:
            return None, capsys.readouterr().err
        table = {n: [None if v != v else v for v in c.tolist()] for n, c in columns.items()}
        return table, capsys.readouterr().err

    return run


def days(count: int = 50, **step: int) -> list[datetime]:
    return [FIRST + n * timedelta(**(step or {"days": 1})) for n in range(count)]


def rows(times: list[str]) -> list[str]:
    return [f'"{time}",{number}' for number, time in enumerate(times)]


FORMS = [
    *("%Y-%m-%d", "%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M:%S+02:00", "%Y/%m/%d"),
    *("%Y%m%d", "%d.%m.%Y", "%d.%m.%Y %H:%M", "%d/%m/%Y", "%m/%d/%Y", "%m/%d/%y %I:%M %p"),
    *("%d-%b-%Y", "%b %d, %Y", "%d %B %Y"),
]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("head", ["date,v", ",v", "Zeit,v"])
def test_dates_give_the_order_whatever_their_form(form: str, head: str, read: Read) -> None:
    times = rows([day.strftime(form) for day in days()])
    assert read(head, times) == ({"v": [*range(50)]}, "")
    turned, said = read(head, times[::-1])
    assert turned == {"v": [*range(50)]}
    assert "the newest row is first, so the rows are turned" in said
    kept = [row for number, row in enumerate(times) if number not in (7, 20, 21)]
    filled, said = read(head, kept)
    assert filled == {"v": [None if n in (7, 20, 21) else n for n in range(50)]}
    assert "3 of 50 steps have no row (at most 2 in a row): they are filled" in said
    mixed, said = read(head, times[10:] + times[:10])
    assert mixed == {"v": [*range(50)]}
    assert "so they are sorted" in said
    none, said = read(head, [*times, times[4]])
    assert none is None
    assert "of several rows" in said


@pytest.mark.parametrize(
    "times",
    [
        [str(1514764800 + 86400 * n) for n in range(30)],
        [str(1514764800000 + 60000 * n) for n in range(30)],
        [str(n) for n in range(30)],
        [str(2000 - 3 * n) for n in range(30)],
        [str(0.1 * n) for n in range(30)],
        [f"{2020 + n // 12}{1 + n % 12:02}" for n in range(30)],
        [str(1514764800 + 86400 * n + 3600 * (n % 3)) for n in range(30)],
    ],
)
def test_a_first_column_like_a_time_is_no_series(times: list[str], read: Read) -> None:
    columns, said = read("ts2,v", rows(times))
    assert columns is not None
    assert list(columns) == ["v"]
    assert said or times[0] == "202001"


@pytest.mark.parametrize(
    "times",
    [
        [f"{2020 + n // 12}-{1 + n % 12:02}" for n in range(40)],
        [f"{2020 + n // 12}-{1 + n % 12:02}-01" for n in range(40)],
        [f"01/{1 + n % 12:02}/{2020 + n // 12}" for n in range(40)],
        [f"{1 + n % 12:02}/01/{2020 + n // 12}" for n in range(40)],
        [f"{2020 + n // 4}Q{1 + n % 4}" for n in range(40)],
        [f"{1990 + n}-06-30" for n in range(40)],
        [d.strftime("%Y-%m-%d") for d in days(90) if d.weekday() < 5],
        [d.strftime("%Y-%m-%d %H:%M") for d in days(40, minutes=15)],
        [str(1990 + n) for n in range(40)],
    ],
)
def test_calendars_are_even(times: list[str], read: Read) -> None:
    columns, said = read("year,v", rows(times))
    assert columns == {"v": [*range(len(times))]}
    assert not said.replace("column 'year' is the time of the rows", "").count("row")


def test_uneven_rows_are_noted(read: Read) -> None:
    times = [(FIRST + timedelta(seconds=n * n * 777)).isoformat(" ") for n in range(30)]
    columns, said = read("date,v", rows(times))
    assert columns == {"v": [*range(30)]}
    assert "rows are unevenly spaced in 'date', by 777 to" in said


def test_a_detector_notes_gaps_and_keeps_its_rows(read: Read) -> None:
    times = rows([str(day.date()) for day in days()])
    columns, said = read("date,v", times[:9] + times[12:], fill=False)
    assert columns == {"v": [*range(9), *range(12, 50)]}
    assert "3 of 50 steps have no row (at most 3 in a row), and windows go on" in said


@pytest.mark.parametrize(
    ("head", "lines", "sentence"),
    [
        ("date,shop,v", [f"2020-01-{d:02},{s},1" for d in range(1, 9) for s in "ab"],
         "2020-01-01 is the 'date' of several rows. Each step has one row: if rows are, like "
         "'shop', one of several series, give each a column (in pandas: table.pivot(index='date', "
         "columns='shop'"),
        ("date,shop,v", [f"2020-01-{d:02},1{s},1" for d in range(1, 9) for s in "12"],
         "2020-01-01 is the 'date' of several rows"),
        ("shop,v", ["a,1", "b,2", "a,3"], "column 'shop' has 'a' more than once, and no dates"),
        ("date,v", ["2020-01-01,1", ",2", "2020-01-03,3"], "row 2 has no value in 'date'"),
        ("date,v", [*(f"2020-01-{d},3" for d in range(10, 25)), "soon,4"],
         "row 16 has 'soon' in 'date', which is no date"),
        ("date,v", ["2020-01-01,x", "2020-01-02,y"], "column 'v' has text such as 'x'"),
        ("year,month,v", [f"{y},{m},1" for y in (2020, 2021) for m in range(1, 13)],
         "2020 is the 'year' of several rows: write 'year' and 'month' as one column of dates"),
        ("date,time,v", [f"2020-01-01,{h:02}:00,1" for h in range(24)],
         "2020-01-01 is the 'date' of several rows: write 'date' and 'time' as one column"),
        ("date,v", [f"2021-0{2 + (d == 31)}-{d},1" for d in range(10, 30)],
         "row 20 has '2021-02-29' in 'date', which is no date"),
        ("x,v", [f"{1600000000 + 60 * (n % 20)},{n * n % 7}" for n in range(30)],
         "1600000000 is the 'x' of several rows"),
        ("date", ["2020-01-01", "2020-01-02"], "has only a column of times"),
    ],
)  # fmt: skip
def test_rows_that_are_no_steps_are_refused(
    head: str, lines: list[str], sentence: str, read: Read
) -> None:
    columns, said = read(head, lines)
    assert columns is None
    assert sentence in said


def test_dates_need_not_come_first(read: Read) -> None:
    lines = [f"{number},{day.date()},{day.day}" for number, day in enumerate(days())]
    columns, said = read("v,when,d", [line.replace(",", "7,", 1) for line in lines[::-1]])
    assert columns is not None
    assert columns["v"] == [int(f"{n}7") for n in range(50)]
    assert "the rows are turned" in said


def test_an_index_before_the_dates_is_left_out(read: Read) -> None:
    columns, said = read(",date,v", [f"{n},{day.date()},{n}5" for n, day in enumerate(days())])
    assert columns == {"v": [int(f"{n}5") for n in range(50)]}
    assert "column '' is left out, because 'date' has the dates" in said


def test_true_and_false_are_one_and_nought(read: Read) -> None:
    columns, _ = read("date,on", ["2020-01-01,True", "2020-01-02,false", "2020-01-03,"])
    assert columns == {"on": [1, 0, None]}


def test_words_that_are_no_dates_are_left_out_with_a_note(read: Read) -> None:
    columns, said = read("step,v", ["t1,5", "t2,6"])
    assert columns == {"v": [5, 6]}
    assert "column 'step' is left out: its words, like 't1', are no dates" in said
