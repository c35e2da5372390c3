"""The residual network that detectors read images with, in the form ResNet-D.

Shapes in comments: B images, C channels.
"""

import itertools
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from layers.convolution import Convolution

EXPANSION = 4  # channels of a bottleneck's output for each channel within


class Shortcut(nn.Module):
    """The input of a block, averaged over squares of its stride, with the block's channels."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.project = Convolution(inputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, h, w) to (B, outputs, h / stride, w / stride), rounded up."""
        if self.stride > 1:
            x = F.avg_pool2d(x, self.stride, self.stride, ceil_mode=True)
        out: Tensor = self.project(x)
        return out


class Block(nn.Module):
    """A residual block of ResNet-D (He et al., 2019, arXiv:1812.01187, figure 2c)."""

    def __init__(self, inputs: int, inner: int, stride: int, first: bool, bottleneck: bool) -> None:
        super().__init__()
        outputs = EXPANSION * inner if bottleneck else inner
        narrow = [Convolution(inputs, inner, 1)] if bottleneck else []
        reads = inner if bottleneck else inputs
        mix = Convolution(reads, inner, 3, stride)
        last = Convolution(inner, outputs, 1 if bottleneck else 3)
        self.layer = nn.ModuleList([*narrow, mix, last])
        self.shortcut: nn.Module = Shortcut(inputs, outputs, stride) if first else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, h, w) to (B, outputs, h / stride, w / stride), rounded up."""
        inner = x
        for layer in self.layer[:-1]:
            inner = F.relu(layer(inner))
        return F.relu(self.shortcut(x) + self.layer[-1](inner))


class Backbone(nn.Module):
    """A residual network with a stem of three small convolutions."""

    def __init__(self, c: Any) -> None:
        """Take the model's `Config`, which has the dimensions of the stages."""
        super().__init__()
        half = c.width // 2
        pairs = [(c.num_channels, half), (half, half), (half, c.width)]
        self.stem = nn.ModuleList(
            Convolution(*pair, 3, 1 if place else 2) for place, pair in enumerate(pairs)
        )
        self.depths = (c.depth_1, c.depth_2, c.depth_3, c.depth_4)
        self.blocks = nn.ModuleList()
        inputs = c.width
        for stage, depth in enumerate(self.depths):
            inner = c.width * 2**stage
            for place in range(depth):
                stride = 2 if stage and place == 0 else 1
                self.blocks.append(Block(inputs, inner, stride, place == 0, c.bottleneck))
                inputs = inner * (EXPANSION if c.bottleneck else 1)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return the maps of the last three stages, the finest first."""
        x = images
        for layer in self.stem:
            x = F.relu(layer(x))
        x = F.max_pool2d(x, 3, stride=2, padding=1)
        ends = list(itertools.accumulate(self.depths))[1:]
        maps = []
        for number, block in enumerate(self.blocks, 1):
            x = block(x)
            if number in ends:
                maps.append(x)
        return maps
