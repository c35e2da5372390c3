"""A moving average of the weights, which is what a diffusion model draws its samples with."""

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from runtime.distributed import world_size


class Average:
    """Exponential moving average of a model's weights (Ho et al., 2020, arXiv:2006.11239, app. B).

    It starts at the weights that the model has. Early on it forgets faster, as (1 + n) / (10 + n)
    after n updates, so that the first weights, which nothing had taught, do not linger.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        """Start from a model's weights, sharded as they are; `decay` is the share that stays."""
        self.model = model
        self.decay = decay
        self.weights = {name: p.detach().clone() for name, p in model.named_parameters()}

    @torch.no_grad()
    def update(self, updates: int) -> None:
        """Move towards the model's weights, after so many updates before this one."""
        decay = min(self.decay, (1 + updates) / (10 + updates))
        for name, parameter in self.model.named_parameters():
            self.weights[name].lerp_(parameter.detach(), 1 - decay)

    @contextlib.contextmanager
    def in_place(self) -> Iterator[dict[str, Tensor]]:
        """Let the model have the average, and give its own weights to keep as `name/raw`."""
        self._swap()
        try:
            yield {f"{name}/raw": tensor for name, tensor in self.weights.items()}
        finally:
            self._swap()

    @torch.no_grad()
    def _swap(self) -> None:
        _reshard(self.model)  # a pass without gradients leaves some weights whole
        for name, parameter in self.model.named_parameters():
            own = parameter.detach().clone()
            parameter.copy_(self.weights[name])
            self.weights[name].copy_(own)


def _reshard(model: nn.Module) -> None:
    """Let each process hold its shares again, of what a pass has gathered and not given up."""
    if world_size() == 1:
        return
    from torch.distributed.fsdp import FSDPModule

    for part in model.modules():
        if isinstance(part, FSDPModule):
            part.reshard()
