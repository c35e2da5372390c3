"""The published shape trend: how a dimension grows with the size of published models.

A trend is a straight line through the logarithms, fitted at build time on a family's table of
published models, by least squares in which models near the requested size weigh more (local
regression: Cleveland, 1979, JASA 74:829). No coefficient is typed anywhere.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from metagen.entries import csv_rows

Row = Mapping[str, str]

REACH = 1.0  # a model e times larger or smaller weighs exp(-1/2)
LEAST_SPREAD = 0.1  # about the step from one round number to the next


@dataclass(frozen=True)
class Line:
    """`value = exp(intercept) * parameters ** slope`.

    Attributes:
        slope: Power of the parameter count.
        intercept: Natural logarithm of the value at one parameter.
        spread: Root mean square residual near the size, in natural logarithms; 0.3 is about 30%.
        points: How many published models the line is fitted on.
        low: Size below which the line is level.
    """

    slope: float
    intercept: float
    spread: float
    points: int
    low: float = 0.0

    def at(self, parameters: float) -> float:
        """Return the value that the trend gives for a parameter count."""
        return math.exp(self.intercept + self.slope * math.log(max(parameters, self.low)))

    def reason(self, size: int, unit: str = "parameters") -> str:
        """Return in words what the line gives at a size, and how far models lie from it."""
        return (
            f"{self.points} published models, those near in size first, give "
            f"{self.at(size):,.1f} at {size:,} {unit} (usual deviation {self.spread:.0%})"
        )

    def distance(self, parameters: float, value: float) -> float:
        """Return how far a value lies from the trend, squared, in units of the spread."""
        return (math.log(value / self.at(parameters)) / self.spread) ** 2


@dataclass(frozen=True)
class Trend:
    """What published models of a family look like.

    Attributes:
        lines: How each dimension, or ratio of dimensions, grows with the parameter count.
        levels: Single figures taken from the same rows, such as the largest published window.
    """

    lines: Mapping[str, Line]
    levels: Mapping[str, float]


def rows(published: bytes) -> list[Row]:
    """Return the rows of a family's table of published models."""
    return [*csv_rows(published)]


def table_share(row: Row) -> float:
    """Return the share of a published model's parameters that its token tables hold."""
    return 1 - float(row["params_non_embedding"]) / float(row["params_exact"])


def fit(points: Iterable[tuple[float, float]], size: float, *, level: bool = False) -> Line:
    """Fit a line around a size.

    Args:
        points: Pairs of parameter count and value; both must be positive.
        size: Where the line is wanted; beyond the published sizes, it is that of the last ones.
        level: Whether the line is level below the published sizes; a ratio does not fall to 0.
    """
    pairs = [(math.log(count), math.log(value)) for count, value in points]
    counts = [count for count, _ in pairs]
    centre = min(max(math.log(size), min(counts)), max(counts))
    weights = [math.exp(-(((count - centre) / REACH) ** 2) / 2) for count in counts]
    slope, intercept = _weighted(pairs, weights)
    squares = ((value - intercept - slope * count) ** 2 for count, value in pairs)
    spread = math.sqrt(statistics.fmean(squares, weights))
    low = math.exp(min(counts)) if level else 0.0
    return Line(slope, intercept, max(LEAST_SPREAD, spread), len(pairs), low)


def _weighted(pairs: list[tuple[float, float]], weights: list[float]) -> tuple[float, float]:
    """Return slope and intercept of the line of weighted least squares."""
    x, y = (statistics.fmean(column, weights) for column in zip(*pairs, strict=True))
    across = sum(w * (a - x) * (b - y) for w, (a, b) in zip(weights, pairs, strict=True))
    along = sum(w * (a - x) ** 2 for w, (a, _) in zip(weights, pairs, strict=True))
    slope = across / along if along else 0.0
    return slope, y - slope * x
