"""The semantic branch of Panoptic FPN (Kirillov et al., 2019, arXiv:1901.02446, section 3.1)."""

import math

import torch.nn.functional as F
from torch import Tensor, nn

NORM_GROUPS = 32  # groups of channels that are normalized together, at most


class Stage(nn.Module):
    """A convolution, a group normalization and a rectifier."""

    def __init__(self, inputs: int, channels: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(inputs, channels, 3, padding=1, bias=False)
        self.normalization = nn.GroupNorm(math.gcd(NORM_GROUPS, channels), channels)
        nn.init.kaiming_normal_(self.convolution.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, h, w) to (B, channels, h, w)."""
        return F.relu(self.normalization(self.convolution(x)))


class SemanticBranch(nn.Module):
    """Brings all levels of a pyramid to the finest one, and tells the class of each place.

    Each stage that a level is coarser than the finest one doubles its resolution; the finest level
    has a stage too.
    """

    def __init__(self, inputs: int, channels: int, classes: int, levels: int) -> None:
        super().__init__()
        self.stages = nn.ModuleList(
            nn.ModuleList(Stage(channels if n else inputs, channels) for n in range(max(1, level)))
            for level in range(levels)
        )
        self.classes = nn.Conv2d(channels, classes, 1)
        nn.init.normal_(self.classes.weight, std=0.01)
        assert self.classes.bias is not None
        nn.init.zeros_(self.classes.bias)

    def forward(self, levels: list[Tensor]) -> Tensor:
        """Map levels (B, inputs, h, w), the finest first, to logits (B, classes, h, w)."""
        total: Tensor | None = None
        for place, (x, stages) in enumerate(zip(levels, self.stages, strict=True)):
            assert isinstance(stages, nn.ModuleList)
            for number, stage in enumerate(stages, start=1):
                x = stage(x)
                if place:
                    size = levels[place - number].shape[-2:]
                    x = F.interpolate(x, size=size, mode="bilinear", align_corners=False)
            total = x if total is None else total + x
        logits: Tensor = self.classes(total)
        return logits
