"""Score a checkpoint on the seeds of the test: its returns, its values, and what it foresees.

    python eval.py                      the checkpoint that train.py wrote to `out`
    python eval.py --data package:id    a checkpoint that was trained in another environment

The policy acts without noise; the ensemble's best networks together foresee each next observation.
Prints JSON on stdout, and keeps it in OUT/scores.json. No other script plays the seeds of the test.
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
from runtime.environments import taken
from runtime.episodes import Observations, play
from runtime.errors import run
from runtime.foresight import model_error
from runtime.player import Player
from runtime.report import Report
from runtime.returns import report_of
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


class Foreseer(Player):
    """A player that also foresees what it will observe, by the mean of the best networks."""

    model: Model

    def standardized(self, seen: Observations) -> NDArray[Any]:
        """Return the numbers that the environment has, in deviations, (N, numbers)."""
        rows = self.model.features(torch.from_numpy(seen).to(self.device))
        return np.asarray(rows[:, : int(np.prod(self.world.shape))].cpu().numpy())

    @torch.no_grad()
    def changes(self, seen: Observations, actions: NDArray[Any]) -> NDArray[Any]:
        """Return the changes of these numbers that are foreseen after actions, (N, numbers)."""
        rows = (torch.from_numpy(each).to(self.device) for each in (seen, actions))
        mean = self.model(*rows, ahead=True).mean
        best = self.model.dynamics.best(self.model.config.n_elites)
        own = mean[best, :, 1 : 1 + int(np.prod(self.world.shape))]
        return np.asarray(own.mean(0).cpu().numpy())


def report(trained: Trained[Config, DataConfig, ModelConfig]) -> Report:
    """Play an episode from each seed of the test, and each baseline from the same seeds."""
    world, seeds = load_world(trained.args.data, trained.model), splits_of(trained.data)
    model, config = trained.load(lambda: Model(trained.model)), trained.config
    player = Foreseer(
        model, world, trained.device, lambda output, own: best_actions(output, trained.model, own)
    )
    others = baselines(world, trained.data, config.seed)
    played, metrics = player.scored(seeds["test"], others, config.discount, config.batch_size)
    # The linear model is fitted to episodes of the same policy, from the seeds of validation.
    fitted = play(world, seeds["val"], player)
    metrics.append(model_error(played, fitted, player.changes, player.standardized))
    return report_of(world, trained.folder, seeds["test"], metrics)


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
