"""A random forest (Breiman, 2001), a baseline that needs no tuning."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.notes import note


def forest_shares(
    rows: Any, targets: Any, classes: int, others: Any, trees: int, seed: int
) -> NDArray[np.float64] | None:
    """Return the probability of each class for other rows (M, D): (M, classes).

    Without scikit-learn a note says that the baseline is left out, and it is None.

    Args:
        rows: (N, D), to which the forest is fitted.
        targets: (N,), the numbers of their classes.
        classes: How many there are; one without a row has the probability 0.
        others: (M, D).
        trees: Trees of the forest.
        seed: Of the rows and columns that the trees draw.
    """
    try:
        from sklearn.ensemble import RandomForestClassifier  # type: ignore[import-untyped]
    except ImportError:
        note("the random forest is left out: pip install scikit-learn.")
        return None
    forest = RandomForestClassifier(trees, random_state=seed).fit(rows, targets)
    shares = np.zeros((len(others), classes))
    shares[:, forest.classes_] = forest.predict_proba(others)
    return shares
