"""Score a checkpoint by its returns on the seeds of the test, next to simpler ways to act.

    python eval.py                         the checkpoint that train.py wrote to `out`
    python eval.py --data Acrobot-v1       a checkpoint that was trained in another environment

The agent takes the choices with the highest value. Prints JSON on stdout, and keeps it in
OUT/scores.json. No other script plays the seeds of the test.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from data import RULES, load_world, random_actions, splits_of
from data import Config as DataConfig
from model import Config as ModelConfig
from model import Model, best_actions
from runtime.environments import Played, World, play, taken
from runtime.errors import run
from runtime.report import Report, metric
from runtime.returns import episode_return, picture, same_action
from runtime.scores import Mean, Samples
from runtime.scripts import Setting, Trained, scoring


@dataclass(frozen=True)
class Config:
    """How the test is played."""

    seed: int = 0
    """Draws the random actions of a baseline."""
    discount: float = 0.99
    """What a reward counts for one step before it, as in training."""
    batch_size: int = 1024
    """Observations that are valued at once."""


@torch.no_grad()
def td_errors(model: Model, played: Played, world: World, config: Config) -> NDArray[np.float64]:
    """Return by how much the value of each action was off what followed, (steps,).

    That is |r + discount * max Q(s') - Q(s, a)|, and of r alone at the end of an episode.
    """
    device, errors = next(model.parameters()).device, []
    ends = np.cumsum(played.lengths) - 1
    over = np.zeros(len(played.seen), dtype=np.float32)
    over[ends] = played.over
    later = np.concatenate((played.seen[1:], played.seen[:1]))
    later[ends] = played.ends
    for at in range(0, len(over), config.batch_size):
        rows = slice(at, at + config.batch_size)
        now, then = (
            model(torch.from_numpy(each[rows]).to(device))[:, : world.actions].float().cpu().numpy()
            for each in (played.seen, later)
        )
        value = now[np.arange(len(now)), played.actions[rows]]
        wanted = played.rewards[rows] + config.discount * (1 - over[rows]) * then.max(1)
        errors.append(np.abs(wanted - value))
    return np.concatenate(errors).astype(np.float64)


def _episodes(played: Played) -> NDArray[np.int64]:
    """Return the number of the episode of each step."""
    return np.repeat(np.arange(len(played.lengths)), played.lengths)


def report(trained: Trained[Config, DataConfig, ModelConfig]) -> Report:
    """Play an episode from each seed of the test, and each baseline from the same seeds."""
    world, seeds = load_world(trained.args.data, trained.model), splits_of(trained.data)
    model = trained.load(lambda: Model(trained.model))

    @torch.no_grad()
    def act(seen: NDArray[Any]) -> NDArray[Any]:
        output = model(torch.from_numpy(seen).to(trained.device))
        return np.asarray(best_actions(output, trained.model, world.actions).cpu().numpy())

    played = play(world, seeds["test"], act)
    rule = {RULES[world.name][0]: RULES[world.name][1]} if world.name in RULES else {}
    baselines = {
        "random actions": random_actions(world, trained.config.seed),
        "the same action": same_action(world, seeds["val"]),
        **rule,
    }
    returned = episode_return(played, world, seeds["test"], baselines)
    samples = Samples("steps", len(played.rewards), _episodes(played), "episodes")
    error = metric(
        "td_error",
        "reward",
        Mean(td_errors(model, played, world, trained.config)),
        {"values of zero": Mean(np.abs(played.rewards))},
        samples,
        title="temporal-difference error",
        higher_is_better=False,
    )
    return Report(
        world.name,
        world.sha256,
        len(seeds["test"]),
        [returned, error],
        picture(trained.folder, returned),
        n_unit="episodes",
    )


main = scoring(
    __doc__,
    (Config, DataConfig, ModelConfig),
    report,
    data=taken("that of the proxy"),
    settings={
        "seed": Setting("draws the random actions of a baseline", int),
        "batch_size": Setting("observations that are valued at once"),
    },
)

if __name__ == "__main__":
    run(main)
