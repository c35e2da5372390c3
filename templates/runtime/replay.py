"""A replay memory: the last transitions of some environments, each observation stored once."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from runtime.environments import World
from runtime.episodes import Observations, Seen
from runtime.errors import fail


class Replay:
    """A ring of places for each environment, in the order of time.

    A place holds what was observed and, unless it was an episode's last observation, what was done
    then. Of frames it holds the newest one; those before it stand in the places before.
    """

    def __init__(self, world: World, envs: int, size: int) -> None:
        """Make room for the last `size` transitions of each environment."""
        self.frames = world.frames
        # The newest transition needs the place of what followed it, and frames those before.
        if size < 2 * self.frames + 2:
            fail(f"a memory of {size} transitions an environment is too small: raise replay_size.")
        self.size = size
        one = world.read[1:] if self.frames else world.read
        self.seen: Observations = np.zeros((envs, size, *one), dtype=world.dtype)
        # A choice is a whole number, and an action of quantities a row of them.
        action: tuple[int, ...] = () if world.low is None else (world.actions,)
        kind: type = np.int64 if world.low is None else np.float32
        self.actions: NDArray[Any] = np.zeros((envs, size, *action), dtype=kind)
        self.rewards = np.zeros((envs, size), dtype=np.float32)
        self.over = np.zeros((envs, size), dtype=np.float32)
        # Steps since the episode began; -1 minus that where the observation was its last.
        self.age = np.zeros((envs, size), dtype=np.int64)
        self.count = np.zeros(envs, dtype=np.int64)  # places that were ever filled
        self.steps = np.zeros(envs, dtype=np.int64)  # steps of the running episode

    def _put(self, env: int, observed: Observations, age: int) -> int:
        place = int(self.count[env] % self.size)
        self.seen[env, place] = observed[-1] if self.frames else observed
        self.age[env, place] = age
        self.count[env] += 1
        return place

    def add(self, observed: Observations, actions: NDArray[Any], seen: Seen) -> None:
        """Add a step of each environment: what was observed, done, and what it led to."""
        for env, action in enumerate(actions):
            steps = int(self.steps[env])
            place = self._put(env, observed[env], steps)
            self.actions[env, place], self.rewards[env, place] = action, seen.rewards[env]
            self.over[env, place] = seen.over[env]
            self.steps[env] = steps + 1
            if seen.over[env] or seen.cut[env]:
                self._put(env, seen.last[env], -2 - steps)
                self.steps[env] = 0

    def everything(self) -> Tensor:
        """Return all that was observed, (N, ...)."""
        kept = [self.seen[env, : min(count, self.size)] for env, count in enumerate(self.count)]
        return torch.from_numpy(np.concatenate(kept))

    def rewarded(self) -> Tensor:
        """Return the reward of each step, (N,)."""
        filled = np.arange(self.size)[None] < self.count[:, None]
        return torch.from_numpy(self.rewards[filled & (self.age >= 0)])

    @property
    def ends(self) -> NDArray[np.int64]:
        """The place behind the last whole transition of each environment, (envs,).

        The newest transition is not whole yet: what followed it is stored with the next one.
        """
        return self.count - 1

    def sample(
        self,
        envs: NDArray[np.int64],
        draws: NDArray[np.float64],
        since: NDArray[np.int64] | None = None,
        until: NDArray[np.int64] | None = None,
    ) -> tuple[Tensor, ...]:
        """Return transitions of some environments: seen, done, rewarded, what followed, the end.

        Args:
            envs: The environment of each, (B,).
            draws: A number from 0 to 1 for each, which chooses the transition, (B,).
            since: An earlier value of `ends`, before which no transition is taken; None: all are.
            until: One from which on no transition is taken.
        """
        count, filled = self.count[envs], np.minimum(self.count[envs], self.size)
        # The oldest frames have lost those before them.
        oldest = count - filled + np.where(count > self.size, max(0, self.frames - 1), 0)
        first = oldest if since is None else np.maximum(oldest, since[envs])
        end = (self.ends if until is None else until)[envs]
        place = first + (draws * np.maximum(1, end - first)).astype(np.int64)
        # An episode's last observation has no action; the place before it has, or the one behind
        # where the one before is no longer kept.
        last = self.age[envs, place % self.size] < 0
        place = np.where(last, place + np.where(place == oldest, 1, -1), place)
        at = place % self.size
        rows = (
            self._observed(envs, place),
            self.actions[envs, at],
            self.rewards[envs, at],
            self._observed(envs, place + 1),
            self.over[envs, at],
        )
        return tuple(torch.from_numpy(row) for row in rows)

    def _observed(self, envs: NDArray[np.int64], place: NDArray[np.int64]) -> Observations:
        """Return what was observed at some places, (B, ...), with the frames before."""
        if not self.frames:
            return np.asarray(self.seen[envs, place % self.size])
        age = self.age[envs, place % self.size]
        steps = np.where(age < 0, -1 - age, age)
        # Before an episode's first frame, the first one is seen.
        back = np.minimum(np.arange(self.frames - 1, -1, -1)[None], steps[:, None])  # (B, frames)
        return np.asarray(self.seen[envs[:, None], (place[:, None] - back) % self.size])

    def tensors(self) -> dict[str, Tensor]:
        """Return all that it holds, the environments along the first dimension."""
        names = ("seen", "actions", "rewards", "over", "age", "count", "steps")
        return {name: torch.from_numpy(getattr(self, name)) for name in names}

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Take what `tensors` returned."""
        for name, mine in self.tensors().items():
            mine.copy_(tensors[name])
