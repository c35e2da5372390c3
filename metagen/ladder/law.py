"""The law of a ladder: loss against size, its uncertainty, and the forecast that follows from it.

L(x) = E + A x^-a, where x is the parameters N or the operations C of a training. For given E and a,
A is the answer of a linear problem, so a fit is a search over a grid of exponents, with A solved
inside it (variable projection). E is the loss that no size removes. Rungs within a decade of sizes
cannot tell it from the exponent, so it is never fitted and never 0 alone: it is drawn from a range.

This module knows no training and no file. It takes losses and returns numbers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Numbers = NDArray[np.float64]

DRAWS = 2000  # The bootstrap has half of them in N and half in C.
LEVEL = 0.8  # An interval goes from the 10th to the 90th percentile.
E_SHARE = 0.75  # E is drawn from 0 to this share of the top rung's loss.
LEAST_RUNGS = 4
EXPONENTS = (0.01, 1.2, 239)  # first, last and number of the exponents that a fit tries
E_STEPS = 121  # values of E at which its own interval is looked for
NOISE_FALL = 0.5  # The spread of seeds, as a share of the loss, falls like size to this power.
ASSUMED_NOISE = 0.01  # The share of the loss at the smallest rung, where none has two seeds.
UNIDENTIFIED = 1 / 3  # An interval of E wider than this share of the forecast says nothing of E.
AXES = ("size", "compute")


@dataclass(frozen=True)
class Rung:
    """One size of a ladder.

    Attributes:
        size: Its parameters N.
        compute: Operations C of its training.
        losses: The held-out loss of each of its seeds.
    """

    size: float
    compute: float
    losses: tuple[float, ...]

    @property
    def loss(self) -> float:
        """The mean over the seeds."""
        return math.fsum(self.losses) / len(self.losses)

    @property
    def spread(self) -> float | None:
        """The standard deviation over the seeds, as a share of the mean; None for one seed."""
        if len(self.losses) < 2:
            return None
        squares = math.fsum((each - self.loss) ** 2 for each in self.losses)
        return math.sqrt(squares / (len(self.losses) - 1)) / self.loss


class Target(NamedTuple):
    """What is forecast: parameters N and operations C of a training."""

    size: float
    compute: float


class Interval(NamedTuple):
    """A forecast with its range, of which the share `LEVEL` lies between `low` and `high`."""

    loss: float
    low: float
    high: float

    @property
    def half_width(self) -> float:
        return (self.high - self.low) / 2

    def widened(self, factor: float) -> Interval:
        """Return the interval with both sides longer by a factor; a loss stays above 0."""
        low = max(0.0, self.loss - factor * (self.loss - self.low))
        return Interval(self.loss, low, self.loss + factor * (self.high - self.loss))


@dataclass(frozen=True)
class Law:
    """The fits of the bootstrap, from which every forecast of a ladder is read.

    Attributes:
        draws: By the name of x, of each draw: E, A and the exponent a, with x of the top rung as 1.
        tops: x of the top rung.
        slopes: How many times the logarithm of N that of x grows along the ladder.
        noise: Standard deviation over seeds at the top rung, as a share of the loss.
        top: Parameters of the top rung.
        widening: Factor by which the back-test widens each interval, 1 or more.
        data: Of each draw, the share of the loss above E that the amount of data decides.
    """

    draws: dict[str, tuple[Numbers, Numbers, Numbers]]
    tops: dict[str, float]
    slopes: dict[str, float]
    noise: float
    top: float
    data: dict[str, Numbers]
    widening: float = 1.0

    def forecast(self, target: Target, data: float = 1.0) -> Interval:
        """Return the median and the interval of the loss of a single training of a size.

        Args:
            target: The size on the dial.
            data: A factor on its data alone, which leaves the dial.
        """
        import numpy as np

        losses = np.concatenate([self._losses(axis, target, data) for axis in AXES])
        generator = np.random.default_rng(1)
        own = self.noise * (target.size / self.top) ** -NOISE_FALL
        losses = losses * (1 + own * generator.standard_normal(len(losses)))
        low, middle, high = np.quantile(losses, [(1 - LEVEL) / 2, 0.5, (1 + LEVEL) / 2])
        return Interval(float(middle), float(low), float(high)).widened(self.widening)

    def moved_by(self, target: Target, shares: Sequence[float]) -> list[float]:
        """Return the forecasts of the draws whose E is nearest to some shares of its range."""
        import numpy as np

        found = []
        for share in shares:
            near = []
            for axis in AXES:
                floor = self.draws[axis][0]
                order = np.argsort(abs(floor - share * floor.max()))[: len(floor) // 10]
                near.append(self._losses(axis, target)[order])
            found.append(float(np.median(np.concatenate(near))))
        return found

    def with_data(self, rung: Target, losses: Mapping[float, float]) -> Law:
        """Return the law with what the amount of data decides, as measured at one rung.

        On the dial data grows like N, so its part of the loss above E falls like the whole: as
        D^-a, where a is the exponent in N. A factor f on the data alone then changes the loss by
        s (L - E) (f^-a - 1), which gives the share s.

        Args:
            rung: The size.
            losses: The loss of one seed by the factor on its data, that of 1 among them.
        """
        import numpy as np

        shares = {}
        for axis in AXES:
            gap = self._losses(axis, rung) - self.draws[axis][0]
            factors = [each for each in losses if each != 1.0]
            made = np.stack([gap * (self._powers(axis, each) - 1) for each in factors])
            seen = np.array([losses[each] - losses[1.0] for each in factors])[:, None]
            shares[axis] = np.clip((made * seen).sum(0) / (made**2).sum(0), 0.0, 1.0)
        return replace(self, data=shares)

    def _powers(self, axis: str, factor: float) -> Numbers:
        powers: Numbers = factor ** (-self.draws[axis][2] * self.slopes[axis])
        return powers

    def _losses(self, axis: str, target: Target, data: float = 1.0) -> Numbers:
        floor, scale, exponent = self.draws[axis]
        above = scale * (getattr(target, axis) / self.tops[axis]) ** -exponent
        losses: Numbers = floor + above * (1 + self.data[axis] * (self._powers(axis, data) - 1))
        return losses


class BackTest(NamedTuple):
    """The top rung as the rungs below it forecast it."""

    forecast: Interval
    loss: float

    @property
    def miss(self) -> float:
        """The difference of forecast and loss, as a share of the loss."""
        return (self.forecast.loss - self.loss) / self.loss

    @property
    def widening(self) -> float:
        """How many half widths the miss is, at least 1."""
        side = (
            self.forecast.loss - self.forecast.low
            if self.loss < self.forecast.loss
            else self.forecast.high - self.forecast.loss
        )
        return max(1.0, abs(self.forecast.loss - self.loss) / max(side, 1e-12))


def fitted(rungs: Sequence[Rung], draws: int = DRAWS) -> tuple[Law, BackTest]:
    """Fit a ladder, and widen its intervals by what the rungs below the top say of the top.

    Args:
        rungs: At least four, from the smallest to the largest.
        draws: Fits of the bootstrap.

    Raises:
        ValueError: There are too few rungs, or they do not grow.
    """
    if len(rungs) < LEAST_RUNGS:
        raise ValueError(f"a ladder has {LEAST_RUNGS} rungs or more, and this one has {len(rungs)}")
    top, below = rungs[-1], drawn(rungs[:-1], draws)
    test = BackTest(below.forecast(Target(top.size, top.compute)), top.loss)
    return replace(drawn(rungs, draws), widening=test.widening), test


def drawn(rungs: Sequence[Rung], draws: int = DRAWS) -> Law:
    """Return the fits of the bootstrap, pooled over x in {N, C} and over E, not yet widened.

    Each draw takes a value of E, moves each rung's mean by the noise of its seeds, and fits the
    rest. The noise is larger where the rungs lie further from the curve than seeds explain.
    """
    import numpy as np

    _must_grow(rungs)
    top = rungs[-1]
    generator = np.random.default_rng(0)
    means, shares = np.array([each.loss for each in rungs]), noise(rungs)
    errors = means * np.array(shares) / np.sqrt([len(each.losses) for each in rungs])
    made, slopes, data = {}, {}, {}
    for axis in AXES:
        x = np.array([getattr(each, axis) for each in rungs]) / getattr(top, axis)
        floor = generator.uniform(0.0, E_SHARE * means[-1], draws // len(AXES))
        spread = errors * _misfit(x, means, errors, floor)[:, None]
        moved = means + spread * generator.standard_normal((len(floor), len(rungs)))
        made[axis] = (floor, *_solved(x, moved, errors, floor)[:2])
        slopes[axis] = -math.log(x[0]) / math.log(top.size / rungs[0].size)
        # Nothing is known of the data's share until it is measured.
        data[axis] = generator.uniform(0.0, 1.0, len(floor))
    tops = {axis: getattr(top, axis) for axis in AXES}
    return Law(made, tops, slopes, shares[-1], top.size, data)


def noise(rungs: Sequence[Rung]) -> list[float]:
    """Return the standard deviation over seeds of each rung, as a share of its loss.

    One curve is fitted to all rungs, since three seeds say little of a spread: it falls like the
    root of the size.
    """
    first = rungs[0].size
    repeated = [each for each in rungs if each.spread is not None]
    if not repeated:
        return [ASSUMED_NOISE * (each.size / first) ** -NOISE_FALL for each in rungs]
    squares = math.fsum(
        (each.spread or 0.0) ** 2 * (each.size / first) ** (2 * NOISE_FALL) * (len(each.losses) - 1)
        for each in repeated
    )
    pooled = math.sqrt(squares / sum(len(each.losses) - 1 for each in repeated))
    return [max(pooled, 1e-6) * (each.size / first) ** -NOISE_FALL for each in rungs]


def floor_interval(rungs: Sequence[Rung], axis: str = "compute") -> tuple[float, float]:
    """Return the values of E that the rungs alone allow, at `LEVEL`.

    These are the values whose best fit has a chi-square within 1.64 of the least, counted in units
    of the least one per degree of freedom where that exceeds 1.
    """
    import numpy as np

    top = rungs[-1]
    x = np.array([getattr(each, axis) for each in rungs]) / getattr(top, axis)
    means = np.array([each.loss for each in rungs])
    errors = means * np.array(noise(rungs)) / np.sqrt([len(each.losses) for each in rungs])
    floor = np.linspace(0.0, 0.999 * means.min(), E_STEPS)
    squares = _solved(x, np.tile(means, (len(floor), 1)), errors, floor)[2]
    scale = max(1.0, float(squares.min()) / max(1, len(rungs) - 3))
    allowed = floor[squares <= squares.min() + 1.64 * scale]
    return float(allowed.min()), float(allowed.max())


def is_identified(rungs: Sequence[Rung], forecast: float) -> bool:
    """Tell whether the rungs say what E is: its interval is at most a third of the forecast."""
    intervals = [floor_interval(rungs, axis) for axis in AXES]
    low, high = min(each[0] for each in intervals), max(each[1] for each in intervals)
    return high - low <= UNIDENTIFIED * forecast


def _must_grow(rungs: Sequence[Rung]) -> None:
    sizes = [(each.size, each.compute) for each in rungs]
    for small, large in pairwise(sizes):
        if not (small[0] < large[0] and small[1] < large[1]):
            raise ValueError("each rung needs more parameters and operations than the one before")


def _misfit(x: Numbers, means: Numbers, errors: Numbers, floor: Numbers) -> Numbers:
    """Return for each E the factor by which rungs scatter more than their noise, at least 1."""
    import numpy as np

    squares = _solved(x, np.tile(means, (len(floor), 1)), errors, floor)[2]
    freedom = max(1, len(means) - 2)
    return np.sqrt(np.maximum(1.0, squares / freedom))


def _solved(
    x: Numbers, losses: Numbers, errors: Numbers, floor: Numbers
) -> tuple[Numbers, Numbers, Numbers]:
    """Fit A and the exponent of each row of losses, given its E.

    Args:
        x: Sizes (R,), in units of the largest.
        losses: (D, R).
        errors: Standard deviations (R,).
        floor: E (D,).

    Returns:
        A, the exponent and the chi-square of each row, (D,) each.
    """
    import numpy as np

    exponents = np.linspace(*EXPONENTS[:2], EXPONENTS[2])
    basis = x[None, :] ** -exponents[:, None] / errors  # (K, R)
    above = (losses - floor[:, None]) / errors  # (D, R)
    inner, norm = above @ basis.T, (basis**2).sum(1)  # (D, K), (K,)
    squares = (above**2).sum(1)[:, None] - np.maximum(inner, 0.0) ** 2 / norm  # (D, K)
    best = squares.argmin(1)
    rows: Any = np.arange(len(best))
    scale = np.maximum(inner[rows, best], 0.0) / norm[best]
    return scale, exponents[best], np.maximum(squares[rows, best], 0.0)
