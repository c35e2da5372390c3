"""Steps that a model of the environment made up, in blocks; a new block replaces the oldest."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from runtime.environments import World
from runtime.job import Batch


class Imagined:
    """The last blocks of steps that were made up, from transitions of some environments.

    Attributes:
        count: Blocks that were ever added.
    """

    def __init__(self, world: World, envs: int, block: int, blocks: int) -> None:
        """Make room for some blocks, each with as many steps from each environment."""
        self.block, self.blocks, self.count = block, blocks, 0
        size, read = (envs, block * blocks), world.read
        self.rows: Batch = (
            torch.zeros(*size, *read),
            torch.zeros(*size, world.actions),
            torch.zeros(size),
            torch.zeros(*size, *read),
            torch.zeros(size),
        )

    def add(self, steps: Batch) -> None:
        """Add a block: seen, done, rewarded, what followed, the end; (envs, block, ...) each."""
        at = self.count % self.blocks * self.block
        for kept, new in zip(self.rows, steps, strict=True):
            kept[:, at : at + self.block] = new
        self.count += 1

    def sample(self, envs: NDArray[np.int64], draws: NDArray[np.float64]) -> Batch:
        """Return steps from transitions of some environments, as `Replay.sample` has them.

        Args:
            envs: The environment of each, (B,).
            draws: A number from 0 to 1 for each, which chooses the step, (B,).
        """
        place = (draws * (min(self.count, self.blocks) * self.block)).astype(np.int64)
        return tuple(row[torch.from_numpy(envs), torch.from_numpy(place)] for row in self.rows)

    def tensors(self) -> dict[str, Tensor]:
        """Return all steps, the environments along the first dimension."""
        names = ("seen", "actions", "rewards", "later", "over")
        return dict(zip(names, self.rows, strict=True))

    def restore(self, tensors: dict[str, Tensor], count: int) -> None:
        """Take what `tensors` returned, and how many blocks were ever added."""
        for name, mine in self.tensors().items():
            mine.copy_(tensors[name])
        self.count = count
