"""Scores and the confusion matrix of predicted classes."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from runtime.scores import Score, Weights

MOST_LABELS = 20  # rows of the confusion matrix; labels of more would be illegible


def macro_f1(truth: Any, predicted: Any) -> Score:
    """Return the mean of F1 = 2 TP / (2 TP + FP + FN) over classes, as a score.

    A class that is neither true nor predicted has no F1, so it is not in the mean.

    Args:
        truth: The class of each sample, (samples,).
        predicted: The predicted class of each sample, (samples,).
    """
    both = np.concatenate([np.asarray(truth), np.asarray(predicted)])
    classes, places = np.unique(both, return_inverse=True)
    true, guess = np.split(places.reshape(-1), 2)
    hit = true == guess

    def score(weights: Weights) -> float:
        def sums(where: Any, some: Weights) -> Weights:
            return np.bincount(where, some, len(classes)).astype(np.float64)

        # TP + FP is the number predicted, TP + FN the number true.
        sizes, hits = sums(true, weights) + sums(guess, weights), sums(true[hit], weights[hit])
        present = sizes > 0
        return float(np.mean(2 * hits[present] / sizes[present]))

    return score


def confusion(predicted: Any, truth: Any, labels: Sequence[str]) -> dict[str, Any]:
    """Return the figure of the most common labels: rows are true, columns predicted."""
    # Frequent labels have enough samples to distinguish a pattern from chance.
    shown = sorted(label for label, _ in Counter(truth.tolist()).most_common(MOST_LABELS))
    values = [[int(np.sum((truth == y) & (predicted == x))) for x in shown] for y in shown]
    names = [labels[label] for label in shown]
    return {"kind": "matrix", "labels": names, "values": values, "x": "predicted", "y": "true"}
