"""Open the environment that the agent acts in, and cut the seeds of its episodes into splits.

    python data.py --data package:id     shows what training will act in

The data of an agent is an environment of gymnasium, named by its id; `package:id` imports a package
of yours that registers it. An episode follows from the seed that it begins with, so a split is a
set of seeds: those of training, of validation and of the test are never the same. Without --data,
the environment is one that comes with gymnasium.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model import Config as ModelConfig
from runtime.environments import Sizes, World, opened, taken
from runtime.episodes import SEEDS, TRAIN_SEEDS, Act, Observations
from runtime.errors import fail, run
from runtime.options import data_options
from runtime.returns import same_action
from runtime.settings import load_config

BUNDLED = {True: "Pendulum-v1", False: "CartPole-v1"}  # for quantities, and for choices


@dataclass(frozen=True)
class Config:
    """How many episodes judge the agent."""

    val_episodes: int = 10
    """Episodes of a validation, each from a seed of its own."""
    test_episodes: int = 100
    """Episodes that eval.py plays, from further seeds."""


def load_world(name: str | None, model: ModelConfig) -> World:
    """Return an environment, or stop if the network cannot act in it."""
    if name is None and not model.obs_dim:
        fail("no environment with frames comes with gymnasium: name one with --data.")
    return opened(name or BUNDLED[model.continuous], model)


def splits_of(config: Config) -> dict[str, range]:
    """Return the seeds of each split."""
    sizes = {"train": TRAIN_SEEDS, "val": config.val_episodes, "test": config.test_episodes}
    return {split: range(SEEDS[split], SEEDS[split] + size) for split, size in sizes.items()}


# What an engineer would write who knows the environment: the bar for an agent that does not.
def swing_up(seen: Observations) -> NDArray[np.float32]:
    """Return the torque on a pendulum by its energy, and near the top by its angle.

    Observed are cos(angle), sin(angle) and the speed; upright is 0. An action of 1 is the largest
    torque.
    """
    cosine, sine, speed = seen[:, 0], seen[:, 1], seen[:, 2]
    energy = speed**2 / 2 + 15 * (cosine - 1)  # 0 where it can come to rest at the top
    pumped = -energy * np.sign(speed + (speed == 0))
    held = -(10 * np.arctan2(sine, cosine) + 2 * speed)
    torque = np.where(cosine > math.cos(0.6), held, pumped)
    actions: NDArray[np.float32] = np.clip(torque / 2, -1, 1).astype(np.float32)[:, None]
    return actions


def lean(seen: Observations) -> NDArray[np.int64]:
    """Return the push on a cart under a pole: to the side to which the pole falls."""
    return (seen[:, 2] + seen[:, 3] > 0).astype(np.int64)


RULES: Mapping[str, tuple[str, Act]] = {
    "Pendulum-v1": ("energy rule", swing_up),
    "CartPole-v1": ("lean rule", lean),
}


def random_actions(world: World, seed: int) -> Act:
    """Return what acts at random: each choice as often, or each quantity within its bounds."""
    draw = np.random.default_rng(seed)

    def act(seen: Observations) -> NDArray[np.float32] | NDArray[np.int64]:
        if world.low is None:
            return draw.integers(0, world.actions, len(seen))
        return draw.uniform(-1, 1, (len(seen), world.actions)).astype(np.float32)

    return act


def baselines(world: World, config: Config, seed: int) -> dict[str, Act]:
    """Return what an agent is compared with: a rule too, where the environment is known."""
    rule = dict([RULES[world.name]]) if world.name in RULES else {}
    return {
        "random actions": random_actions(world, seed),
        "the same action": same_action(world, splits_of(config)["val"]),
        **rule,
    }


def main() -> None:
    """Show the environment."""
    parser = data_options(__doc__, data=taken("that of the proxy"))
    args = parser.parse_args()
    model = load_config(ModelConfig, "model", args.size)
    world = load_world(args.data, model)
    print(f"{world.name}, sha256 {world.sha256}")
    sizes: Sizes = model
    read = f"{world.read}, with zeros behind" if sizes.obs_dim else f"frames {world.read}"
    print(f"observations {world.shape}, read as {read}")
    kind = "choices" if world.low is None else "quantities"
    print(f"actions: {world.actions} {kind}, of {model.n_actions} that the network gives")
    most = f"cut off after {world.most_steps} steps" if world.most_steps else "never cut off"
    print(f"episodes: {most}")
    for split, seeds in splits_of(load_config(Config, "data", args.size)).items():
        print(f"{split:>5}: {len(seeds):,} seeds from {seeds.start:,}")


if __name__ == "__main__":
    run(main)
