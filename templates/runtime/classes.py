"""Scores and the confusion matrix of predicted classes."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from runtime.report import metric
from runtime.scores import Mean, Samples, Score, Weights

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


def accuracy(truth: Any, predicted: Any) -> Score:
    """Return the share of classes (samples,) that are right, as a score."""
    return Mean(predicted == truth)


Scored = tuple[str, str, Callable[[Any, Any], Score]]  # The score's name, title and function.
# Accuracy favours frequent classes; macro F1 weighs all classes alike.
OF_CLASSES: tuple[Scored, ...] = (
    ("accuracy", "accuracy", accuracy),
    ("macro_f1", "macro F1", macro_f1),
)


def class_metrics(
    truth: Any,
    predicted: Any,
    simpler: Mapping[str, Any],
    samples: Samples,
    scores: Sequence[Scored] = OF_CLASSES,
) -> list[dict[str, Any]]:
    """Return accuracy and macro F1 of predicted classes, with those of the baselines.

    Args:
        truth: The class of each sample, (samples,).
        predicted: What is predicted of each sample: its class, (samples,), or what scores read.
        simpler: The same of each baseline.
        samples: What a sample is.
        scores: Other scores from 0 to 1, higher ones better, of truth and prediction.
    """
    return [
        metric(
            name,
            "share",
            score(truth, predicted),
            {each: score(truth, guess) for each, guess in simpler.items()},
            samples,
            title=title,
            higher_is_better=True,
        )
        for name, title, score in scores
    ]


def confusion(predicted: Any, truth: Any, labels: Sequence[str]) -> dict[str, Any]:
    """Return the figure of the most common labels: rows are true, columns predicted."""
    # Frequent labels have enough samples to distinguish a pattern from chance.
    shown = sorted(label for label, _ in Counter(truth.tolist()).most_common(MOST_LABELS))
    values = [[int(np.sum((truth == y) & (predicted == x))) for x in shown] for y in shown]
    names = [labels[label] for label in shown]
    return {"kind": "matrix", "labels": names, "values": values, "x": "predicted", "y": "true"}
