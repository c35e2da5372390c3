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
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from data import Config as DataConfig
from data import load_world, splits_of
from model import Config as ModelConfig
from model import Model, best_actions
from runtime.acting import Acting, cut, normalize, share_of
from runtime.distributed import joined, reshard, whole
from runtime.environments import Played, World, Worlds, taken
from runtime.errors import run
from runtime.job import Batch, Job
from runtime.replay import Replay
from runtime.settings import Training
from runtime.training import script


@dataclass(frozen=True)
class Config(Training):
    """How the Q-network is trained."""

    n_envs: int = 8
    """Environments that are acted in side by side; processes share them."""
    replay_size: int = 1000000
    """Transitions that the replay memory holds, of all environments together."""
    first_random: int = 80000
    """Transitions of random actions before the first update."""
    replay_ratio: int = 8
    """How often a transition is learned from, on average."""
    target_every: int = 250
    """Updates between two renewals of the copy that values the next choice."""
    discount: float = 0.99
    """What a reward counts for one step before it."""
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


class Agent(Acting):
    """The replay memory, the copy of the network, and how the agent explores."""

    config: Config

    def __init__(self, config: Config, world: World, model: ModelConfig, seeds: range) -> None:
        super().__init__(
            config, world, seeds, lambda output, actions: best_actions(output, model, actions)
        )
        self.worlds = Worlds(world, config.n_envs, config.seed)
        self.share = share_of(config.batch_size, config.n_envs)
        numbers = self.worlds.numbers
        self.replay = Replay(world, len(numbers), config.replay_size // config.n_envs)
        self.target = Model(model).requires_grad_(False)
        self.renewed = -1  # the update at which the copy was renewed last
        self.steps = 0  # steps that were taken in each environment

    @property
    def transitions(self) -> int:
        return self.steps * self.config.n_envs

    def begin(self, module: nn.Module, device: torch.device) -> None:
        super().begin(module, device)
        self.target.to(device)

    def collect(self, module: nn.Module, step: int) -> dict[str, float]:
        """Act as often as the update needs, and renew the copy where that is due."""
        config = self.config
        self.done = step + 1
        first = -(-config.first_random // config.n_envs)
        learned = step * config.batch_size // (config.replay_ratio * config.n_envs)
        while self.steps <= first + learned:
            self._act(self.exploration(step) if self.steps >= first else 1.0)
            if self.steps == first and self.world.sizes.obs_dim:
                normalize(module, self.replay.everything())
        if step // config.target_every > self.renewed:
            self._renew(step // config.target_every)
        return self.worlds.mean_return()

    def exploration(self, step: int) -> float:
        """Return the share of random actions before an update."""
        config = self.config
        share = min(1.0, step / max(1.0, config.exploration_share * config.steps))
        return config.first_exploration * (1 - share) + config.last_exploration * share

    def _act(self, exploration: float) -> None:
        """Take a step in each environment."""
        generator = torch.Generator().manual_seed(self.config.seed * 1_000_003 + self.steps)
        own = slice(self.worlds.numbers.start, self.worlds.numbers.stop)
        draws = torch.rand(self.config.n_envs, 2, generator=generator)[own].numpy()
        actions = (draws[:, 1] * self.world.actions).astype(np.int64)
        if exploration < 1:
            actions = np.where(draws[:, 0] < exploration, actions, self.greedy()(self.worlds.now))
        before = self.worlds.now
        seen = self.worlds.step(actions)
        self.replay.add(before, actions, seen)
        self.steps += 1

    @torch.no_grad()
    def _renew(self, number: int) -> None:
        """Copy the weights, which may lie in shards."""
        reshard(self.network)
        kept = self.target.state_dict()
        for name, tensor in self.network.state_dict().items():
            kept[name].copy_(whole(tensor))
        self.renewed = number

    def batch(self, start: int, count: int) -> Batch:
        """Return samples of the memory, from a position in the order of all updates."""
        update, first = divmod(start, self.config.batch_size)
        numbers, _ = self.share.places(update, torch.arange(first, first + count))
        generator = torch.Generator().manual_seed(self.config.seed * 1_000_003 + update)
        draws = torch.rand(self.config.batch_size, generator=generator)[first : first + count]
        envs = numbers - self.worlds.numbers.start
        return self.replay.sample(envs.numpy(), draws.double().numpy())

    def held_out(self, size: int) -> Iterator[Batch]:
        """Yield the transitions of the validation's episodes."""
        yield from cut(transitions_of(self.validation()), size)

    def errors(self, module: nn.Module, batch: Batch) -> Tensor:
        """Return by how much the value of each action is off its target, (B,)."""
        seen, actions, rewards, later, over = batch
        own = self.world.actions
        with torch.no_grad():
            online, target = (f(later)[:, :own].float() for f in (module, self.target))
            wanted = double_targets(rewards, over, online, target, self.config.discount)
        values: Tensor = module(seen)[:, :own].float()
        return values.gather(1, actions.unsqueeze(1)).squeeze(1) - wanted

    def tensors(self) -> dict[str, Tensor]:
        """Return the memory and the copy, and what `Acting` has."""
        copy = {f"target.{name}": tensor for name, tensor in self.target.state_dict().items()}
        memory = {f"replay.{name}": joined(each) for name, each in self.replay.tensors().items()}
        numbers = {"steps": torch.tensor(self.steps), "renewed": torch.tensor(self.renewed)}
        return super().tensors() | copy | memory | numbers

    def _restore(self, tensors: dict[str, Tensor]) -> None:
        super()._restore(tensors)
        own = slice(self.worlds.numbers.start, self.worlds.numbers.stop)
        self.replay.restore({n: tensors[f"replay.{n}"][own] for n in self.replay.tensors()})
        self.target.load_state_dict({n: tensors[f"target.{n}"] for n in self.target.state_dict()})
        self.steps, self.renewed = int(tensors["steps"]), int(tensors["renewed"])


def transitions_of(played: Played) -> Batch:
    """Return what was seen, done and rewarded in some episodes, what followed, and the ends."""
    ends = np.cumsum(played.lengths) - 1
    later = np.concatenate((played.seen[1:], played.seen[:1]))
    later[ends] = played.ends
    over = np.zeros(len(later), dtype=np.float32)
    over[ends] = played.over
    rows: tuple[NDArray[np.generic], ...] = (played.seen, played.actions, played.rewards)
    return tuple(torch.from_numpy(each) for each in (*rows, later, over))


def example_loss(model: Model, samples: int, data: DataConfig) -> Tensor:
    """Return the loss of a dummy batch, to count FLOPs and memory."""
    c = model.config
    shape = (c.obs_dim,) if c.obs_dim else (c.n_frames, c.frame_height, c.frame_width)
    values: Tensor = model(torch.zeros(samples, *shape))
    return values.square().mean()


def job_of(args: argparse.Namespace, config: Config, data: DataConfig, model: ModelConfig) -> Job:
    world, seeds = load_world(args.data, model), splits_of(data)
    agent = Agent(config, world, model, seeds["val"])

    def loss(module: nn.Module, batch: Batch) -> tuple[Tensor, int]:
        # Beyond an error of 1 the loss grows linearly, so that a wild target does not shake all.
        errors = agent.errors(module, batch)
        return F.huber_loss(errors, torch.zeros_like(errors)), len(errors)

    return Job(
        config=config,
        data=data,
        name=world.name,
        sha256=world.sha256,
        splits={split: len(each) for split, each in seeds.items()},
        counted="seeds",
        build=lambda: Model(model),
        batch=agent.batch,
        held_out=agent.held_out,
        loss=loss,
        example=example_loss,
        unit="transitions",
        average=agent.keep_best,
        experience=agent,
        # Which weights are the best depends on when they are validated.
        identity={"eval_every": config.eval_every},
        entries={"environment": world.name},
    )


main = script(__doc__, (Config, DataConfig, ModelConfig), job_of, data=taken("that of the proxy"))

if __name__ == "__main__":
    run(main)
