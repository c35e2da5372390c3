"""Rotary position embedding."""

import torch
from torch import Tensor

RotaryTable = tuple[Tensor, Tensor]


def rotary_table(start: int, length: int, head_dim: int, theta: float, like: Tensor) -> RotaryTable:
    """Return cosine and sine of the angles m * theta_i of RoPE (Su et al., 2021, section 3.2.2).

    theta_i = theta ** (-2i / D), and m counts from `start`; arXiv:2104.09864. Computed when needed,
    since a table for a long context would outweigh the layers. Both are (T, D), float32; the sines
    are negative for the first of a pair.
    """
    exponents = torch.arange(0, head_dim, 2, device=like.device).float() / head_dim
    positions = torch.arange(start, start + length, device=like.device).float()
    angles = torch.outer(positions, theta**-exponents)  # (T, D/2)
    cos, sin = angles.cos(), angles.sin()
    return torch.cat((cos, cos), dim=-1), torch.cat((-sin, sin), dim=-1)


def rotate(x: Tensor, table: RotaryTable) -> Tensor:
    """Rotate each pair (x_i, x_{i + D/2}) of a head by its position's angle; x is (..., T, D).

    x_i cos - x_{i + D/2} sin, and x_{i + D/2} cos + x_i sin (Su et al., 2021, equation 34).
    """
    cos, sin = table  # float32: so are the products
    partner = x.roll(x.size(-1) // 2, dims=-1)
    return (x * cos + partner * sin).type_as(x)
