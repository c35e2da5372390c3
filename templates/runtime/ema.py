"""A moving average of the weights, which diffusion models use to draw samples."""

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from runtime.distributed import reshard


class Average:
    """Exponential moving average of a model's weights (Ho et al., 2020, arXiv:2006.11239, app. B).

    It starts at the model's first weights, which are random. To forget them soon, an update after n
    others keeps at most a share of (1 + n) / (10 + n).
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        """Start from a model's weights; `decay` is the share that an update keeps.

        The average is sharded as the weights are.
        """
        self.model = model
        self.decay = decay
        self.weights = {name: p.detach().clone() for name, p in model.named_parameters()}

    @torch.no_grad()
    def update(self, updates: int) -> None:
        """Move towards the model's weights; `updates` counts those before this one."""
        decay = min(self.decay, (1 + updates) / (10 + updates))
        for name, parameter in self.model.named_parameters():
            self.weights[name].lerp_(parameter.detach(), 1 - decay)

    @contextlib.contextmanager
    def in_place(self) -> Iterator[dict[str, Tensor]]:
        """Replace the model's weights by the average, and yield its own ones as `name/raw`."""
        self._swap()
        try:
            yield {f"{name}/raw": tensor for name, tensor in self.weights.items()}
        finally:
            self._swap()

    validated = in_place  # what is validated is what a checkpoint will hold

    @torch.no_grad()
    def _swap(self) -> None:
        # A forward pass without gradients leaves some weights whole, but the average is in shards.
        reshard(self.model)
        for name, parameter in self.model.named_parameters():
            own = parameter.detach().clone()
            parameter.copy_(self.weights[name])
            self.weights[name].copy_(own)
