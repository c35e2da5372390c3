"""Score a checkpoint by its returns on the seeds of the test, next to simpler ways to act.

    python eval.py                      the checkpoint that train.py wrote to `out`
    python eval.py --data package:id    a checkpoint that was trained in another environment

The policy acts without noise. Prints JSON on stdout, and keeps it in OUT/scores.json. No other
script plays the seeds of the test.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from data import Config as DataConfig
from data import baselines, load_world, splits_of
from model import Config as ModelConfig
from model import Model, best_actions
from runtime.environments import World, taken
from runtime.episodes import play
from runtime.errors import run
from runtime.report import Report
from runtime.returns import episode_return, picture, td_error
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


class Player:
    """A trained network that acts, and values actions by its more careful critic."""

    def __init__(self, model: Model, world: World, device: torch.device) -> None:
        self.model, self.world, self.device = model, world, device

    @torch.no_grad()
    def __call__(self, seen: NDArray[Any]) -> NDArray[Any]:
        """Return the best actions for what is observed, (N, A)."""
        output = self.model(torch.from_numpy(seen).to(self.device))
        return np.asarray(best_actions(output, self.model.config, self.world.actions).cpu().numpy())

    @torch.no_grad()
    def value(self, seen: NDArray[Any], actions: NDArray[Any] | None) -> NDArray[Any]:
        """Return the lower value of actions (N, A), or of the best ones, (N,)."""
        done = torch.from_numpy(self(seen) if actions is None else actions).to(self.device)
        values = self.model(torch.from_numpy(seen).to(self.device), done).values
        return np.asarray(values.amin(1).float().cpu().numpy())


def report(trained: Trained[Config, DataConfig, ModelConfig]) -> Report:
    """Play an episode from each seed of the test, and each baseline from the same seeds."""
    world, seeds = load_world(trained.args.data, trained.model), splits_of(trained.data)
    player = Player(trained.load(lambda: Model(trained.model)), world, trained.device)
    played, config = play(world, seeds["test"], player), trained.config
    others = baselines(world, trained.data, config.seed)
    returned = episode_return(played, world, seeds["test"], others)
    error = td_error(played, player.value, config.discount, config.batch_size)
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
