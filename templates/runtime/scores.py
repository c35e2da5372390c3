"""How certain a score is: its 95 % interval over the samples of a test split.

A score is a function of weights: how often each sample counts. With ones it is the score of the
split; with the counts of a random draw it is the score of a resample.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Weights = NDArray[np.float64]  # (samples,)
Score = Callable[[Weights], float]
Interval = tuple[float, float]

Z = 1.959964  # the 97.5 % quantile of the normal distribution
RESAMPLES = 1000  # more of them change the third digit of an interval's width
# Fewer units than this show too little of the variation between them.
FEWEST_UNITS = 10
# Neighbouring samples of a larger split are drawn together, which keeps resampling cheap.
MOST_UNITS = 10000
_OF_RESAMPLES = ("standard_error", "interval", "differences", "resamples")


@dataclass(frozen=True)
class Samples:
    """The samples of a score.

    Attributes:
        unit: What one is, in the plural, such as `images`.
        count: Their number.
        groups: The number of each sample's group, (count,), from 0; samples of a group depend on
            each other, such as two predictions of one row, so they are drawn together.
        groups_unit: What a group is, in the plural; None without groups.
    """

    unit: str
    count: int
    groups: NDArray[np.int64] | None = None
    groups_unit: str | None = None


class Mean:
    """The weighted mean of a value per sample, (samples,)."""

    def __init__(self, values: Any) -> None:
        self.values = np.asarray(values, dtype=np.float64)

    def __call__(self, weights: Weights) -> float:
        """Return sum of w * value / sum of w."""
        return float(weights @ self.values / weights.sum())

    @property
    def is_share(self) -> bool:
        """Whether each value is 0 or 1, so that the mean is a share of right answers."""
        return bool(np.isin(self.values, (0, 1)).all())


def wilson(share: float, count: int) -> Interval:
    """Return the 95 % interval of a share of right answers among `count` (Wilson, 1927).

    Unlike share +- 1.96 standard errors, it stays within [0, 1] and has a width at 0 and at 1.
    """
    below = 1 + Z**2 / count
    centre = (share + Z**2 / (2 * count)) / below
    half = Z / below * math.sqrt(share * (1 - share) / count + Z**2 / (4 * count**2))
    return max(0.0, centre - half), min(1.0, centre + half)


def compared(
    own: Score, baselines: Mapping[str, Score | float], samples: Samples
) -> dict[str, Any]:
    """Return the interval of a score, and of its difference from each baseline.

    The same resamples score the model and its baselines, so what makes a sample hard for all of
    them cancels out of the difference (a paired bootstrap). A baseline that is a number is exact.

    Returns:
        `standard_error` (the standard deviation of the score over resamples), `interval`,
        `differences` (own minus baseline, by the baseline's name) and `resamples` (the score of
        each), or None if there are too few samples; `interval_method`, `interval_unit` and
        `interval_n`: how, and over how many of what.
    """
    units, counted = _units(samples)
    unit = samples.groups_unit if samples.groups is not None else samples.unit
    if counted < FEWEST_UNITS:
        method = f"none: fewer than {FEWEST_UNITS} {unit}"
        about = {"interval_method": method, "interval_unit": unit, "interval_n": counted}
        return {**dict.fromkeys(_OF_RESAMPLES), **about}
    scores = {"": own, **{k: v for k, v in baselines.items() if callable(v)}}
    drawn = _resampled(scores, units, counted)
    ones = np.ones(samples.count)
    value = own(ones)
    interval, method = _interval(value, drawn[""]), "bootstrap"
    if isinstance(own, Mean) and own.is_share and samples.groups is None:
        interval, method = wilson(value, samples.count), "Wilson"
    differences = {}
    for name, other in baselines.items():
        apart = drawn[""] - (drawn[name] if callable(other) else other)
        differences[name] = _interval(value - (other(ones) if callable(other) else other), apart)
    about = {"interval_method": method, "interval_unit": unit, "interval_n": counted}
    values = (_standard_error(drawn[""]), interval, differences, drawn[""].tolist())
    return {**dict(zip(_OF_RESAMPLES, values, strict=True)), **about}


def _units(samples: Samples) -> tuple[NDArray[np.int64], int]:
    """Return the number of the unit that each sample is drawn with, and the number of units."""
    if samples.groups is not None:
        return samples.groups, int(samples.groups.max()) + 1 if samples.count else 0
    units = np.arange(samples.count) * min(samples.count, MOST_UNITS) // max(1, samples.count)
    return units, min(samples.count, MOST_UNITS)


def _resampled(
    scores: Mapping[str, Score], units: NDArray[np.int64], count: int
) -> dict[str, NDArray[np.float64]]:
    """Return each score of each resample, (RESAMPLES,)."""
    # A fixed seed gives the same interval at each run, and two checkpoints the same resamples.
    generator = np.random.default_rng(0)
    drawn: dict[str, list[float]] = {name: [] for name in scores}
    for _ in range(RESAMPLES):
        times = np.bincount(generator.integers(count, size=count), minlength=count)
        weights = times.astype(np.float64)[units]
        for name, score in scores.items():
            drawn[name].append(score(weights))
    return {name: np.asarray(values) for name, values in drawn.items()}


def _interval(value: float, drawn: NDArray[np.float64]) -> Interval:
    """Return the range of the middle 95 % of resamples, moved so that its median is the score.

    Resampling biases some scores: repeated images make a Fréchet distance larger. A resample that
    lacks what a score needs, such as a class, has none and is left out.
    """
    low, middle, high = np.nanquantile(drawn, (0.025, 0.5, 0.975))
    return float(value + low - middle), float(value + high - middle)


def _standard_error(drawn: NDArray[np.float64]) -> float | None:
    """Return the standard deviation of the resamples that have a score; None of fewer than two."""
    known = drawn[~np.isnan(drawn)]
    return float(known.std(ddof=1)) if len(known) > 1 else None
