"""How well a model of an environment foresees the next observation, beside simpler guesses."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.episodes import Observations, Played, followed
from runtime.report import metric
from runtime.scores import Mean, Samples

Standardized = Callable[[Observations], NDArray[Any]]
"""From observations (N, ...) to their numbers, each less its mean and by its deviation."""
Foresight = Callable[[Observations, NDArray[Any]], NDArray[Any]]
"""From observations and actions to the changes of standardized numbers, (N, numbers)."""


def linear_model(played: Played, standardized: Standardized) -> Foresight:
    """Return a linear model of the changes, fitted to the steps of some episodes.

    Least squares on the standardized numbers, the actions and a constant.
    """

    def inputs(seen: Observations, actions: NDArray[Any]) -> NDArray[Any]:
        rows = (standardized(seen), actions, np.ones((len(seen), 1)))
        return np.concatenate(rows, 1, dtype=np.float64)

    changes = standardized(followed(played)[0]) - standardized(played.seen)
    x = inputs(played.seen, played.actions)
    weights = np.linalg.lstsq(x, changes.astype(np.float64), rcond=None)[0]
    return lambda seen, actions: np.asarray(inputs(seen, actions) @ weights)


def model_error(
    played: Played, fitted: Played, foreseen: Foresight, standardized: Standardized
) -> dict[str, Any]:
    """Return how far the foreseen next observations are off, in deviations of each number.

    Args:
        played: The episodes of the test.
        fitted: Other episodes, for the linear model.
        foreseen: The model.
        standardized: Gives observations in deviations, as training saw them at first.
    """
    changes = standardized(followed(played)[0]) - standardized(played.seen)

    def off(guessed: NDArray[Any]) -> Mean:
        return Mean(np.abs(guessed - changes).mean(1))

    linear = linear_model(fitted, standardized)
    episodes = np.repeat(np.arange(len(played.lengths)), played.lengths)
    return metric(
        "model_error",
        "deviations",
        off(foreseen(played.seen, played.actions)),
        {
            "no change": off(np.zeros_like(changes)),
            "linear model": off(linear(played.seen, played.actions)),
        },
        Samples("steps", len(changes), episodes, "episodes"),
        title="error of the next observation",
        higher_is_better=False,
    )
