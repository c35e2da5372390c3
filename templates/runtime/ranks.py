"""Scores of an order: how far the samples that are true come before those that are not."""

import math

import numpy as np
from numpy.typing import NDArray

from runtime.scores import Score, Weights

Values = NDArray[np.float64]  # (samples,)


def roc_auc(scores: Values, truth: NDArray[np.bool_]) -> Score:
    """Return the share of pairs of a true and a false sample in which the true one scores higher.

    A tie counts as half a pair (Mann & Whitney, 1947).
    """
    # Sorting takes n log n steps; a comparison of all pairs would take n squared.
    levels, place = np.unique(scores, return_inverse=True)

    def score(weights: Weights) -> float:
        true = np.bincount(place, weights * truth, len(levels))
        false = np.bincount(place, weights * ~truth, len(levels))
        pairs = true.sum() * false.sum()
        below = np.cumsum(false) - false / 2  # false ones below each level, ties as half
        return float(true @ below / pairs) if pairs else math.nan

    return score


def roc_curve(scores: Values, truth: NDArray[np.bool_]) -> tuple[Values, Values]:
    """Return the shares of false and of true samples above each score, from the highest down."""
    order = np.argsort(-scores, kind="stable")
    # A threshold cannot separate equal scores, so only the last of them gives a point.
    last = np.append(np.diff(scores[order]) != 0, True)
    shares = [np.cumsum(each[order])[last] / max(1, each.sum()) for each in (~truth, truth)]
    false, true = (np.concatenate(([0.0], each)) for each in shares)
    return false, true


def precision_curve(
    scores: Values, truth: NDArray[np.bool_], weights: Weights
) -> tuple[Values, Values]:
    """Return recall and precision at each threshold, from the highest score down."""
    # Values are compared by rank only, so any monotonic function of a score gives the same curve.
    order = np.argsort(-scores, kind="stable")
    hits, taken = np.cumsum((truth * weights)[order]), np.cumsum(weights[order])
    # A threshold cannot separate equal scores, so only the last of them gives a point.
    last = np.append(np.diff(scores[order]) != 0, True)
    # The highest scores may have no weight in a resample; dividing by 1 makes their precision 0.
    return hits[last] / hits[-1], hits[last] / np.maximum(taken[last], 1)


def average_precision(scores: Values, truth: NDArray[np.bool_]) -> Score:
    """Return the sum over thresholds of precision * (rise of recall), from the highest down."""

    def score(weights: Weights) -> float:
        if not (truth @ weights):
            return math.nan  # Without a true sample there is no recall.
        recall, precision = precision_curve(scores, truth, weights)
        return float(np.sum(np.diff(recall, prepend=0.0) * precision))

    return score
