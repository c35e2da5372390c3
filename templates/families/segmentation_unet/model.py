"""A U-Net for semantic segmentation (Ronneberger et al., 2015, arXiv:1505.04597, figure 1).

A contracting path halves the resolution and doubles the channels, an expanding path undoes it,
and each of its levels also sees the contracting path's features of the same resolution. The
convolutions are padded, so that a mask has the size of its image; the paper crops instead.

Shapes in comments: B images, C channels of an image, H x W pixels, K classes.
"""

import itertools
import math
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class Config:
    """Dimensions of the model; the defaults are the full model."""

    in_channels: int = 1  # channels of an image: 1 for grey, 3 for colours
    num_classes: int = 2  # class 0 is the background
    base_channels: int = 64  # channels of the first level
    max_channels: int = 1024  # a level has twice the channels of the one above, up to this
    n_levels: int = 5  # number of resolutions; each is half of the one before
    image_height: int = 512  # pixels; a multiple of 2 ** (n_levels - 1)
    image_width: int = 512  # pixels; a multiple of 2 ** (n_levels - 1)


class DoubleConv(nn.Module):
    """Two 3 x 3 convolutions, each followed by a ReLU."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, h, w) to (B, outputs, h, w)."""
        return F.relu(self.conv2(F.relu(self.conv1(x))))


class Down(nn.Module):
    """One level down: the maximum of each 2 x 2 features, then two convolutions."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = DoubleConv(inputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, h, w) to (B, outputs, h / 2, w / 2)."""
        out: Tensor = self.conv(F.max_pool2d(x, 2))
        return out


class Up(nn.Module):
    """One level up: twice the resolution, joined with the features of the contracting path."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(inputs, outputs, 2, stride=2)
        self.conv = DoubleConv(2 * outputs, outputs)

    def forward(self, x: Tensor, beside: Tensor) -> Tensor:
        """Map (B, inputs, h, w) and (B, outputs, 2h, 2w) to (B, outputs, 2h, 2w)."""
        out: Tensor = self.conv(torch.cat((beside, self.up(x)), dim=1))
        return out


class Model(nn.Module):
    """The segmentation network; transformers has no class for it."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        doubled = (config.base_channels * 2**level for level in range(config.n_levels))
        widths = [min(width, config.max_channels) for width in doubled]
        pairs = list(itertools.pairwise(widths))
        self.stem = DoubleConv(config.in_channels, widths[0])
        self.downs = nn.ModuleList(Down(above, below) for above, below in pairs)
        self.ups = nn.ModuleList(Up(below, above) for above, below in reversed(pairs))
        self.head = nn.Conv2d(widths[0], config.num_classes, 1)
        self._init_weights()

    def _init_weights(self) -> None:
        """Draw weights from N(0, 2 / N), N the inputs of one output (section 3); biases are 0."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                # An output of a 2 x 2 up-convolution of stride 2 reads one pixel of each channel.
                up = isinstance(module, nn.ConvTranspose2d)
                inputs = module.in_channels if up else module.weight[0].numel()
                nn.init.normal_(module.weight, std=math.sqrt(2 / inputs))
                assert module.bias is not None
                nn.init.zeros_(module.bias)

    def forward(self, images: Tensor, masks: Tensor | None = None) -> Tensor:
        """Return logits (B, K, H, W), or with masks their mean cross-entropy in nats per pixel.

        Args:
            images: (B, C, H, W), values from -1 to 1.
            masks: (B, H, W) the class of each pixel; -1 where it does not count.
        """
        x = self.stem(images)
        features = [x]  # one tensor per level, from the finest to the coarsest
        for down in self.downs:
            x = down(x)
            features.append(x)
        features.pop()
        for up in self.ups:
            x = up(x, features.pop())
        logits: Tensor = self.head(x)  # (B, K, H, W)
        if masks is None:
            return logits
        counted = (masks >= 0).sum().clamp(min=1)  # All pixels may be void; the loss is then 0.
        return F.cross_entropy(logits.float(), masks, ignore_index=-1, reduction="sum") / counted

    def num_params(self) -> int:
        """Return the number of weights."""
        return sum(p.numel() for p in self.parameters())

    def checkpoint_name(self, name: str) -> str:
        """Return the name of a parameter in a checkpoint: its own."""
        return name

    def checkpoint_config(self) -> dict[str, Any]:
        """Return further entries of config.json: none."""
        return {}
