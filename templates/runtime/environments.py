"""Environments of gymnasium: opened by their id or refused, acted in, and restored.

What an environment does follows from the seed of an episode and from the actions since. So nothing
of its inside is stored: `Worlds` keeps both for each running episode, and plays them again.
"""

import argparse
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import gymnasium
import numpy as np
import torch
import torch.nn.functional as F
from gymnasium import spaces
from numpy.typing import NDArray
from torch import Tensor

from runtime.digests import digest, uniform
from runtime.distributed import joined, rank, total, world_size
from runtime.errors import fail
from runtime.options import Taken

# Seeds of episodes: each split has a range of its own, so no start of an episode is in two.
SEEDS = {"train": 0, "val": 10**6, "test": 2 * 10**6}
TRAIN_SEEDS = 10**6
GREY = np.array((0.299, 0.587, 0.114), dtype=np.float32)  # ITU-R BT.601
Observations = NDArray[Any]


class Sizes(Protocol):
    """The dimensions of a network that reads observations; its Config has them."""

    @property
    def obs_dim(self) -> int: ...
    @property
    def frame_height(self) -> int: ...
    @property
    def frame_width(self) -> int: ...
    @property
    def n_frames(self) -> int: ...
    @property
    def n_actions(self) -> int: ...
    @property
    def continuous(self) -> bool: ...


@dataclass(frozen=True)
class World:
    """An environment that a network can act in.

    Attributes:
        name: Its id.
        sha256: Digest of all that decides what it does: id, versions, limits, spaces, wrappers.
        sizes: The dimensions of the network.
        actions: How many choices there are, or how many quantities an action has.
        low: The least of each quantity; -1 where it has no bounds. None for choices.
        high: The largest of each; 1 where it has no bounds.
        most_steps: Steps after which an episode is cut off; None if it is not.
        shape: Shape of its own observations.
    """

    name: str
    sha256: str
    sizes: Sizes
    actions: int
    low: NDArray[np.float32] | None
    high: NDArray[np.float32] | None
    most_steps: int | None
    shape: tuple[int, ...]

    @property
    def read(self) -> tuple[int, ...]:
        """The shape of an observation as the network reads it."""
        sizes = self.sizes
        return (sizes.obs_dim,) if sizes.obs_dim else (sizes.n_frames, *self.side)

    @property
    def side(self) -> tuple[int, int]:
        """Height and width of a frame."""
        return self.sizes.frame_height, self.sizes.frame_width

    @property
    def dtype(self) -> type:
        """The type of an observation's numbers."""
        return np.float32 if self.sizes.obs_dim else np.uint8


def environment_id(text: str) -> str:
    """Read the id of an environment, as an option has it."""
    # `package:id` imports a package of the user, who registers the environment there.
    if not re.fullmatch(r"([A-Za-z_][\w.]*:)?([\w-]+/)?\w[\w.-]*", text, re.ASCII):
        raise argparse.ArgumentTypeError(f"{text!r} is no id, as CartPole-v1 is one")
    return text


def taken(bundled: str) -> Taken:
    """Return what --data takes."""
    text = f"id of a gymnasium environment, or package:id (default: {bundled})"
    return Taken(text, environment_id, "ID")


def made(name: str, **options: Any) -> gymnasium.Env[Any, Any]:
    """Return an environment of its own, or stop."""
    try:
        # The checker warns of much that a user cannot change, and takes a third of the time.
        return gymnasium.make(name, disable_env_checker=True, **options)
    except (gymnasium.error.DependencyNotInstalled, ImportError) as error:
        fail(f"{name} needs a package that is not installed: {error}")
    except gymnasium.error.Error as error:
        fail(f"gymnasium {gymnasium.__version__} cannot make {name}: {error}")
    except Exception as error:  # what else the environment's own code does wrong
        fail(f"{name} cannot be made: {type(error).__name__}: {error}")


def opened(name: str, sizes: Sizes) -> World:
    """Return what is known of an environment, or stop if the network cannot act in it."""
    env = made(name)
    observed, acted, spec = env.observation_space, env.action_space, env.spec
    _check_observations(name, observed, sizes)
    actions, low, high = _actions(name, acted, sizes)
    about = {
        "id": name,
        "gymnasium": gymnasium.__version__,
        "entry_point": str(spec.entry_point if spec else None),
        "kwargs": repr(sorted(spec.kwargs.items()) if spec else None),
        "max_episode_steps": spec.max_episode_steps if spec else None,
        "spaces": [repr(observed), repr(acted)],
        "frames": None if sizes.obs_dim else [sizes.n_frames, *_side(sizes)],
    }
    shape = tuple(observed.shape or ())
    env.close()
    sha256 = digest(json.dumps(about, sort_keys=True).encode())
    most = spec.max_episode_steps if spec else None
    return World(name, sha256, sizes, actions, low, high, most, shape)


def _side(sizes: Sizes) -> tuple[int, int]:
    return sizes.frame_height, sizes.frame_width


def _check_observations(name: str, space: Any, sizes: Sizes) -> None:
    """Stop unless the network can read observations of a space."""
    hint = "wrap it, and register what you wrapped under an id of its own."
    if not isinstance(space, spaces.Box):
        fail(f"{name} has observations of the kind {type(space).__name__}, and not Box: {hint}")
    frames = space.dtype == np.uint8 and len(space.shape) in (2, 3)
    if sizes.obs_dim and frames:
        fail(f"{name} shows frames of {space.shape}, and this network reads numbers: {hint}")
    if not sizes.obs_dim and not (frames and space.shape[2:] in ((), (1,), (3,))):
        fail(
            f"{name} has observations {space.shape} of {space.dtype}, and this network reads "
            f"frames (height, width, 3) of uint8: {hint}"
        )
    numbers = int(np.prod(space.shape))
    if sizes.obs_dim and numbers > sizes.obs_dim:
        fail(
            f"{name} has observations of {numbers} numbers, and the network reads at most "
            f"{sizes.obs_dim}: raise obs_dim, by architecture.dims of the spec."
        )


def _actions(
    name: str, space: Any, sizes: Sizes
) -> tuple[int, NDArray[np.float32] | None, NDArray[np.float32] | None]:
    """Return the number of actions and their bounds, or stop unless the network can take them."""
    kind = spaces.Box if sizes.continuous else spaces.Discrete
    wanted = "quantities (Box)" if sizes.continuous else "choices (Discrete)"
    if not isinstance(space, kind):
        fail(
            f"{name} takes actions of the kind {type(space).__name__}, and this network gives "
            f"{wanted}: declare the other task.action_space in the spec, or wrap the environment."
        )
    count = int(space.n) if isinstance(space, spaces.Discrete) else int(np.prod(space.shape))
    if count > sizes.n_actions:
        key = "task.action_dim" if sizes.continuous else "task.num_actions"
        fail(
            f"{name} takes {count} {wanted.split()[0]}, and the network gives at most "
            f"{sizes.n_actions}: raise {key} of the spec."
        )
    if isinstance(space, spaces.Discrete):
        return count, None, None
    low, high = space.low.astype(np.float32).ravel(), space.high.astype(np.float32).ravel()
    # Where a quantity has no bounds, an action is taken as it is.
    open_ = ~(np.isfinite(low) & np.isfinite(high))
    return count, np.where(open_, -1, low), np.where(open_, 1, high)


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
        sizes = self.world.sizes
        if sizes.obs_dim:
            numbers = np.zeros(sizes.obs_dim, dtype=np.float32)
            numbers[: np.size(seen)] = np.ravel(seen)
            return numbers
        frame = shrunk(np.asarray(seen), *self.world.side)
        # Before the first frame, the first one is seen.
        self.frames = [*(self.frames or [frame] * sizes.n_frames), frame][-sizes.n_frames :]
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
