"""The feature pyramid (Lin et al., 2017, arXiv:1612.03144), and a norm that is not trained."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class FrozenNorm(nn.Module):
    """Batch normalization whose four numbers of a channel are stored and never change."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("weight", torch.ones(channels))
        self.register_buffer("bias", torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, h, w) to the same shape."""
        kept = (self.running_mean, self.running_var, self.weight, self.bias)
        return F.batch_norm(x, *kept)  # type: ignore[arg-type]


class Pyramid(nn.Module):
    """The feature pyramid: coarse features are added to the finer ones, from the top down."""

    def __init__(self, inputs: list[int], channels: int) -> None:
        super().__init__()
        self.inner = nn.ModuleList(nn.Conv2d(each, channels, 1) for each in inputs)
        self.outer = nn.ModuleList(nn.Conv2d(channels, channels, 3, padding=1) for _ in inputs)
        for module in (*self.inner, *self.outer):
            nn.init.kaiming_uniform_(module.weight, a=1)
            nn.init.zeros_(module.bias)

    def forward(self, features: list[Tensor]) -> list[Tensor]:
        """Map features (B, *, h, w) of falling resolution to (B, C, h, w), and a coarser one."""
        levels: list[Tensor] = []
        above: Tensor | None = None
        for inner, outer in zip(reversed(self.inner), reversed(self.outer), strict=True):
            here = inner(features.pop())
            if above is not None:
                here = here + F.interpolate(above, size=here.shape[-2:], mode="nearest")
            above = here
            levels.insert(0, outer(here))
        return [*levels, F.max_pool2d(levels[-1], 1, stride=2)]
