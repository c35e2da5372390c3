"""Scores as text: with how many digits, which of a row is the best, and what they say together.

A row is one of `benchmarks/results.json`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from metagen.docs import wording
from metagen.measure.comparison import BEATS, CANNOT_TELL, LOSES
from metagen.measure.results import FULL, MEASURED, PROXY

_Z = 1.96  # half of a 95 % interval is that many standard errors
_MOST_DECIMALS = 6
_LEFT, _RIGHT = "\u201c", "\u201d"  # quotation marks
_VERBS = {BEATS: "beats", LOSES: "loses to", CANNOT_TELL: "cannot be told from"}

Row = Mapping[str, Any]


def decimals(row: Row) -> int | None:
    """Return the decimals of all scores of a row: down to the first digit that is uncertain.

    The uncertainty is the spread over seeds, or without one the standard error over the test
    split. None if neither is known.
    """
    spread, interval = row.get("spread"), row.get("interval")
    width = (interval[1] - interval[0]) / (2 * _Z) if interval else 0.0
    uncertain = spread or width or row.get("standard_error")
    if not uncertain:
        return None
    return min(_MOST_DECIMALS, max(0, -math.floor(math.log10(uncertain))))


def write(value: float | Sequence[float], row: Row) -> str:
    """Return the text of a score of a row, or of an interval of two scores."""
    if isinstance(value, Sequence):
        return " to ".join(write(each, row) for each in value)
    places = decimals(row)
    if places is None:
        return wording.write(value, "", "bare")
    text = f"{value:,.{places}f}"
    if float(text.replace(",", "")) == 0:
        return text.removeprefix("-")
    return text.replace("-", wording.MINUS)


def is_best(value: float, row: Row) -> bool:
    """Return whether a score of a row reads like the best one; a figure that is no score is not."""
    if row["higher_is_better"] is None:
        return False
    best = max if row["higher_is_better"] else min
    return write(value, row) == write(best([row["value"], *row["baselines"].values()]), row)


def sentence(row: Row) -> str:
    """Return a row in a line, such as `RMSE 50.8 ± 0.5: beats mean 72.0`."""
    if row["value"] is None:
        return str(row["status"])
    spread = f" ± {write(row['spread'], row)}" if row["spread"] is not None else ""
    named = {name: f"{name} {write(value, row)}" for name, value in row["baselines"].items()}
    said = _said({named[name]: outcome for name, outcome in row["outcomes"].items()})
    status = "" if row["status"] == "measured" else str(row["status"])
    rest = said or ", ".join(filter(None, (status, *named.values())))
    head = f"{row['title']} {write(row['value'], row)}{spread}{_notes(row)}"
    return head + (f": {rest}" if rest else "")


def _notes(row: Row) -> str:
    """Return what sets a row apart from the measured ones of the proxy, in parentheses."""
    size = f"{row['size']} model" if row["size"] == FULL else ""
    origin = row["origin"] if row["origin"] != MEASURED else ""
    notes = ", ".join(filter(None, (size, origin)))
    return f" ({notes})" if notes else ""


def judgement(rows: Iterable[Row], size: str = PROXY) -> str:
    """Return one sentence on which baselines a model beats, and by which metrics.

    It is about measured rows of one size; "" if there are none.
    """
    name = "the proxy" if size == PROXY else "the model"
    titles: dict[tuple[tuple[str, str], ...], list[str]] = {}
    for row in rows:
        if row["status"] == MEASURED and row["size"] == size and row["outcomes"]:
            titles.setdefault(tuple(row["outcomes"].items()), []).append(row["title"])
    clauses = [
        f"on {_listed(names)}, {'it' if number else name} {_said(_quoted(outcomes))}"
        for number, (outcomes, names) in enumerate(titles.items())
    ]
    sentence = "; ".join(clauses)
    return f"{sentence[:1].upper()}{sentence[1:]}." if sentence else ""


def _quoted(outcomes: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return outcomes by the quoted names of baselines: a name may hold a comma or an `and`."""
    return {f"{_LEFT}{name}{_RIGHT}": outcome for name, outcome in outcomes}


def _said(outcomes: Mapping[str, str]) -> str:
    """Return what is said of each baseline, such as `beats A and B, and loses to C`."""
    groups = {
        verb: [name for name, each in outcomes.items() if each == outcome]
        for outcome, verb in _VERBS.items()
    }
    parts = [f"{verb} {_listed(names)}" for verb, names in groups.items() if names]
    return ", and ".join([", ".join(parts[:-1]), parts[-1]] if parts[1:] else parts)


def _listed(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if names[1:] else names)
