"""Layers of the U-Nets of diffusion models: residual blocks with an embedding of the noise."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def zeroed(module: nn.Module) -> nn.Module:
    """Return a layer whose weights are all 0, so that its branch adds nothing at first."""
    for parameter in module.parameters():
        nn.init.zeros_(parameter)
    return module


def sinusoids(t: Tensor, width: int) -> Tensor:
    """Return cosines and sines of noise levels (B,) at width / 2 frequencies, as (B, width).

    The frequencies fall from 1 to 1 / 10000 (Vaswani et al., 2017, section 3.5).
    """
    half = width // 2
    places = torch.arange(half, device=t.device, dtype=torch.float32)
    angles = t.float().unsqueeze(1) * torch.exp(-math.log(10000) / half * places)
    return torch.cat((angles.cos(), angles.sin()), dim=1)


def two_layers(width: int, embedding: int) -> nn.Sequential:
    """Return the two layers that map (B, width) to an embedding (B, embedding)."""
    return nn.Sequential(nn.Linear(width, embedding), nn.SiLU(), nn.Linear(embedding, embedding))


class ResidualBlock(nn.Module):
    """Two convolutions with an embedding between them (Ho et al., 2020, arXiv:2006.11239, B)."""

    def __init__(
        self, inputs: int, outputs: int, embedding: int, groups: int, dropout: float
    ) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(groups, inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.time_emb_proj = nn.Linear(embedding, outputs)
        self.norm2 = nn.GroupNorm(groups, outputs)
        self.dropout = nn.Dropout(dropout)
        self.conv2 = zeroed(nn.Conv2d(outputs, outputs, 3, padding=1))
        self.conv_shortcut = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else None

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """Map (B, inputs, H, W) and an embedding (B, E) to (B, outputs, H, W)."""
        h: Tensor = self.conv1(F.silu(self.norm1(x)))
        h = h + self.time_emb_proj(F.silu(embedding))[:, :, None, None]
        h = self.conv2(self.dropout(F.silu(self.norm2(h))))
        return h + (x if self.conv_shortcut is None else self.conv_shortcut(x))


class Downsample(nn.Conv2d):
    """A convolution that halves height and width."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, channels, 3, stride=2, padding=1)

    def forward(self, x: Tensor, *conditions: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, C, H / 2, W / 2); the conditions are not read."""
        return super().forward(x)
