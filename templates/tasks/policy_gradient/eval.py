"""Score a checkpoint by its returns on the seeds of the test, next to simpler ways to act.

    python eval.py                         the checkpoint that train.py wrote to `out`
    python eval.py --data package:id       a checkpoint that was trained in another environment

The policy takes its likeliest actions. Prints JSON on stdout, and keeps it in OUT/scores.json. No
other script plays the seeds of the test.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from data import Config as DataConfig
from data import baselines, load_world, splits_of
from model import Config as ModelConfig
from model import Model, Policy, best_actions
from runtime.environments import World, taken
from runtime.episodes import play
from runtime.errors import run
from runtime.report import Report, metric
from runtime.returns import episode_return, report_of
from runtime.scripts import Setting, Trained, scoring


@dataclass(frozen=True)
class Config:
    """How the test is played."""

    seed: int = 0
    """Draws the random actions of a baseline."""


class Player:
    """A trained network that acts, and notes how undecided its policy was.

    Attributes:
        entropies: In nats, of each step that was played.
    """

    def __init__(self, model: Model, world: World, device: torch.device) -> None:
        self.model, self.world, self.device = model, world, device
        self.entropies: list[NDArray[np.float64]] = []

    @torch.no_grad()
    def __call__(self, seen: NDArray[Any]) -> NDArray[Any]:
        """Return the likeliest actions for what is observed, (N, ...)."""
        output = self.model(torch.from_numpy(seen).to(self.device))
        policy = Policy(output[0], self.model.config.continuous, self.world.actions)
        self.entropies.append(policy.entropy().double().cpu().numpy())
        actions = best_actions(output, self.model.config, self.world.actions)
        return np.asarray(actions.cpu().numpy())


def undecided(world: World) -> float:
    """Return the entropy of a policy that knows nothing: as it is before the first update."""
    if world.low is None:
        return math.log(world.actions)
    return world.actions * 0.5 * math.log(2 * math.pi * math.e)


def report(trained: Trained[Config, DataConfig, ModelConfig]) -> Report:
    """Play an episode from each seed of the test, and each baseline from the same seeds."""
    world, seeds = load_world(trained.args.data, trained.model), splits_of(trained.data)
    player = Player(trained.load(lambda: Model(trained.model)), world, trained.device)
    played = play(world, seeds["test"], player)
    others = baselines(world, trained.data, trained.config.seed)
    returned = episode_return(played, world, seeds["test"], others)
    entropy = metric(
        "entropy",
        "nat",
        float(np.concatenate(player.entropies).mean()),
        {"before training": undecided(world)},
        title="entropy of the policy",
        # A policy that is decided may be decided on what is wrong.
        higher_is_better=None,
        status="no score",
    )
    return report_of(world, trained.folder, seeds["test"], [returned, entropy])


main = scoring(
    __doc__,
    (Config, DataConfig, ModelConfig),
    report,
    data=taken("that of the proxy"),
    settings={"seed": Setting("draws the random actions of a baseline", int)},
)

if __name__ == "__main__":
    run(main)
