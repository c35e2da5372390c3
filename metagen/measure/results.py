"""The door of `benchmarks/results.json`: what an entry may hold, and why one is refused.

A person may edit the file: correct it, or add what another program measured. Documents state its
numbers, so each entry passes this door first. An entry that differs from what the build wrote has
the origin `typed`, and must agree with itself and with the entries and the logs beside it.
"""

from __future__ import annotations

import math
import re
import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from metagen.measure.comparison import BEATS, CANNOT_TELL, LOSES
from metagen.spec.findings import shown
from metagen.spec.kinds import (
    Flaw,
    Kind,
    RefusedError,
    choice,
    flag,
    real,
    record,
    refuse,
    text,
    whole,
)

REPORT, CURVE, RESULTS, ABLATED = (
    f"benchmarks/{name}" for name in ("report.json", "curve.csv", "results.json", "ablations.json")
)
# What the bound training folder and the bound result files hold; nobody may edit it here.
FULL_MODEL, FULL_CURVE, FULL_RESULTS = BOUND = tuple(
    f"trained/{name}" for name in ("model.json", "curve.csv", "results.json")
)
# The curve has these columns.
COLUMNS = ("step", "train_loss", "val_loss", "learning_rate")
MEASURED, IMPORTED, TYPED = "measured", "imported", "typed"
PROXY, FULL = "proxy", "full"
NOT_TRAINED, TRAINED, PARTIAL = "not trained", "trained", "partial"  # the status of FULL_MODEL
NOT_MEASURED, NOT_RUN, NO_SCORE = "not measured", "not run", "no score"
STEPS_UNIT = "training steps"  # unit of train.py's `--steps`, unless eval.py names another one

Row = dict[str, Any]
Rows = Sequence[Row]
Flaws = Iterator[tuple[str, str]]  # A field, and what is wrong with it.

_SHARE, _POSITIVE, _ANY = (0.0, 1.0), (0.0, math.inf), (-math.inf, math.inf)
_ROUNDING = 1e-6  # by which sums in single precision may miss the end of a range
_RANGES = {
    **dict.fromkeys(("share", "share of the best", "reciprocal rank"), _SHARE),
    "share of variance": (-math.inf, 1.0),
    **dict.fromkeys(("percent", "%"), (0.0, 100.0)),
    **dict.fromkeys(("bit/byte", "nat/token", "nat/image", "ratio"), _POSITIVE),
    **dict.fromkeys(("distance", "squared distance", "perplexity"), _POSITIVE),
    **dict.fromkeys(("error/word", "error/character"), _POSITIVE),
}
# Metrics whose range does not depend on the name of their unit.
_BOUNDED = re.compile(r"accuracy|(^|_)(f1|recall|precision|auroc|mrr|ndcg|iou|dice)(_|$)")
_NEVER_NEGATIVE = re.compile(r"(^|_)(mae|mse|rmse|mase|perplexity|bits_per)(_|$)|log_loss")
_MOST_ERROR = 0.5  # the standard error of a share that two samples give, one of them right
_MOST = 1e300  # sums and squares of larger numbers are no numbers
_SIZE = re.compile(r"--size[ =](\w+)")


def _strict(kind: Kind) -> Kind:
    """Return a kind of texts that takes no number for one."""
    allowed = kind.allowed

    def parse(value: Any) -> Any:
        return kind.parse(value) if isinstance(value, str) else refuse(value, allowed)

    return Kind(allowed, parse)


def _finite() -> Kind:
    allowed = "a finite number"

    def parse(value: Any) -> Any:
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        return value if number and abs(value) <= _MOST else refuse(value, allowed)

    return Kind(allowed, parse)


def or_null(kind: Kind) -> Kind:
    """Return a kind that also allows null."""

    def parse(value: Any) -> Any:
        return None if value is None else kind.parse(value)

    return Kind(f"{kind.allowed}, or null", parse)


def map_of(kind: Kind, name: Kind) -> Kind:
    """Return a kind of objects with values of a kind under names of another."""
    allowed = f"an object with {name.allowed} for each name, and {kind.allowed} for each value"

    def parse(value: Any) -> Any:
        if not isinstance(value, dict):
            refuse(value, allowed)
        for key, part in value.items():
            name.parse(key)
            _part(kind, part, key)
        return value

    return Kind(allowed, parse)


def _part(kind: Kind, value: Any, at: str) -> None:
    """Check a part of a value; the flaw names the part."""
    try:
        kind.parse(value)
    except RefusedError as error:
        parts = [Flaw(flaw.sentence, flaw.hint, f".{at[:60]}") for flaw in error.flaws]
        raise RefusedError(*parts) from None


def _pair() -> Kind:
    allowed = "[low, high], two numbers in this order"

    def parse(value: Any) -> Any:
        if not isinstance(value, list) or len(value) != 2:
            refuse(value, allowed)
        low, high = map(NUMBER.parse, value)
        return value if low <= high else refuse(value, allowed)

    return Kind(allowed, parse)


def matching(pattern: str, allowed: str) -> Kind:
    """Return a kind of texts that a pattern matches as a whole."""

    def parse(value: Any) -> Any:
        fits = isinstance(value, str) and re.fullmatch(pattern, value, re.ASCII)
        return value if fits else refuse(value, allowed)

    return Kind(allowed, parse)


NUMBER = _finite()
NAME, LINE, COMMAND = (_strict(text(longest)) for longest in (200, 500, 10_000))
COUNT = whole(1, 10**15)
PAIR = _pair()
DIGEST = matching("[0-9a-f]{64}", "64 hexadecimal digits")
# The program that measured a result, what it ran, and the file that says so.
HARNESS: Mapping[str, Kind] = {
    "name": NAME,
    "version": or_null(NAME),
    "commit": or_null(NAME),
    "task": or_null(NAME),
    "task_version": or_null(NAME),
    "num_fewshot": or_null(whole(0, 10**6)),
    "template_sha256": or_null(DIGEST),
    "file": or_null(LINE),
    "sha256": or_null(DIGEST),
}
_STATUS = rf"{MEASURED}|{NO_SCORE}|{NOT_RUN}|{NOT_MEASURED}(: pip install [\w .=&-]+)?"
_STATUSES = f"{MEASURED}, {NO_SCORE}, {NOT_RUN}, {NOT_MEASURED}"
_OUTCOME = choice(BEATS, LOSES, CANNOT_TELL)
FIELDS: Mapping[str, Kind] = {
    "benchmark": NAME,
    "dataset": or_null(NAME),
    "sha256": or_null(DIGEST),
    "split": or_null(NAME),
    "n": or_null(COUNT),
    "n_unit": or_null(NAME),
    "metric": or_null(NAME),
    "title": or_null(NAME),
    "unit": or_null(NAME),
    "higher_is_better": or_null(flag()),
    "value": or_null(NUMBER),
    "baselines": map_of(NUMBER, NAME),
    "seed": or_null(whole(0, 2**64)),
    "steps": or_null(COUNT),
    "steps_unit": or_null(NAME),
    "size": or_null(choice(PROXY, FULL)),
    "command": or_null(COMMAND),
    "status": matching(_STATUS, _STATUSES),
    "origin": or_null(choice(MEASURED, IMPORTED, TYPED)),
    "seeds": or_null(map_of(NUMBER, matching(r"\d{1,20}", "a seed"))),
    "spread": or_null(real(0.0, _MOST)),
    "interval": or_null(PAIR),
    "interval_method": or_null(LINE),
    "interval_unit": or_null(NAME),
    "interval_n": or_null(COUNT),
    "differences": or_null(map_of(or_null(PAIR), NAME)),
    "outcomes": or_null(map_of(_OUTCOME, NAME)),
    "standard_error": or_null(real(0.0, _MOST)),
    "bound": or_null(flag()),
    "harness": or_null(record(**HARNESS)),
}
_OF_A_RESULT = ("metric", "title", "unit", "value", "dataset", "size", "origin")
_OF_A_PROXY = ("seed", "steps", "steps_unit", "command")
# A person may correct the proxy's scores; its data and its training are facts of the build.
_OF_THE_BUILD = ("dataset", "sha256", "split", "n", "n_unit", *_OF_A_PROXY)


def has_result(row: Row) -> bool:
    """Return whether an entry holds a value, and not only the name of a benchmark."""
    return row["status"] in (MEASURED, NO_SCORE)


def named(row: Any) -> str:
    """Return the name of an entry for a message: its benchmark, its metric and its size."""
    keys = ("benchmark", "metric", "size") if isinstance(row, dict) else ()
    parts = [row[key][:60] for key in keys if isinstance(row.get(key), str)]
    return ", ".join(parts) or "without a name"


def flaws(row: Any) -> Flaws:
    """Yield what is wrong with an entry by itself: its fields, their types and their ranges."""
    if not isinstance(row, dict):
        yield "", f"is {shown(row)}; allowed: an object with the fields {', '.join(FIELDS)}"
        return
    yield from ((field, "is no field of an entry") for field in row if field not in FIELDS)
    missing = [field for field in FIELDS if field not in row]
    yield from ((field, "is missing") for field in missing)
    refused = [flaw for field in row if field in FIELDS for flaw in _refused(field, row[field])]
    yield from refused
    if not missing and not refused:
        yield from _of_a_result(row) if has_result(row) else _without_result(row)


def _refused(field: str, value: Any) -> Flaws:
    try:
        FIELDS[field].parse(value)
    except RefusedError as error:
        yield from ((f"{field}{flaw.at}", flaw.sentence) for flaw in error.flaws)


def _without_result(row: Row) -> Flaws:
    """Yield the fields that say something of a result where the status says that there is none."""
    for field, value in row.items():
        if field not in ("benchmark", "status") and value not in (None, {}):
            yield field, f"is {shown(value)}, but the status is {shown(row['status'])}"


def _of_a_result(row: Row) -> Flaws:
    needed = (*_OF_A_RESULT, *(_OF_A_PROXY if row["size"] == PROXY else ()))
    missing = [field for field in needed if row[field] is None]
    yield from ((field, "is null, but a result needs it") for field in missing)
    if row["higher_is_better"] is None and row["status"] == MEASURED:
        yield "higher_is_better", "is null, but a score needs it"
    if row["n"] is None and row["split"] is not None:
        yield "n", "is null, but a split is named: how many samples were scored"
    if not missing:
        yield from _out_of_range(row)


def _out_of_range(row: Row) -> Flaws:
    """Yield the values that a metric cannot have; a spread has no range."""
    if row["unit"] == "share" and (row["standard_error"] or 0.0) > _MOST_ERROR:
        yield "standard_error", f"is {shown(row['standard_error'])}, too large for a share"
    seeds = {f"seeds.{seed}": value for seed, value in (row["seeds"] or {}).items()}
    others = {f"baselines.{name}": value for name, value in row["baselines"].items()}
    yield from _outside(row, {"value": row["value"], **seeds, **others})


def _outside(row: Row, values: Mapping[str, float]) -> Flaws:
    low, high = _range(row["metric"], row["unit"])
    bounds = f"from {low:g} to {high:g}" if math.isfinite(low + high) else _open(low, high)
    for field, value in values.items():
        if not low - _ROUNDING <= value <= high + _ROUNDING:
            unit = shown(row["unit"])
            yield field, f"is {shown(value)}; allowed: {row['title']} in {unit} is {bounds}"


def _open(low: float, high: float) -> str:
    return f"at least {low:g}" if math.isfinite(low) else f"at most {high:g}"


def _range(metric: str, unit: str) -> tuple[float, float]:
    if unit in _RANGES:
        return _RANGES[unit]
    if _BOUNDED.search(metric):
        return _SHARE
    return _POSITIVE if _NEVER_NEGATIVE.search(metric) else _ANY


def key(row: Row) -> tuple[str, ...]:
    """Return what two results may not share."""
    fields = ("benchmark", "metric", "size", "dataset")
    harness = row["harness"] or {}
    way = (str(harness.get(name)) for name in ("name", "task", "num_fewshot"))
    return (*(" ".join(str(row[field]).split()).casefold() for field in fields), *way)


def repeated(rows: Rows) -> Iterator[int]:
    """Yield the position of each entry that an earlier one has already given."""
    seen: set[object] = set()
    for i, row in enumerate(rows):
        mark = key(row) if has_result(row) else row["benchmark"]
        if mark in seen:
            yield i
        seen.add(mark)


def removed(rows: Rows, written: Rows) -> Iterator[str]:
    """Yield the names of results and benchmarks that the build wrote and that are gone."""
    benchmarks, results = {row["benchmark"] for row in rows}, {(r["status"], key(r)) for r in rows}
    for row in written:
        same = (row["status"], key(row)) in results
        if not (same if has_result(row) else row["benchmark"] in benchmarks):
            yield named(row)


def doubts(row: Row, rows: Rows, written: Rows, planned: int) -> Flaws:
    """Yield what contradicts an entry that a person typed.

    Args:
        row: The entry; `flaws` finds nothing in it.
        rows: All entries.
        written: The entries that the build wrote.
        planned: Steps of the full model's training.
    """
    if not has_result(row):
        yield "status", f"is {shown(row['status'])}, but no such entry is missing; add only results"
        return
    if row["origin"] != TYPED:
        yield "origin", f"is {row['origin']!r}, but the build did not write this entry: set 'typed'"
    if any(r["benchmark"] == row["benchmark"] and not has_result(r) for r in rows):
        yield "benchmark", "is listed a second time, without a result"
    if any(r["origin"] == IMPORTED and _is_other(r, row) for r in rows):
        yield "value", "differs from the imported result of the same benchmark and metric"
    digests = {r["sha256"] for r in rows if r["dataset"] == row["dataset"]} - {None}
    if row["sha256"] and len(digests) > 1:
        yield "sha256", f"differs from that of another entry on {shown(row['dataset'])}"
    yield from strayed(row, written) if row["size"] == PROXY else _of_the_full(row, planned)
    yield from inconsistent(row)


def _is_other(one: Row, other: Row) -> bool:
    """Return whether an entry states another value of the same benchmark, metric and size."""
    same = all(one[field] == other[field] for field in ("benchmark", "metric", "size"))
    return bool(same and one["value"] != other["value"])


def strayed(row: Row, written: Rows) -> Flaws:
    """Yield where an entry of the proxy names another training or other data than the build's."""
    own = [each for each in written if has_result(each) and each["size"] == PROXY]
    same = [each for each in own if each["metric"] == row["metric"]] or own
    if not own:
        yield "size", "is 'proxy', but this build trained no proxy"
    elif not any(all(row[f] == each[f] for f in _OF_THE_BUILD) for each in own):
        field = next(f for f in _OF_THE_BUILD if row[f] != same[0][f])
        yield (
            field,
            f"is {shown(row[field])}; that of this build's proxy is {shown(same[0][field])}",
        )


def _of_the_full(row: Row, planned: int) -> Flaws:
    if row["status"] == NO_SCORE:
        yield "status", "is 'no score', which only the proxy has"
    if row["bound"]:
        yield "bound", "is true, but only a file of results that names the weights is bound"
    sizes = set(_SIZE.findall(row["command"] or "")) - {FULL}
    if sizes:
        yield "command", f"runs --size {sizes.pop()[:60]}, but the size is 'full'"
    if row["steps"] and row["steps_unit"] in (None, STEPS_UNIT) and row["steps"] > planned:
        where = "train.steps of blueprint/architecture.yaml"
        yield "steps", f"is {row['steps']:,}, but the full model trains for {planned:,} ({where})"


def inconsistent(row: Row) -> Flaws:
    """Yield the fields that do not follow from each other."""
    seeds, interval = list((row["seeds"] or {}).values()), row["interval"]
    if seeds and not math.isclose(row["value"], statistics.fmean(seeds), rel_tol=1e-6):
        yield "value", f"is {shown(row['value'])}, but the mean of the seeds is not"
    spread = statistics.stdev(seeds) if len(seeds) > 1 else None
    if (row["spread"] is None) != (spread is None) or (
        spread is not None and not math.isclose(row["spread"], spread, rel_tol=1e-6, abs_tol=1e-12)
    ):
        yield "spread", f"is {shown(row.get('spread'))}, but the deviation of the seeds is {spread}"
    # A bootstrap, which moves its resamples to the score, may end outside of a metric's range.
    ends = dict(zip(("interval.0", "interval.1"), interval or (), strict=False))
    yield from _outside(row, ends)
    if interval and not interval[0] <= row["value"] <= interval[1]:
        yield "interval", f"is {shown(interval)}, which does not contain the value"
    judged = row["outcomes"] or {}
    for baseline in row["baselines"] if row["size"] == PROXY and row["status"] == MEASURED else ():
        if baseline not in judged:
            yield "outcomes", f"lacks {shown(baseline)}; without a difference it is {CANNOT_TELL!r}"
    for baseline, word in judged.items():
        if baseline not in row["baselines"]:
            yield f"outcomes.{baseline}", "names no baseline of the entry"
        elif word not in _possible(row, baseline):
            yield f"outcomes.{baseline}", f"is {word!r}, which its values and difference contradict"


def _possible(row: Row, baseline: str) -> tuple[str, ...]:
    """Return the outcomes that two values and the interval of their difference allow."""
    ahead = (row["value"] - row["baselines"][baseline]) * (1 if row["higher_is_better"] else -1)
    low, high = (row["differences"] or {}).get(baseline) or (0.0, 0.0)
    if low <= 0 <= high:
        return (CANNOT_TELL,)
    return CANNOT_TELL, *((BEATS,) if ahead > 0 else (LOSES,) if ahead < 0 else ())
