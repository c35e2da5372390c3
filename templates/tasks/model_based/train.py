"""Train the agent and its model of the environment, in one of yours or of gymnasium's.

    python train.py                                       the proxy, in the bundled environment
    python train.py --data package:id --steps 20000       the proxy, in another one
    python train.py --size full --data HalfCheetah-v5     the full model
    python train.py --resume                              go on from the last checkpoint
    python train.py --init-from other/checkpoint          start from the weights of another run
    torchrun --nproc-per-node 8 train.py --parallel fsdp  the same run on eight GPUs

Model-based policy optimization (Janner et al., 2019, arXiv:1906.08253): a soft actor-critic learns
mostly from steps that an ensemble of networks makes up, which learns from the agent's own steps. A
step of this script is an update of the weights, not a step of an environment. Writes OUT/run.json,
OUT/metrics.jsonl and OUT/checkpoint, whose weights are those of the validation with the highest
return.
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from data import Config as DataConfig
from data import load_world, splits_of
from model import Ahead, Model, Policy, SoftActorCritic
from model import Config as ModelConfig
from runtime.acting import job_of_agent, moments
from runtime.device import autocast
from runtime.distributed import joined, total, world_size
from runtime.environments import World, blank, taken
from runtime.errors import fail, run
from runtime.imagined import Imagined
from runtime.job import Batch, Job
from runtime.soft_actor_critic import SoftAgent, SoftTraining, example_losses
from runtime.training import script

BOUNDS_WEIGHT = 0.01  # Bounds of variances count so much (Chua et al., 2018, arXiv:1805.12114).


@dataclass(frozen=True)
class Config(SoftTraining):
    """How the agent and its model of the environment are trained."""

    dynamics_rate: float = 3.33
    """Multiple of the learning rate at which the ensemble learns."""
    rollout_from: int = 5000
    """Updates before any step is made up, in which the ensemble learns what is real."""
    rollout_every: int = 5000
    """Updates between two renewals of the steps that are made up."""
    rollout_starts: int = 100000
    """Transitions of the replay memory from which each renewal makes steps up."""
    rollout_length: int = 1
    """Steps that follow each other from one of them."""
    rollouts_kept: int = 4
    """Renewals whose steps are kept."""
    real_share: float = 0.05
    """Share of the samples of the actor and the critics that the environment gave."""
    least_entropy: float = -0.5
    """What the policy's entropy is held at, for each quantity of an action."""


def prediction_losses(ahead: Ahead, targets: Tensor, over: Tensor) -> Tensor:
    """Return the loss of each network on each transition, (N, B).

    For a number y that a network expects as a Gaussian of mean m and variance v,
    (y - m)^2 / v + log v is -2 log N(y; m, v) but for a constant (equation 1 of Chua et al., 2018,
    arXiv:1805.12114). It is weighted by the deviation sqrt(v), which gets no gradient; without
    that, a number that is foreseen badly at first gets a high variance and is learned last
    (Seitzer et al., 2022, arXiv:2203.09168, with beta = 0.5). The mean over all numbers
    is taken, and cross-entropy added where ends are predicted.

    Args:
        ahead: What each network expects.
        targets: The rewards and the changes of the numbers that the environment has, all of them
            standardized, (N, B, numbers).
        over: 1 where the episode was over, (N, B).
    """
    log_variance = ahead.log_variance[..., : targets.size(2)]
    unlikely = errors(ahead, targets) * (-log_variance).exp() + log_variance
    each = (unlikely * (log_variance / 2).exp().detach()).mean(2)
    for logits in ahead.ends.unbind(2):  # one, or none
        each = each + F.binary_cross_entropy_with_logits(logits, over, reduction="none")
    return each


def errors(ahead: Ahead, targets: Tensor) -> Tensor:
    """Return the squared error of each number that each network expects, (N, B, numbers)."""
    return (targets - ahead.mean[..., : targets.size(2)]).square()


class Agent(SoftAgent):
    """What acts, learns what its environment does, and learns to act from what that makes up.

    Attributes:
        numbers: How many numbers the environment's observations have.
        imagined: Steps that were made up.
        renewals: How often the ensemble was judged and steps were made up.
        learned: Where the transitions end, in each environment, from which the ensemble learns.
    """

    config: Config
    network: Model

    def __init__(self, config: Config, world: World, model: ModelConfig, seeds: range) -> None:
        shape = (model.obs_dim, model.n_actions, model.d_hidden, model.n_layers)
        super().__init__(config, world, seeds, SoftActorCritic(*shape), Policy)
        self.least_entropy = config.least_entropy
        self.model, self.numbers = model, int(np.prod(world.shape))
        if config.rollout_starts % config.n_envs:
            fail(f"rollout_starts must be a multiple of n_envs, which is {config.n_envs}.")
        envs, self.starts = len(self.worlds.numbers), config.rollout_starts // config.n_envs
        block = self.starts * config.rollout_length
        self.imagined = Imagined(world, envs, block, config.rollouts_kept)
        self.renewals = 0
        self.learned = self.replay.ends

    def collect(self, module: nn.Module, step: int) -> dict[str, float]:
        """Act as often as the update needs, and renew what is made up when it is due."""
        made = super().collect(module, step)
        if step // self.config.rollout_every >= self.renewals:
            self._renew(step)
        return made

    def _renew(self, step: int) -> None:
        """Judge the ensemble, let it make steps up, and give it what it was judged by."""
        if not self.renewals:
            self._measure()
        if self.renewals and step >= self.config.rollout_from:
            self._judge()
            self._imagine()
        self.learned = self.replay.ends
        self.renewals += 1

    def _measure(self) -> None:
        """Take the mean and the deviation of the rewards, in whose units the ensemble learns."""
        _, mean, variance = moments(self.replay.rewarded()[:, None])
        self.network.rewards.copy_(torch.cat((mean, variance.sqrt().clamp(min=1e-4))))

    @torch.no_grad()
    def _ahead(self, seen: Tensor, actions: Tensor) -> Ahead:
        """Return what the ensemble expects after actions."""
        with autocast(self.device, self.config.dtype):
            expected: Ahead = self.module(seen, actions, ahead=True)
        return expected

    @torch.no_grad()
    def _judge(self) -> None:
        """Take the error of each network on transitions that it has not learned from."""
        if (self.replay.ends <= self.learned).any():
            return
        envs, draws = self._draws(2, self.renewals, self.config.batch_size)
        rows = self.replay.sample(envs, draws, since=self.learned)
        seen, actions, rewards, later, _ = (row.to(self.device) for row in rows)
        targets = self._targets(seen, rewards, later)
        each = errors(self._ahead(seen, actions), targets[None])
        means = total(each.mean((1, 2)).double()) / world_size()
        self.network.dynamics.errors.copy_(means)

    def _draws(self, kind: int, number: int, each: int) -> tuple[Any, Any]:
        """Return the environments of this process, `each` times, and a draw for each entry."""
        shape = (self.config.n_envs, each)
        draws = torch.rand(shape, generator=self.generator(kind, number))[self.own]
        return np.repeat(np.arange(len(draws)), each), draws.double().numpy().ravel()

    def _targets(self, seen: Tensor, rewards: Tensor, later: Tensor) -> Tensor:
        """Return what the ensemble should expect, (..., numbers + 1)."""
        features = self.network.features
        changes = (features(later) - features(seen))[..., : self.numbers]
        mean, deviation = self.network.rewards
        return torch.cat(((rewards[..., None] - mean) / deviation, changes.float()), -1)

    @torch.no_grad()
    def _imagine(self) -> None:
        """Make steps up, from transitions of the memory."""
        rows = self.replay.sample(*self._draws(3, self.renewals, self.starts))
        generator = self.generator(4, self.renewals)
        begun = now = rows[0].to(self.device)
        steps = []
        for _ in range(self.config.rollout_length):
            noise, chosen = self._noise_ahead(generator)
            steps.append(self.imagine(now, noise, chosen))
            # Where an episode is expected to end, the next step begins where this one began.
            now = torch.where(steps[-1][4][:, None] > 0, begun, steps[-1][3])
        shape = (len(self.worlds.numbers), -1)
        blocks = (torch.stack(each, 1).cpu() for each in zip(*steps, strict=True))
        self.imagined.add(tuple(each.reshape(*shape, *each.shape[2:]) for each in blocks))

    def _noise_ahead(self, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return noise for actions and for what follows, and numbers from 0 to 1, for a step."""
        numbers = self.world.actions + 1 + self.numbers
        shape = (self.config.n_envs, self.starts)
        noise = torch.randn(*shape, numbers, generator=generator)[self.own].flatten(0, 1)
        chosen = torch.rand(shape, generator=generator)[self.own].flatten()
        return noise.to(self.device), chosen.to(self.device)

    @torch.no_grad()
    def imagine(self, seen: Tensor, noise: Tensor, chosen: Tensor) -> Batch:
        """Return a step that the policy takes and the ensemble makes up, from each observation.

        Args:
            seen: (B, obs_dim).
            noise: Normal noise of actions, the reward and the numbers, (B, A + 1 + numbers).
            chosen: From 0 to 1: which of the best networks makes a step up, (B,).
        """
        actions, own = self.world.actions, 1 + self.numbers
        with autocast(self.device, self.config.dtype):
            policy = self.policy(self.module(seen).policy, actions)
        done = policy.sample(noise[:, :actions])[0]
        ahead = self._ahead(seen, done)
        best = self.network.dynamics.best(self.model.n_elites)
        place = best[(chosen * len(best)).long()], torch.arange(len(seen), device=seen.device)
        deviations = (ahead.log_variance[place] / 2).exp()[:, :own]
        drawn = ahead.mean[place][:, :own] + deviations * noise[:, actions:]
        changes = F.pad(drawn[:, 1:], (0, seen.size(1) - self.numbers))
        over = (ahead.ends[place] > 0).any(1).float()  # no column: nothing ends
        mean, deviation = self.network.rewards
        rewards = drawn[:, 0] * deviation + mean
        return seen, done, rewards, self.network.follow(seen, changes), over

    def batch(self, start: int, count: int) -> Batch:
        """Return samples of the memory and of what was made up, and transitions for each network.

        The last five tensors are those of the networks, (B, N, ...).
        """
        update, first = divmod(start, self.config.batch_size)
        *real, noise = super().batch(start, count)
        each = self.model.n_networks
        shape = (self.config.batch_size, 2 + each)
        draws = torch.rand(shape, generator=self.generator(5, update))[first : first + count]
        numbers, _ = self.share.places(update, torch.arange(first, first + count))
        envs = (numbers - self.worlds.numbers.start).numpy()
        if self.imagined.count:
            made = self.imagined.sample(envs, draws[:, 1].double().numpy())
            kept = draws[:, 0] < self.config.real_share
            real = [torch.where(_like(kept, a), a, b) for a, b in zip(real, made, strict=True)]
        places = draws[:, 2:].double().numpy().ravel()
        rows = self.replay.sample(np.repeat(envs, each), places, until=self.learned)
        return *real, noise, *(row.view(count, each, *row.shape[1:]) for row in rows)

    def held_out(self, size: int) -> Iterator[Batch]:
        """Yield the transitions of the validation's episodes, the same for each network."""
        for *rows, noise in super().held_out(size):
            each = (row[:, None].expand(-1, self.model.n_networks, *row.shape[1:]) for row in rows)
            yield *rows, noise, *each

    def losses(self, module: nn.Module, batch: Batch) -> Tensor:
        """Return the loss of each sample, (B,)."""
        own = super().losses(module, batch[:6])
        seen, actions, rewards, later, over = batch[6:]
        ahead: Ahead = module(seen, actions, ahead=True)
        with torch.no_grad():
            targets = self._targets(seen, rewards, later)
        each = prediction_losses(ahead, targets.transpose(0, 1), over.T)
        highest, lowest = ahead.bounds[:, : 1 + self.numbers]
        bounds: Tensor = BOUNDS_WEIGHT * (highest - lowest).sum()
        return own + each.sum(0) + bounds

    def tensors(self) -> dict[str, Tensor]:
        """Return what was made up, and what `SoftAgent` has."""
        made = {f"made.{name}": joined(each) for name, each in self.imagined.tensors().items()}
        counts = {"renewals": torch.tensor([self.renewals, self.imagined.count])}
        learned = {"learned": joined(torch.from_numpy(self.learned))}
        return super().tensors() | made | counts | learned

    def _restore(self, tensors: dict[str, Tensor]) -> None:
        super()._restore(tensors)
        self.renewals, count = tensors["renewals"].tolist()
        names = self.imagined.tensors()
        self.imagined.restore({name: tensors[f"made.{name}"][self.own] for name in names}, count)
        self.learned = tensors["learned"][self.own].numpy()


def _like(kept: Tensor, row: Tensor) -> Tensor:
    """Return flags (B,) in a shape that chooses among rows (B, ...)."""
    return kept.view(-1, *[1] * (row.dim() - 1))


def example_loss(model: Model, samples: int, data: DataConfig) -> Tensor:
    """Return the loss of a dummy batch, to count FLOPs and memory."""
    c = model.config
    observed, done = blank(c, samples), torch.zeros(samples, c.n_actions)
    ahead, over = model(observed, done, ahead=True), torch.zeros(c.n_networks, samples)
    predicted = prediction_losses(ahead, ahead.mean.detach(), over)
    return example_losses(model, Policy, observed, done).mean() + predicted.mean()


def job_of(args: argparse.Namespace, config: Config, data: DataConfig, model: ModelConfig) -> Job:
    world, seeds = load_world(args.data, model), splits_of(data)
    agent = Agent(config, world, model, seeds["val"])

    def loss(module: nn.Module, batch: Batch) -> tuple[Tensor, int]:
        each = agent.losses(module, batch)
        return each.mean(), len(each)

    build = partial(Model, model)
    job = job_of_agent(agent, data, seeds, build=build, loss=loss, example=example_loss)
    with torch.device("meta"):
        names = [name for name, _ in build().named_parameters() if name.startswith("dynamics.")]
    return replace(job, rates=dict.fromkeys(names, config.dynamics_rate))


main = script(__doc__, (Config, DataConfig, ModelConfig), job_of, data=taken("that of the proxy"))

if __name__ == "__main__":
    run(main)
