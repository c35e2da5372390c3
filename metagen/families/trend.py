"""The published shape trend: how a dimension grows with the size of published models.

A trend is a straight line through the logarithms, fitted by least squares at build time on the
rows of `data/published_models.csv`. No coefficient is typed anywhere.
"""

from __future__ import annotations

import csv
import math
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

Row = Mapping[str, str]


@dataclass(frozen=True)
class Line:
    """`value = exp(intercept) * parameters ** slope`.

    Attributes:
        slope: Power of the parameter count.
        intercept: Natural logarithm of the value at one parameter.
        spread: Root mean square residual, in natural logarithms; 0.3 means about 30%.
        points: How many published models the line is fitted on.
    """

    slope: float
    intercept: float
    spread: float
    points: int

    def at(self, parameters: float) -> float:
        """Return the value that the trend gives for a parameter count."""
        return math.exp(self.intercept + self.slope * math.log(parameters))

    def distance(self, parameters: float, value: float) -> float:
        """Return how far a value lies from the trend, squared, in units of the spread."""
        residual = math.log(value) - self.intercept - self.slope * math.log(parameters)
        return (residual / self.spread) ** 2


@dataclass(frozen=True)
class Trend:
    """What published models of a family look like.

    Attributes:
        lines: How each dimension, or ratio of dimensions, grows with the parameter count.
        levels: Single figures taken from the same rows, such as the largest published window.
    """

    lines: Mapping[str, Line]
    levels: Mapping[str, float]


def rows(published: bytes, family: str) -> list[Row]:
    """Return the rows of `data/published_models.csv` that belong to a family of models."""
    table = csv.DictReader(published.decode().splitlines())
    return [row for row in table if row["family"] == family]


def fit(points: Iterable[tuple[float, float]]) -> Line:
    """Fit a line on pairs of parameter count and value; both must be positive."""
    pairs = [(math.log(size), math.log(value)) for size, value in points]
    slope, intercept = statistics.linear_regression(*zip(*pairs, strict=True))
    residuals = [value - intercept - slope * size for size, value in pairs]
    return Line(slope, intercept, math.sqrt(statistics.fmean(r * r for r in residuals)), len(pairs))


def residuals(line: Line, points: Iterable[tuple[float, float]]) -> list[float]:
    """Return by how much each published value departs from the line: 0.1 is 10% above it."""
    return [value / line.at(size) - 1 for size, value in points]
