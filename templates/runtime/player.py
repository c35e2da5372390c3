"""A trained actor with its critics, as the test plays and values with them."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from runtime.environments import World
from runtime.episodes import Act, Observations, Played, play
from runtime.returns import episode_return, td_error


class Player:
    """A trained network that acts, and values actions by its more careful critic."""

    def __init__(
        self,
        model: nn.Module,
        world: World,
        device: torch.device,
        best_actions: Callable[[Any, int], Tensor],
    ) -> None:
        """Take a network, and what `Acting` takes."""
        self.model, self.world, self.device = model, world, device
        self.best_actions = best_actions

    @torch.no_grad()
    def __call__(self, seen: Observations) -> NDArray[Any]:
        """Return the best actions for what is observed, (N, A)."""
        output = self.model(torch.from_numpy(seen).to(self.device))
        return np.asarray(self.best_actions(output, self.world.actions).cpu().numpy())

    @torch.no_grad()
    def value(self, seen: Observations, actions: NDArray[Any] | None) -> NDArray[Any]:
        """Return the lower value of actions (N, A), or of the best ones, (N,)."""
        done = torch.from_numpy(self(seen) if actions is None else actions).to(self.device)
        values = self.model(torch.from_numpy(seen).to(self.device), done).values
        return np.asarray(values.amin(1).float().cpu().numpy())

    def scored(
        self, seeds: range, baselines: Mapping[str, Act], discount: float, size: int
    ) -> tuple[Played, list[dict[str, Any]]]:
        """Return an episode from each seed, and its metrics: the return and the critics' error.

        Args:
            seeds: Those of the test.
            baselines: Simpler ways to act, by their names.
            discount: What a reward counts for one step before it.
            size: Observations that are valued at once.
        """
        played = play(self.world, seeds, self)
        returned = episode_return(played, self.world, seeds, baselines)
        return played, [returned, td_error(played, self.value, discount, size)]
