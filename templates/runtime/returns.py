"""Returns of episodes on the seeds of the test, beside those of simpler ways to act."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.acting import read_validations
from runtime.checkpoint import STATE
from runtime.environments import Act, Played, World, play
from runtime.errors import fail
from runtime.report import metric
from runtime.scores import Mean, Samples
from runtime.settings import read_json


def same_action(world: World, seen_on: range) -> Act:
    """Return what always does the same: the choice with the highest return on other seeds.

    Of quantities it is the middle of their range.
    """

    def always(action: int) -> Act:
        def act(seen: NDArray[Any]) -> NDArray[Any]:
            if world.low is not None:
                return np.zeros((len(seen), world.actions), dtype=np.float32)
            return np.full(len(seen), action, dtype=np.int64)

        return act

    choices = [always(action) for action in range(world.actions if world.low is None else 1)]
    if len(choices) == 1:
        return choices[0]
    return max(choices, key=lambda act: float(play(world, seen_on, act).returns.mean()))


def episode_return(
    played: Played, world: World, seeds: range, baselines: Mapping[str, Act]
) -> dict[str, Any]:
    """Return the mean return of episodes, with that of each baseline from the same seeds."""
    others = {name: Mean(play(world, seeds, act).returns) for name, act in baselines.items()}
    return metric(
        "episode_return",
        "reward",
        Mean(played.returns),
        others,
        Samples("episodes", len(seeds)),
        title="mean return",
        higher_is_better=True,
    )


def picture(folder: Path, returned: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the returns of validation over the transitions of training, and the baselines'."""
    if not (folder / STATE).is_file():
        return None
    try:
        pairs = read_validations(read_json(folder / STATE))
    except ValueError as error:
        fail(f"{folder / STATE}: {error}: train again, or evaluate a checkpoint as it was saved.")
    if not pairs:
        return None
    ends = [pairs[0][0], pairs[-1][0]]
    x, y = ([round(float(pair[i]), 3) for pair in pairs] for i in (0, 1))
    series = [{"name": "model", "x": x, "y": y, "style": "line"}]
    for name, value in returned["baselines"].items():
        series.append({"name": name, "x": ends, "y": [value] * 2, "style": "dashed"})
    labels = {"x": "transitions of training", "y": "mean return (reward)"}
    return {"kind": "lines", **labels, "series": series}
