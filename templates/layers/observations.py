"""What an agent's network reads: numbers in units of their own, or the frames of a screen."""

import itertools
import math
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Normalizer(nn.Module):
    """(x - mean) / deviation, with statistics of all observations that training has seen.

    Numbers of an environment have units of their own: metres, angles, speeds.
    """

    mean: Tensor
    variance: Tensor
    count: Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("variance", torch.ones(size))
        self.register_buffer("count", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, obs_dim) to the same shape, within 10 deviations."""
        scaled = (x.float() - self.mean) * torch.rsqrt(self.variance.float() + 1e-8)
        return scaled.clamp(-10, 10).to(self.mean.dtype)

    @torch.no_grad()
    def update(self, mean: Tensor, variance: Tensor, count: float) -> None:
        """Take the statistics of `count` further observations, (obs_dim,) each.

        Two sets are joined as by Chan et al. (1979, Stanford CS-79-773, equation 2.1).
        """
        share = count / (self.count + count)
        apart = mean - self.mean
        joined = self.variance * (1 - share) + variance * share + apart**2 * share * (1 - share)
        self.variance.copy_(joined if self.count > 0 else variance)
        self.mean.add_(apart * share)
        self.count.add_(count)


class Convolutions(nn.Module):
    """Three convolutions over the last frames of a screen (Mnih et al., 2015, Nature 518:529)."""

    def __init__(self, n_frames: int, d_conv: int) -> None:
        super().__init__()
        d = d_conv
        self.conv1 = orthogonal(nn.Conv2d(n_frames, d, 8, stride=4))
        self.conv2 = orthogonal(nn.Conv2d(d, 2 * d, 4, stride=2))
        self.conv3 = orthogonal(nn.Conv2d(2 * d, 2 * d, 3, stride=1))

    def forward(self, frames: Tensor) -> Tensor:
        """Map frames (B, n_frames, height, width) of 0 to 255 to features (B, N)."""
        x = frames.to(self.conv1.weight.dtype) / 255
        x = F.relu(self.conv1(x))  # (B, d, h1, w1)
        x = F.relu(self.conv2(x))  # (B, 2d, h2, w2)
        x = F.relu(self.conv3(x))  # (B, 2d, h3, w3)
        return x.flatten(1)


def convolved(side: int) -> int:
    """Return a side of the last convolution's output: 7 for a side of 84 pixels."""
    for kernel, stride in ((8, 4), (4, 2), (3, 1)):
        side = (side - kernel) // stride + 1
    return side


def hidden_layers(inputs: int, width: int, depth: int, activation: type[nn.Module]) -> nn.Module:
    """Return layers from `inputs` numbers to `width`, each with its activation."""
    pairs = itertools.pairwise((inputs, *[width] * depth))
    layers = [[orthogonal(nn.Linear(a, b)), activation()] for a, b in pairs]
    return nn.Sequential(*(layer for pair in layers for layer in pair))


LayerT = TypeVar("LayerT", nn.Linear, nn.Conv2d)


def orthogonal(layer: LayerT, gain: float = math.sqrt(2)) -> LayerT:
    """Give a layer orthogonal weights and no bias, with which agents learn sooner.

    Engstrom et al., 2020, arXiv:2005.12729, section 3.
    """
    nn.init.orthogonal_(layer.weight, gain)
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    return layer
