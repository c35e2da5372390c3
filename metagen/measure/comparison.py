"""The proxy beside its baselines: scores of several seeds, and what can be said of them.

eval.py compares one training with its baselines on resamples of the test split. Here the trainings
of several seeds become one row of results.json with a mean, a spread, an interval and a verdict.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import fmean, stdev
from typing import Any

BEATS, LOSES, CANNOT_TELL = "beats", "loses", "cannot tell"
# The 97.5 % quantiles of Student's t distribution, by number of seeds (degrees of freedom + 1).
STUDENT = {
    2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776, 6: 2.571, 7: 2.447, 8: 2.365, 9: 2.306, 10: 2.262,
}  # fmt: skip
_JOINED = ("value", "baselines", "interval", "differences", "standard_error")

Interval = Sequence[float]


def rows(reports: Mapping[int, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return a row for each metric, from the reports of eval.py by seed.

    The metrics are those of the first report; a later one may lack some.
    """
    metrics: dict[str, dict[str, Mapping[str, Any]]] = {}
    for number, (seed, report) in enumerate(reports.items()):
        for metric in report["metrics"]:
            if not number or metric["metric"] in metrics:
                metrics.setdefault(metric["metric"], {})[str(seed)] = metric
    return [_row(by_seed) for by_seed in metrics.values()]


def _row(metrics: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return the row of one metric, from the same metric by seed.

    Its fields: `value` and `baselines` are means over seeds; `seeds` holds each seed's value;
    `spread` is their sample standard deviation, None for one seed; `interval` is the 95 % interval
    over the test split, None if eval.py gives none; `differences` and `outcomes` are those of
    `compared`, by baseline.
    """
    every = list(metrics.values())
    values = {seed: metric["value"] for seed, metric in metrics.items()}
    names, higher = every[0]["baselines"], every[0]["higher_is_better"]
    found = {} if higher is None else {name: _compared(every, name, higher) for name in names}
    about = {key: value for key, value in every[0].items() if key not in _JOINED}
    return {
        "interval_method": None,
        "interval_unit": None,
        "interval_n": None,
        **about,
        "value": fmean(values.values()),
        "seeds": values,
        "spread": stdev(values.values()) if len(values) > 1 else None,
        "interval": _mean_interval([metric.get("interval") for metric in every]),
        "baselines": {name: fmean(m["baselines"][name] for m in every) for name in names},
        "differences": {name: interval for name, (_, interval) in found.items()},
        "outcomes": {name: outcome for name, (outcome, _) in found.items()},
    }


def _compared(
    metrics: Sequence[Mapping[str, Any]], name: str, higher: bool
) -> tuple[str, Interval | None]:
    apart = [metric["value"] - metric["baselines"][name] for metric in metrics]
    intervals = [(metric.get("differences") or {}).get(name) for metric in metrics]
    return compared(apart, intervals, higher=higher)


def compared(
    apart: Sequence[float], intervals: Sequence[Interval | None], *, higher: bool
) -> tuple[str, Interval | None]:
    """Return whether the proxy beats a baseline, and the 95 % interval of their difference.

    The proxy `beats` the baseline if each seed does and the interval lies on the better side of 0;
    it `loses` in the opposite case; otherwise one cannot tell. The interval joins two sources of
    chance, as the root of the sum of squares: the test split (the mean of the seeds' paired
    bootstraps) and the seeds (Student's t times their standard error). One seed leaves out the
    second. Without the first, one cannot tell.

    Args:
        apart: The proxy's score minus the baseline's, for each seed.
        intervals: The 95 % interval of each difference over the test split; None if there is none.
        higher: Whether a higher score is better.
    """
    mean, count = fmean(apart), len(apart)
    known = _mean_interval(intervals)
    if known is None:
        return CANNOT_TELL, None
    seeds = STUDENT[count] * stdev(apart) / math.sqrt(count) if count > 1 else 0.0
    low, high = known
    low, high = mean - math.hypot(mean - low, seeds), mean + math.hypot(high - mean, seeds)
    better = [each > 0 if higher else each < 0 for each in apart]
    worse = [each < 0 if higher else each > 0 for each in apart]
    if all(better) and not low <= 0 <= high:
        return BEATS, [low, high]
    if all(worse) and not low <= 0 <= high:
        return LOSES, [low, high]
    return CANNOT_TELL, [low, high]


def _mean_interval(intervals: Sequence[Interval | None]) -> list[float] | None:
    known = [each for each in intervals if each is not None]
    if len(known) < len(intervals):
        return None
    return [fmean(each[0] for each in known), fmean(each[1] for each in known)]
