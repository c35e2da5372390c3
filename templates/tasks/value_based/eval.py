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

from data import Config as DataConfig
from data import baselines, load_world, splits_of
from model import Config as ModelConfig
from model import Model, best_actions
from runtime.environments import taken
from runtime.episodes import Observations
from runtime.errors import run
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


class Valuing(Player):
    """A player whose network gives the value of each choice at once."""

    @torch.no_grad()
    def value(self, seen: Observations, actions: NDArray[Any] | None) -> NDArray[Any]:
        """Return the value of choices (N,), or of the best ones, (N,)."""
        values = self.model(torch.from_numpy(seen).to(self.device))[:, : self.world.actions]
        each = values.float().cpu().numpy()
        return np.asarray(each.max(1) if actions is None else each[np.arange(len(each)), actions])


def report(trained: Trained[Config, DataConfig, ModelConfig]) -> Report:
    """Play an episode from each seed of the test, and each baseline from the same seeds."""
    world, seeds = load_world(trained.args.data, trained.model), splits_of(trained.data)
    model, config = trained.load(lambda: Model(trained.model)), trained.config
    player = Valuing(
        model, world, trained.device, lambda output, own: best_actions(output, trained.model, own)
    )
    others = baselines(world, trained.data, config.seed)
    _, metrics = player.scored(seeds["test"], others, config.discount, config.batch_size)
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
