"""Train the Q-network in an environment of yours, or in one that comes with gymnasium.

    python train.py                                       the proxy, in the bundled environment
    python train.py --data Acrobot-v1 --steps 8000        the proxy, in another one
    python train.py --size full --data package:id         the full model, on frames
    python train.py --resume                              go on from the last checkpoint
    python train.py --init-from other/checkpoint          start from the weights of another run
    torchrun --nproc-per-node 8 train.py --parallel fsdp  the same run on eight GPUs

Double Q-learning from a replay memory (van Hasselt et al., 2016, arXiv:1509.06461). A step of this
script is an update of the weights, not a step of an environment. Writes OUT/run.json,
OUT/metrics.jsonl and OUT/checkpoint, whose weights are those of the validation with the highest
return.
"""

import argparse
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from data import Config as DataConfig
from data import load_world, splits_of
from model import Config as ModelConfig
from model import Model, best_actions
from runtime.acting import job_of_agent
from runtime.environments import World, blank, taken
from runtime.errors import run
from runtime.job import Batch, Job
from runtime.off_policy import Copy, OffPolicy, Remembering
from runtime.training import script


@dataclass(frozen=True)
class Config(OffPolicy):
    """How the Q-network is trained."""

    target_every: int = 250
    """Updates between two renewals of the copy that values the next choice."""
    first_exploration: float = 1.0
    """Share of random actions at the first update."""
    last_exploration: float = 0.01
    """Share of random actions at the end of exploration."""
    exploration_share: float = 0.1
    """Share of all updates over which the share of random actions falls."""


def double_targets(
    rewards: Tensor, over: Tensor, online: Tensor, target: Tensor, discount: float
) -> Tensor:
    """Return what the value of each action should be, (B,).

    Equation 4 of double Q-learning: r + discount * Q_target(s', argmax Q_online(s')), and r alone
    where the episode was over. One network's mistakes do not choose what they themselves value.

    Args:
        rewards: (B,).
        over: 1 where the episode was over, (B,).
        online: The network's values of the next choices, (B, A).
        target: The copy's values of the same, (B, A).
        discount: What a reward counts for one step before it.
    """
    best = online.argmax(1, keepdim=True)
    return rewards + discount * (1 - over) * target.gather(1, best).squeeze(1)


class Agent(Remembering):
    """The copy of the network, and how the agent explores."""

    config: Config

    def __init__(self, config: Config, world: World, model: ModelConfig, seeds: range) -> None:
        super().__init__(
            config, world, seeds, lambda output, actions: best_actions(output, model, actions)
        )
        self.copy = Copy(Model(model))

    def begin(self, module: nn.Module, device: torch.device) -> None:
        super().begin(module, device)
        self.copy.network.to(device)

    def renew(self, step: int) -> None:
        self.copy.follow(self.network, step // self.config.target_every)

    def exploration(self, step: int) -> float:
        """Return the share of random actions before an update."""
        config = self.config
        share = min(1.0, step / max(1.0, config.exploration_share * config.steps))
        return config.first_exploration * (1 - share) + config.last_exploration * share

    def explore(self, step: int | None, generator: torch.Generator) -> NDArray[Any]:
        exploration = 1.0 if step is None else self.exploration(step)
        draws = torch.rand(self.config.n_envs, 2, generator=generator)[self.own].numpy()
        actions = (draws[:, 1] * self.world.actions).astype(np.int64)
        if exploration < 1:
            actions = np.where(draws[:, 0] < exploration, actions, self.greedy()(self.worlds.now))
        return actions

    def errors(self, module: nn.Module, batch: Batch) -> Tensor:
        """Return by how much the value of each action is off its target, (B,)."""
        return errors(module, self.copy.network, batch, self.world.actions, self.config.discount)

    def tensors(self) -> dict[str, Tensor]:
        """Return the copy, and what `Remembering` has."""
        return super().tensors() | self.copy.tensors()

    def _restore(self, tensors: dict[str, Tensor]) -> None:
        super()._restore(tensors)
        self.copy.restore(tensors)


def errors(
    module: nn.Module, copy: nn.Module, batch: Batch, choices: int, discount: float
) -> Tensor:
    """Return by how much the values of an environment's choices are off their targets, (B,)."""
    seen, actions, rewards, later, over = batch
    with torch.no_grad():
        online, target = (each(later)[:, :choices].float() for each in (module, copy))
        wanted = double_targets(rewards, over, online, target, discount)
    values: Tensor = module(seen)[:, :choices].float()
    return values.gather(1, actions.unsqueeze(1)).squeeze(1) - wanted


def example_loss(model: Model, samples: int, data: DataConfig) -> Tensor:
    """Return the loss of a dummy batch, to count FLOPs and memory."""
    observed, zeros = blank(model.config, samples), torch.zeros(samples)
    batch = (observed, zeros.long(), zeros, observed, zeros)
    # The copy is as large as the network.
    return errors(model, model, batch, model.config.n_actions, 1.0).square().mean()


def job_of(args: argparse.Namespace, config: Config, data: DataConfig, model: ModelConfig) -> Job:
    world, seeds = load_world(args.data, model), splits_of(data)
    agent = Agent(config, world, model, seeds["val"])

    def loss(module: nn.Module, batch: Batch) -> tuple[Tensor, int]:
        # Beyond an error of 1 the loss grows linearly, so that a wild target does not shake all.
        errors = agent.errors(module, batch)
        return F.huber_loss(errors, torch.zeros_like(errors)), len(errors)

    build = partial(Model, model)
    return job_of_agent(agent, data, seeds, build=build, loss=loss, example=example_loss)


main = script(__doc__, (Config, DataConfig, ModelConfig), job_of, data=taken("that of the proxy"))

if __name__ == "__main__":
    run(main)
