"""Attention to a few places of several feature maps."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class DeformableAttention(nn.Module):
    """Multi-scale deformable attention (Zhu et al., 2021, arXiv:2010.04159, equation 3).

    Each head of a query reads a few points of each feature map, around the query's box, and weighs
    them; both where it reads and the weights are linear functions of the query.
    """

    def __init__(self, width: int, heads: int, levels: int, points: int) -> None:
        super().__init__()
        self.heads, self.levels, self.points = heads, levels, points
        self.sampling_offsets = nn.Linear(width, heads * levels * points * 2)
        self.attention_weights = nn.Linear(width, heads * levels * points)
        self.value_proj = nn.Linear(width, width)
        self.output_proj = nn.Linear(width, width)
        self._init_weights()

    def _init_weights(self) -> None:
        """Send each head in a direction of its own, its points ever further, all weights equal."""
        angles = torch.arange(self.heads) * (2 * math.pi / self.heads)
        directions = torch.stack([angles.cos(), angles.sin()], -1)
        directions = directions / directions.abs().max(-1, keepdim=True).values
        steps = torch.arange(1, self.points + 1).view(1, 1, -1, 1)
        places = directions[:, None, None] * steps.expand(-1, self.levels, -1, -1)
        for part in (self.sampling_offsets, self.attention_weights):
            nn.init.zeros_(part.weight)
        with torch.no_grad():
            self.sampling_offsets.bias.copy_(places.flatten())
        nn.init.zeros_(self.attention_weights.bias)
        for part in (self.value_proj, self.output_proj):
            nn.init.xavier_uniform_(part.weight)
            nn.init.zeros_(part.bias)

    def forward(
        self, queries: Tensor, boxes: Tensor, memory: Tensor, sizes: Sequence[tuple[int, int]]
    ) -> Tensor:
        """Return what queries read, (B, Q, width).

        Args:
            queries: (B, Q, width).
            boxes: (B, Q, 4) center x, center y, width, height, as shares of the image.
            memory: (B, T, width) the pixels of all maps, from the finest map to the coarsest.
            sizes: Height and width of each map.
        """
        values = self.value_proj(memory).float()  # Coordinates need more than the bits of bf16.
        offsets = self.sampling_offsets(queries).float()
        offsets = offsets.unflatten(-1, (self.heads, self.levels, self.points, 2))
        weights = self.attention_weights(queries).unflatten(-1, (self.heads, -1)).softmax(-1)
        around = boxes[:, :, None, None, None]  # (B, Q, 1, 1, 1, 4)
        moved = offsets / self.points * around[..., 2:] * 0.5
        places = around[..., :2] + moved  # (B, Q, H, L, P, 2), from 0 to 1
        grids = (2 * places - 1).transpose(1, 2).flatten(0, 1)  # (B * H, Q, L, P, 2)
        read = [
            F.grid_sample(
                _as_map(values_of_map, self.heads, size), grids[:, :, level], align_corners=False
            )
            for level, (values_of_map, size) in enumerate(
                zip(torch.split(values, [h * w for h, w in sizes], 1), sizes, strict=True)
            )
        ]  # L times (B * H, D, Q, P)
        shares = weights.transpose(1, 2).flatten(0, 1).unsqueeze(1)  # (B * H, 1, Q, L * P)
        mixed = (torch.cat(read, -1) * shares).sum(-1)  # (B * H, D, Q)
        mixed = mixed.unflatten(0, (-1, self.heads)).flatten(1, 2).transpose(1, 2)
        out: Tensor = self.output_proj(mixed.to(queries.dtype))
        return out


def _as_map(values: Tensor, heads: int, size: tuple[int, int]) -> Tensor:
    """Return pixels (B, h * w, width) as a feature map of each head, (B * H, D, h, w)."""
    return values.transpose(1, 2).reshape(len(values) * heads, -1, *size)
