"""Scores and the figure of predicted numbers, and the linear methods that a network must beat."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.report import metric
from runtime.scores import Mean, Samples, Score, Weights

Values = NDArray[np.float64]  # (samples,)
Matrix = NDArray[np.float64]

MOST_POINTS = 400  # more points overlap, and make the report larger
PENALTIES = (0.01, 0.1, 1.0, 10.0, 100.0, 1000.0)


def mae(truth: Values, values: Values) -> Score:
    """Return the mean of the absolute error."""
    return Mean(np.abs(values - truth))


def rmse(truth: Values, values: Values) -> Score:
    """Return the root of the mean squared error."""
    # Large errors dominate the root of squares; one outlier can decide it.
    mean = Mean((values - truth) ** 2)
    return lambda weights: math.sqrt(mean(weights))


def r2(truth: Values, values: Values) -> Score:
    """Return 1 - (mean squared error) / (variance of the truth); predicting the mean gives 0."""
    squares, level = Mean((values - truth) ** 2), Mean(truth)

    def score(weights: Weights) -> float:
        variance = Mean((truth - level(weights)) ** 2)(weights)
        # A constant truth has a variance of 0; dividing by 1 instead avoids an infinite score.
        return 1 - squares(weights) / (variance or 1.0)

    return score


def number_metrics(
    truth: Values, predicted: Values, simpler: Mapping[str, Values], samples: Samples, unit: str
) -> list[dict[str, Any]]:
    """Return MAE, RMSE and R² of predicted numbers, with those of the baselines.

    Args:
        truth: The number of each sample, (samples,).
        predicted: The predicted number of each sample, (samples,).
        simpler: The numbers that each baseline predicts, (samples,).
        samples: What a sample is.
        unit: What the numbers are of, such as `price`.
    """
    measures: tuple[tuple[str, str, str, Callable[[Values, Values], Score], bool], ...] = (
        # MAE is the usual error in the target's own unit, RMSE weighs large errors more, and R²
        # compares across targets.
        ("mae", "MAE", unit, mae, False),
        ("rmse", "RMSE", unit, rmse, False),
        ("r2", "R²", "share of variance", r2, True),
    )
    return [
        metric(
            name,
            own_unit,
            score(truth, predicted),
            {each: score(truth, values) for each, values in simpler.items()},
            samples,
            title=title,
            higher_is_better=higher,
        )
        for name, title, own_unit, score, higher in measures
    ]


def scatter(truth: Values, predicted: Values, target: str, things: str) -> dict[str, Any]:
    """Return a figure of predictions against the truth, for some samples.

    Args:
        truth: The numbers, (samples,).
        predicted: Their predictions, (samples,).
        target: What is predicted.
        things: What a sample is, in the plural.
    """
    # Every n-th sample is a fair choice, because those of a split are in no order of the target.
    some = slice(None, None, max(1, len(truth) // MOST_POINTS))
    x, y = ([round(float(value), 4) for value in each[some]] for each in (truth, predicted))
    name = f"{len(x)} of {len(truth)} test {things}"
    return {
        "kind": "lines",
        "x": f"{target}, truth",
        "y": f"{target}, prediction",
        "series": [{"name": name, "x": x, "y": y, "style": "points"}],
        "diagonal": True,
    }


def ridge(x: Matrix, y: Values, at: Matrix, penalty: float) -> Values:
    """Return predictions at rows `at` (M, D) of ridge regression fitted to rows x (N, D).

    (X^T X + penalty I)^-1 X^T y, with the means of the columns of x subtracted; the mean of the
    targets y must be 0, so there is no intercept.
    """
    x = x - (mean := x.mean(0))
    # The penalty keeps the matrix invertible if columns depend on each other.
    normal = x.T @ x + penalty * np.eye(x.shape[1])
    return np.asarray((at - mean) @ np.linalg.solve(normal, x.T @ y))


def kernel_ridge(kernel: Matrix, y: Values, at: Matrix, penalty: float) -> Values:
    """Return predictions of ridge regression on vectors that only their products describe.

    at (K + penalty I)^-1 y, for the products K (N, N) of training vectors and those `at` (M, N) of
    other vectors with them; the mean of the targets y must be 0.
    """
    return np.asarray(at @ np.linalg.solve(kernel + penalty * np.eye(len(kernel)), y))


def best_penalty(fitted: Callable[[float], Values], truth: Values) -> float:
    """Return the penalty whose predictions for the validation split have the least squared error.

    Args:
        fitted: Returns the predictions of a penalty, (samples,).
        truth: The numbers of the validation split, (samples,).
    """
    return min(PENALTIES, key=lambda penalty: float(np.mean((fitted(penalty) - truth) ** 2)))
