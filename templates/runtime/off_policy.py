"""What agents share that learn from a replay memory: how they fill it, and what an update takes."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from runtime.acting import Acting, cut, normalize, share_of
from runtime.distributed import joined, reshard, whole
from runtime.environments import World
from runtime.episodes import Played, Worlds, followed
from runtime.job import Batch
from runtime.replay import Replay
from runtime.settings import Training


@dataclass(frozen=True)
class OffPolicy(Training):
    """Settings of training from a replay memory."""

    n_envs: int = 8
    """Environments that are acted in side by side; processes share them."""
    replay_size: int = 1000000
    """Transitions that the replay memory holds, of all environments together."""
    first_random: int = 10000
    """Transitions of random actions before the first update."""
    replay_ratio: int = 8
    """How often a transition is learned from, on average."""
    discount: float = 0.99
    """What a reward counts for one step before it."""


class Remembering(Acting):
    """An agent with a replay memory; a subclass says how it explores.

    Attributes:
        own: The environments of this process among those of all processes.
        steps: Steps that were taken in each environment.
    """

    config: OffPolicy

    def __init__(
        self,
        config: OffPolicy,
        world: World,
        seeds: range,
        best_actions: Callable[[Any, int], Tensor],
    ) -> None:
        """Make the environments and an empty memory; the arguments are those of `Acting`."""
        super().__init__(config, world, seeds, best_actions)
        self.worlds = Worlds(world, config.n_envs, config.seed)
        self.share = share_of(config.batch_size, config.n_envs)
        numbers = self.worlds.numbers
        self.own = slice(numbers.start, numbers.stop)
        self.replay = Replay(world, len(numbers), config.replay_size // config.n_envs)
        self.steps = 0

    def explore(self, step: int | None, generator: torch.Generator) -> NDArray[Any]:
        """Return an action for each environment of this process, as training acts.

        Args:
            step: The update that is next; None before the first, when actions are random.
            generator: Draws all that is random, for the environments of all processes.
        """
        raise NotImplementedError

    def renew(self, step: int) -> None:
        """Make what follows the network at its own pace follow it, before an update."""

    @property
    def transitions(self) -> int:
        return self.steps * self.config.n_envs

    def collect(self, module: nn.Module, step: int) -> dict[str, float]:
        """Act as often as the update needs."""
        config = self.config
        self.done = step + 1
        first = -(-config.first_random // config.n_envs)
        learned = step * config.batch_size // (config.replay_ratio * config.n_envs)
        while self.steps <= first + learned:
            self._act(step if self.steps >= first else None)
            if self.steps == first and self.world.sizes.obs_dim:
                normalize(module, self.replay.everything())
        self.renew(step)
        return self.worlds.mean_return()

    def _act(self, step: int | None) -> None:
        """Take a step in each environment."""
        generator = torch.Generator().manual_seed(self.config.seed * 1_000_003 + self.steps)
        actions = self.explore(step, generator)
        before = self.worlds.now
        seen = self.worlds.step(actions)
        self.replay.add(before, actions, seen)
        self.steps += 1

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

    def tensors(self) -> dict[str, Tensor]:
        """Return the memory, and what `Acting` has."""
        memory = {f"replay.{name}": joined(each) for name, each in self.replay.tensors().items()}
        return super().tensors() | memory | {"steps": torch.tensor(self.steps)}

    def _restore(self, tensors: dict[str, Tensor]) -> None:
        super()._restore(tensors)
        names = self.replay.tensors()
        self.replay.restore({name: tensors[f"replay.{name}"][self.own] for name in names})
        self.steps = int(tensors["steps"])


class Copy:
    """A copy of a network that follows it more slowly, so that targets do not move with it.

    Attributes:
        network: The copy, whole in each process.
        renewed: The number of the last renewal; -1 before the first.
    """

    def __init__(self, network: nn.Module) -> None:
        """Take a network of the same kind, or a part of it; the first renewal gives it weights."""
        self.network = network.requires_grad_(False)
        self.renewed = -1

    @torch.no_grad()
    def follow(self, network: nn.Module, number: int, share: float = 1.0) -> None:
        """Move the weights towards those of a network by a share, once for each number.

        The first renewal takes them whole.
        """
        if number <= self.renewed:
            return
        share = share if self.renewed >= 0 else 1.0
        reshard(network)
        tensors = network.state_dict()
        for name, kept in self.network.state_dict().items():
            kept.lerp_(whole(tensors[name]), share)
        self.renewed = number

    def tensors(self) -> dict[str, Tensor]:
        """Return all that a resumed run needs."""
        weights = {f"copy.{name}": each for name, each in self.network.state_dict().items()}
        return weights | {"renewed": torch.tensor(self.renewed)}

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Take what `tensors` returned."""
        names = self.network.state_dict()
        self.network.load_state_dict({name: tensors[f"copy.{name}"] for name in names})
        self.renewed = int(tensors["renewed"])


def transitions_of(played: Played) -> Batch:
    """Return what was seen, done and rewarded in some episodes, what followed, and the ends."""
    rows = (played.seen, played.actions, played.rewards, *followed(played))
    return tuple(torch.from_numpy(each) for each in rows)
