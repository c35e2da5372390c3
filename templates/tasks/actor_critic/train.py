"""Train the actor and its critics in an environment of yours, or in one of gymnasium's.

    python train.py                                       the proxy, in the bundled environment
    python train.py --data package:id --steps 20000       the proxy, in another one
    python train.py --size full --data HalfCheetah-v5     the full model
    python train.py --resume                              go on from the last checkpoint
    python train.py --init-from other/checkpoint          start from the weights of another run
    torchrun --nproc-per-node 8 train.py --parallel fsdp  the same run on eight GPUs

The soft actor-critic with a temperature that is learned too (Haarnoja et al., 2019,
arXiv:1812.05905), from a replay memory. A step of this script is an update of the weights, not a
step of an environment. Writes OUT/run.json, OUT/metrics.jsonl and OUT/checkpoint, whose weights are
those of the validation with the highest return.
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from data import Config as DataConfig
from data import load_world, splits_of
from model import Config as ModelConfig
from model import Model, Policy, best_actions
from runtime.acting import job_of_agent
from runtime.environments import World, blank, taken
from runtime.errors import run
from runtime.job import Batch, Job
from runtime.off_policy import Copy, OffPolicy, Remembering
from runtime.training import script


@dataclass(frozen=True)
class Config(OffPolicy):
    """How the actor and the critics are trained."""

    target_share: float = 0.005
    """Share of the critics' weights that the copy takes, which gives their targets."""


def soft_targets(
    rewards: Tensor, over: Tensor, values: Tensor, entropies: Tensor, discount: float
) -> Tensor:
    """Return what the critics should have expected, (B,).

    Equations 3 and 5 of the paper: r + discount * (min Q_copy(s', a') - alpha log pi(a' | s')), and
    r alone where the episode was over. The lower of two values is taken, since a policy finds
    what a critic overestimates.

    Args:
        rewards: (B,).
        over: 1 where the episode was over, (B,).
        values: The copies' values of actions that the policy drew next, (B, 2).
        entropies: -alpha log pi of these actions, (B,).
        discount: What a reward counts for one step before it.
    """
    return rewards + discount * (1 - over) * (values.amin(1) + entropies)


def soft_loss(
    values: Tensor,
    targets: Tensor,
    own: Tensor,
    log_probs: Tensor,
    log_temperature: Tensor,
    least_entropy: float,
) -> Tensor:
    """Return the loss of each sample, (B,): of the critics, the policy and the temperature.

    Equations 5, 9 and 18 of the paper. Each of the three changes its own weights only.

    Args:
        values: What the critics expect of what was done, (B, 2).
        targets: What they should expect, (B,).
        own: What they expect of the policy's actions, through weights that get no gradient, (B, 2).
        log_probs: log pi of these actions, (B,).
        log_temperature: (1,).
        least_entropy: What the policy's entropy is held at.
    """
    temperature = log_temperature.exp()
    critics = 0.5 * (values - targets[:, None]).square().sum(1)
    policy = temperature.detach() * log_probs - own.amin(1)
    return critics + policy - temperature * (log_probs.detach() + least_entropy)


class Agent(Remembering):
    """The copy of the critics, and how the agent explores: it draws actions from its policy."""

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
        self.copy.follow(self.network, step, self.config.target_share)

    def explore(self, step: int | None, generator: torch.Generator) -> NDArray[Any]:
        shape = (self.config.n_envs, self.world.actions)
        if step is None:
            return (2 * torch.rand(shape, generator=generator)[self.own] - 1).numpy()
        noise = torch.randn(shape, generator=generator)[self.own]
        policy = Policy(self.output(self.worlds.now).policy.cpu(), self.world.actions)
        return policy.sample(noise)[0].numpy()

    def batch(self, start: int, count: int) -> Batch:
        """Return samples of the memory, with noise for two actions of the policy, (B, 2, A)."""
        update, first = divmod(start, self.config.batch_size)
        noise = self._noise(self.config.batch_size, update)
        return *super().batch(start, count), noise[first : first + count]

    def held_out(self, size: int) -> Iterator[Batch]:
        """Yield the transitions of the validation's episodes, with noise that is always alike."""
        for number, rows in enumerate(super().held_out(size)):
            yield *rows, self._noise(len(rows[0]), number)

    def _noise(self, samples: int, number: int) -> Tensor:
        # The seeds are not those of the memory's draws, which would choose samples by their noise.
        key = (self.config.seed * 1_000_003 + number) * 1_009 + 1
        generator = torch.Generator().manual_seed(key % 2**63)
        return torch.randn(samples, 2, self.world.actions, generator=generator)

    def losses(self, module: nn.Module, batch: Batch) -> Tensor:
        """Return the loss of each sample, (B,)."""
        return losses(module, self.copy.network, batch, self.world.actions, self.config.discount)

    def tensors(self) -> dict[str, Tensor]:
        """Return the copy, and what `Remembering` has."""
        return super().tensors() | self.copy.tensors()

    def _restore(self, tensors: dict[str, Tensor]) -> None:
        super()._restore(tensors)
        self.copy.restore(tensors)


def losses(
    module: nn.Module, copy: nn.Module, batch: Batch, quantities: int, discount: float
) -> Tensor:
    """Return the loss of each sample, (B,), whose actions have some quantities."""
    seen, actions, rewards, later, over, noise = batch
    output = module(seen, actions)
    with torch.no_grad():
        next_policy = Policy(module(later).policy, quantities)
        next_actions, next_log_probs = next_policy.sample(noise[:, 1])
        expected = copy(later, next_actions).values.float()
        entropies = -output.log_temperature.exp() * next_log_probs
        wanted = soft_targets(rewards, over, expected, entropies, discount)
    drawn, log_probs = Policy(output.policy, quantities).sample(noise[:, 0])
    own = module(seen, drawn, frozen=True).values.float()
    least = -float(quantities)  # appendix D: minus the quantities of an action
    temperature = output.log_temperature
    return soft_loss(output.values.float(), wanted, own, log_probs, temperature, least)


def example_loss(model: Model, samples: int, data: DataConfig) -> Tensor:
    """Return the loss of a dummy batch, to count FLOPs and memory."""
    observed, zeros = blank(model.config, samples), torch.zeros(samples)
    quantities = model.config.n_actions
    actions, noise = torch.zeros(samples, quantities), torch.zeros(samples, 2, quantities)
    batch = (observed, actions, zeros, observed, zeros, noise)
    # The copy is as large as the network.
    return losses(model, model, batch, quantities, 1.0).mean()


def job_of(args: argparse.Namespace, config: Config, data: DataConfig, model: ModelConfig) -> Job:
    world, seeds = load_world(args.data, model), splits_of(data)
    agent = Agent(config, world, model, seeds["val"])

    def loss(module: nn.Module, batch: Batch) -> tuple[Tensor, int]:
        each = agent.losses(module, batch)
        return each.mean(), len(each)

    build = partial(Model, model)
    return job_of_agent(agent, data, seeds, build=build, loss=loss, example=example_loss)


main = script(__doc__, (Config, DataConfig, ModelConfig), job_of, data=taken("that of the proxy"))

if __name__ == "__main__":
    run(main)
