"""The bottleneck blocks of a residual network (He et al., 2016, arXiv:1512.03385)."""

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn

from layers.convolution import Convolution
from layers.depth import StochasticDepth

EXPANSION = 4  # channels of a block's output for each channel within


class Bottleneck(nn.Module):
    """One residual block."""

    def __init__(
        self,
        inputs: int,
        width: int,
        stride: int,
        norm: Callable[[int], nn.Module] = nn.BatchNorm2d,
    ) -> None:
        super().__init__()
        outputs = EXPANSION * width
        self.narrow = Convolution(inputs, width, 1, norm=norm)
        self.mix = Convolution(width, width, 3, stride, norm)
        self.widen = Convolution(width, outputs, 1, norm=norm)
        self.shortcut: nn.Module = nn.Identity()
        if inputs != outputs or stride != 1:
            self.shortcut = Convolution(inputs, outputs, 1, stride, norm)
        self.depth = StochasticDepth()

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, h, w) to (B, outputs, h / stride, w / stride), rounded up."""
        inner = F.relu(self.narrow(x))
        inner = F.relu(self.mix(inner))
        return F.relu(self.shortcut(x) + self.depth(self.widen(inner)))
