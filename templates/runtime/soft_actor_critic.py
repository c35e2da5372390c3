"""How a soft actor-critic learns (Haarnoja et al., 2019, arXiv:1812.05905): targets, losses."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from runtime.environments import World
from runtime.job import Batch
from runtime.off_policy import Copy, OffPolicy, Remembering


@dataclass(frozen=True)
class SoftTraining(OffPolicy):
    """Settings of training an actor and its critics from a replay memory."""

    target_share: float = 0.005
    """Share of the critics' weights that the copy takes, which gives their targets."""


class Policy(Protocol):
    """How likely each action is."""

    def best(self) -> Tensor:
        """Return the actions without noise, (B, A)."""

    def sample(self, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Return actions that are drawn with normal noise (B, A), and log pi(a | s), (B,)."""


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


PolicyOf = Callable[[Tensor, int], Policy]


def losses_of(
    module: nn.Module,
    copy: nn.Module,
    policy: PolicyOf,
    batch: Batch,
    discount: float,
    least_entropy: float,
) -> Tensor:
    """Return the loss of each sample, (B,).

    Args:
        module: The actor and the critics.
        copy: What gives their targets.
        policy: From the network's output for the policy and the number of quantities.
        batch: Transitions, with noise for two actions of the policy, (B, 2, A).
        discount: What a reward counts for one step before it.
        least_entropy: What the policy's entropy is held at.
    """
    seen, actions, rewards, later, over, noise = batch
    output, quantities = module(seen, actions), actions.size(1)
    with torch.no_grad():
        next_policy = policy(module(later).policy, quantities)
        next_actions, next_log_probs = next_policy.sample(noise[:, 1])
        expected = copy(later, next_actions).values.float()
        entropies = -output.log_temperature.exp() * next_log_probs
        wanted = soft_targets(rewards, over, expected, entropies, discount)
    drawn, log_probs = policy(output.policy, quantities).sample(noise[:, 0])
    own, temperature = module(seen, drawn, frozen=True).values.float(), output.log_temperature
    return soft_loss(output.values.float(), wanted, own, log_probs, temperature, least_entropy)


def example_losses(
    module: nn.Module, policy: PolicyOf, observed: Tensor, actions: Tensor
) -> Tensor:
    """Return the losses of a dummy batch; the network stands for its copy, which is as large."""
    zeros = torch.zeros(len(observed))
    noise = torch.zeros(len(observed), 2, actions.size(1))
    batch = (observed, actions, zeros, observed, zeros, noise)
    return losses_of(module, module, policy, batch, 1.0, -1.0)


class SoftAgent(Remembering):
    """The copy of the critics, and how the agent explores: it draws actions from its policy.

    Attributes:
        least_entropy: What the policy's entropy is held at, for each quantity of an action.
    """

    config: SoftTraining
    least_entropy = -1.0  # appendix D of the paper

    def __init__(
        self,
        config: SoftTraining,
        world: World,
        seeds: range,
        copied: nn.Module,
        policy: PolicyOf,
    ) -> None:
        """Take what `Acting` takes, and what the network is made of.

        Args:
            config: How it is trained.
            world: The environment.
            seeds: Those of the episodes of a validation.
            copied: A policy and critics of the same kind, which become the copy.
            policy: From the network's output for the policy and the number of quantities.
        """
        super().__init__(
            config, world, seeds, lambda output, actions: policy(output.policy, actions).best()
        )
        self.policy = policy
        self.copy = Copy(copied)

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
        policy = self.policy(self.output(self.worlds.now).policy.cpu(), self.world.actions)
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
        return torch.randn(samples, 2, self.world.actions, generator=self.generator(1, number))

    def generator(self, kind: int, number: int) -> torch.Generator:
        """Return what draws things of a kind, from 1 to 1008, for an update.

        Its seed is not that of the memory's draws, which would choose samples by their noise.
        """
        key = (self.config.seed * 1_000_003 + number) * 1_009 + kind
        return torch.Generator().manual_seed(key % 2**63)

    def losses(self, module: nn.Module, batch: Batch) -> Tensor:
        """Return the loss of each sample, (B,)."""
        least, discount = self.least_entropy * self.world.actions, self.config.discount
        return losses_of(module, self.copy.network, self.policy, batch, discount, least)

    def tensors(self) -> dict[str, Tensor]:
        """Return the copy, and what `Remembering` has."""
        return super().tensors() | self.copy.tensors()

    def _restore(self, tensors: dict[str, Tensor]) -> None:
        super()._restore(tensors)
        self.copy.restore(tensors)
