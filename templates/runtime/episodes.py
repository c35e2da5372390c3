"""Episodes in environments: played, acted in side by side as training does, and restored.

What an environment does follows from the seed of an episode and from the actions since. So nothing
of its inside is stored: `Worlds` keeps both for each running episode, and plays them again.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from runtime.digests import uniform
from runtime.distributed import joined, rank, total, world_size
from runtime.environments import World, made
from runtime.errors import fail

# Seeds of episodes: each split has a range of its own, so no start of an episode is in two.
SEEDS = {"train": 0, "val": 10**6, "test": 2 * 10**6}
TRAIN_SEEDS = 10**6
GREY = np.array((0.299, 0.587, 0.114), dtype=np.float32)  # ITU-R BT.601
Observations = NDArray[Any]


class Episode:
    """One environment, from the start of an episode to its end."""

    def __init__(self, world: World, **options: Any) -> None:
        self.world = world
        self.env = made(world.name, **options)
        space: Any = self.env.action_space
        self._space = space
        self._bounds = None if world.low is None else (space.low.ravel(), space.high.ravel())
        self.frames: list[Observations] = []

    def reset(self, seed: int) -> Observations:
        """Begin an episode; return its first observation."""
        self.frames = []
        return self._read(self.env.reset(seed=seed)[0])

    def own(self, actions: NDArray[Any]) -> list[Any]:
        """Return actions of the network, (N,) or (N, A), as environments like this take them.

        Quantities from -1 to 1 span the range between their bounds.
        """
        low, high, space = self.world.low, self.world.high, self._space
        if self._bounds is None or low is None or high is None:
            start = int(space.start)
            return [int(action) + start for action in actions]
        scaled = low + (actions + 1) / 2 * (high - low)
        return [*np.clip(scaled, *self._bounds).astype(space.dtype).reshape(-1, *space.shape)]

    def step(self, action: Any) -> tuple[Observations, float, bool, bool]:
        """Take an action of its own; return what is observed, the reward, and how it ended.

        The last two say whether the episode is over, and whether it was cut off.
        """
        seen, reward, over, cut, _ = self.env.step(action)
        return self._read(seen), float(reward), bool(over), bool(cut)

    def _read(self, seen: Any) -> Observations:
        """Return an observation as the network reads it."""
        count = self.world.frames
        if not count:
            numbers = np.zeros(self.world.read, dtype=np.float32)
            numbers[: np.size(seen)] = np.ravel(seen)
            return numbers
        frame = shrunk(np.asarray(seen), *self.world.read[1:])
        # Before the first frame, the first one is seen.
        self.frames = [*(self.frames or [frame] * count), frame][-count:]
        return np.stack(self.frames)


def shrunk(frame: Observations, height: int, width: int) -> Observations:
    """Return a frame (height, width) or (height, width, colours) in grey, at another size."""
    grey = frame.astype(np.float32)
    if grey.ndim == 3:
        grey = grey @ GREY if grey.shape[2] == 3 else grey[:, :, 0]
    if grey.shape != (height, width):
        tensor = torch.from_numpy(grey)[None, None]
        grey = F.interpolate(tensor, (height, width), mode="area")[0, 0].numpy()
    return np.rint(grey).astype(np.uint8)


def episode_seed(seed: int, number: int, episode: int) -> int:
    """Return the seed of an episode of training, of an environment with some number."""
    return int(uniform(f"{seed} {number} {episode}") * TRAIN_SEEDS)


@dataclass(frozen=True)
class Seen:
    """What one step in each environment led to.

    Attributes:
        rewards: (N,).
        over: Whether the episode ended, (N,).
        cut: Whether it was cut off, though it could have gone on, (N,).
        last: What was observed after the action, (N, ...): of an episode that ended, its end.
    """

    rewards: NDArray[np.float32]
    over: NDArray[np.bool_]
    cut: NDArray[np.bool_]
    last: Observations


class Worlds:
    """This process's share of the environments that training acts in.

    Attributes:
        numbers: The numbers of its environments among those of all processes.
        now: What is observed now, (N, ...).
        returns: Returns of the episodes that ended since they were last taken.
    """

    def __init__(self, world: World, count: int, seed: int) -> None:
        """Begin an episode in each environment; `count` is that of all processes."""
        if count % world_size():
            fail(f"{count} environments cannot be divided among {world_size()} processes.")
        share = count // world_size()
        self.world, self.seed = world, seed
        self.numbers = range(rank() * share, (rank() + 1) * share)
        self._each = [Episode(world) for _ in self.numbers]
        self._episodes = [0] * share
        self._actions: list[list[Any]] = [[] for _ in self.numbers]
        self._rewards = [0.0] * share
        self.now = np.stack([self._begin(place) for place in range(share)])
        self.returns: list[float] = []

    def _begin(self, place: int) -> Observations:
        self._actions[place], self._rewards[place] = [], 0.0
        episode = self._episodes[place]
        return self._each[place].reset(episode_seed(self.seed, self.numbers[place], episode))

    def step(self, actions: NDArray[Any]) -> Seen:
        """Take an action in each environment, (N,) or (N, A); a new episode follows an ended one.

        The new episode begins in the same step, so that no step is without an action.
        """
        own = self._each[0].own(actions)
        for kept, action in zip(self._actions, actions, strict=True):
            kept.append(action)
        ends = [self._act(place, action) for place, action in enumerate(own)]
        last, rewards, over, cut = zip(*ends, strict=True)
        seen = Seen(
            np.asarray(rewards, dtype=np.float32), np.asarray(over), np.asarray(cut), np.stack(last)
        )
        self.now = seen.last.copy()
        for place in np.flatnonzero(seen.over | seen.cut):
            self.returns.append(self._rewards[place])
            self._episodes[place] += 1
            self.now[place] = self._begin(int(place))
        return seen

    def _act(self, place: int, action: Any) -> tuple[Observations, float, bool, bool]:
        end = self._each[place].step(action)
        self._rewards[place] += end[1]
        return end

    def mean_return(self) -> dict[str, float]:
        """Return the mean return of episodes that ended since the last call, if any did."""
        sums = torch.tensor([sum(self.returns), len(self.returns)], dtype=torch.float64)
        self.returns = []
        returned, count = total(sums).tolist()
        return {"train_return": returned / count} if count else {}

    def tensors(self) -> dict[str, Tensor]:
        """Return the running episodes of all processes: their numbers, actions and returns."""
        lengths = torch.tensor([len(each) for each in self._actions])
        longest = int(joined(lengths).max())
        like = np.zeros(self.world.actions, np.float32) if self.world.low is not None else 0
        filled = [[*each, *[like] * (longest - len(each))] for each in self._actions]
        shape = (len(filled), longest, *np.shape(like))
        actions = torch.from_numpy(np.asarray(filled).reshape(shape))
        own = {
            "episodes": torch.tensor(self._episodes),
            "lengths": lengths,
            "actions": actions.float() if self.world.low is not None else actions.long(),
            "now": torch.from_numpy(self.now),
        }
        return {f"worlds.{name}": joined(tensor) for name, tensor in own.items()}

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Play the running episodes again up to where they were, or stop if they differ."""
        kept = {name: tensors[f"worlds.{name}"] for name in ("episodes", "lengths", "actions")}
        for place, number in enumerate(self.numbers):
            self._episodes[place] = int(kept["episodes"][number])
            self.now[place] = self._begin(place)
            done = kept["actions"][number][: int(kept["lengths"][number])].numpy()
            self._actions[place] = [*done]
            for action in self._each[place].own(done):
                self.now[place] = self._act(place, action)[0]
        now = tensors["worlds.now"][self.numbers.start : self.numbers.stop].numpy()
        if not np.array_equal(now, self.now, equal_nan=True):
            fail(
                f"{self.world.name} does not repeat an episode from its seed and actions, so the "
                "run cannot go on bit for bit: start a new one from its weights with --init-from."
            )


Act = Callable[[Observations], NDArray[Any]]


@dataclass(frozen=True)
class Played:
    """Episodes from their starts to their ends.

    Attributes:
        returns: The sum of the rewards of each, (episodes,).
        lengths: The steps of each, (episodes,).
        seen: What was observed before each action, (steps, ...); the steps of one episode follow
            each other.
        actions: What was done, (steps, ...).
        rewards: (steps,).
        ends: What was observed at the end of each, (episodes, ...).
        over: Whether each ended and was not cut off, (episodes,).
    """

    returns: NDArray[np.float64]
    lengths: NDArray[np.int64]
    seen: Observations
    actions: NDArray[Any]
    rewards: NDArray[np.float32]
    ends: Observations
    over: NDArray[np.bool_]


def play(world: World, seeds: Sequence[int], act: Act) -> Played:
    """Play an episode from each seed, all of them side by side.

    `act` maps what is observed in those that still run, (N, ...), to actions, (N,) or (N, A).
    """
    every = [Episode(world) for _ in seeds]
    seen = [[each.reset(seed)] for each, seed in zip(every, seeds, strict=True)]
    steps: list[list[tuple[Any, float]]] = [[] for _ in seeds]
    over = np.zeros(len(seeds), dtype=bool)
    running = list(range(len(seeds)))
    while running:
        actions = act(np.stack([seen[i][-1] for i in running]))
        going = []
        for i, action, own in zip(running, actions, every[0].own(actions), strict=True):
            last, reward, ended, cut = every[i].step(own)
            seen[i].append(last)
            steps[i].append((action, reward))
            over[i] = ended
            if not (ended or cut):
                going.append(i)
        running = going
    rewards = [np.array([reward for _, reward in each], dtype=np.float32) for each in steps]
    return Played(
        returns=np.array([each.sum(dtype=np.float64) for each in rewards]),
        lengths=np.array([len(each) for each in rewards]),
        seen=np.concatenate([np.stack(each[:-1]) for each in seen]),
        actions=np.asarray([action for each in steps for action, _ in each]),
        rewards=np.concatenate(rewards),
        ends=np.stack([each[-1] for each in seen]),
        over=over,
    )


def followed(played: Played) -> tuple[NDArray[Any], NDArray[np.float32]]:
    """Return what followed each step of some episodes, and 1 where it ended its episode."""
    ends = np.cumsum(played.lengths) - 1
    later = np.concatenate((played.seen[1:], played.seen[:1]))
    later[ends] = played.ends
    over = np.zeros(len(later), dtype=np.float32)
    over[ends] = played.over
    return later, over
