"""Returns of episodes on the seeds of the test, beside those of simpler ways to act."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.acting import read_validations
from runtime.checkpoint import STATE
from runtime.environments import World
from runtime.episodes import Act, Observations, Played, followed, play
from runtime.errors import fail
from runtime.report import Report, metric
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


Valued = Callable[[Observations, NDArray[Any] | None], NDArray[Any]]
"""From what is observed, (N, ...), and actions to their values (N,); of None, the best actions'."""


def td_errors(played: Played, value: Valued, discount: float, size: int) -> NDArray[np.float64]:
    """Return by how much the value of each action was off what followed, (steps,).

    That is |r + discount * V(s') - Q(s, a)|, where V is the value of the best action, and of r
    alone at the end of an episode. At most `size` observations are valued at once.
    """
    later, over = followed(played)
    errors = []
    for at in range(0, len(over), size):
        rows = slice(at, at + size)
        then = played.rewards[rows] + discount * (1 - over[rows]) * value(later[rows], None)
        errors.append(np.abs(then - value(played.seen[rows], played.actions[rows])))
    return np.concatenate(errors).astype(np.float64)


def td_error(played: Played, value: Valued, discount: float, size: int) -> dict[str, Any]:
    """Return the mean of `td_errors`, with that of a critic that values all at zero."""
    episodes = np.repeat(np.arange(len(played.lengths)), played.lengths)
    return metric(
        "td_error",
        "reward",
        Mean(td_errors(played, value, discount, size)),
        {"values of zero": Mean(np.abs(played.rewards))},
        Samples("steps", len(played.rewards), episodes, "episodes"),
        title="temporal-difference error",
        higher_is_better=False,
    )


def report_of(world: World, folder: Path, seeds: range, metrics: list[dict[str, Any]]) -> Report:
    """Return the report of an episode from each seed of the test.

    Args:
        world: Where they were played.
        folder: That of the training, whose validations the figure shows.
        seeds: Those of the test.
        metrics: What was scored; the first is `episode_return`.
    """
    figure = picture(folder, metrics[0])
    return Report(world.name, world.sha256, len(seeds), metrics, figure, n_unit="episodes")


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
    series = [{"name": "proxy", "x": x, "y": y, "style": "line"}]
    for name, value in returned["baselines"].items():
        series.append({"name": name, "x": ends, "y": [value] * 2, "style": "dashed"})
    labels = {"x": "transitions of training", "y": "mean return (reward)"}
    return {"kind": "lines", **labels, "series": series}
