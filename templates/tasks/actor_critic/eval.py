"""Score a checkpoint by its returns on the seeds of the test, next to simpler ways to act.

    python eval.py                      the checkpoint that train.py wrote to `out`
    python eval.py --data package:id    a checkpoint that was trained in another environment

The policy acts without noise. Prints JSON on stdout, and keeps it in OUT/scores.json. No other
script plays the seeds of the test.
"""

from dataclasses import dataclass

from data import Config as DataConfig
from data import baselines, load_world, splits_of
from model import Config as ModelConfig
from model import Model, best_actions
from runtime.environments import taken
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


def report(trained: Trained[Config, DataConfig, ModelConfig]) -> Report:
    """Play an episode from each seed of the test, and each baseline from the same seeds."""
    world, seeds = load_world(trained.args.data, trained.model), splits_of(trained.data)
    model, config = trained.load(lambda: Model(trained.model)), trained.config
    player = Player(
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
