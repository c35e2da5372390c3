"""Rotary position embedding."""

import torch
from torch import Tensor


def rotary_table(start: int, length: int, head_dim: int, theta: float, like: Tensor) -> Tensor:
    """Return cosine and sine of the angles m * theta_i of RoPE (Su et al., 2021, section 3.2.2).

    Computed when needed, since a table for a long context would outweigh the layers.

    Args:
        start: First position m.
        length: Number of positions T.
        head_dim: Size D of a head; dimension i turns together with dimension i + D / 2.
        theta: Base of the wavelengths, theta_i = theta ** (-2i / D).
        like: A tensor on the device where the table is needed.

    Returns:
        float32 tensor of shape (2, T, D / 2): cosines, then sines.
    """
    exponents = torch.arange(0, head_dim, 2, device=like.device).float() / head_dim
    positions = torch.arange(start, start + length, device=like.device).float()
    angles = torch.outer(positions, 1.0 / theta**exponents)
    return torch.stack((angles.cos(), angles.sin()))


def rotate(x: Tensor, table: Tensor) -> Tensor:
    """Turn each pair (x_i, x_{i + D/2}) of a head by its position's angle; x is (..., T, D)."""
    cos, sin = table[0], table[1]  # (T, D/2)
    first, second = x.float().chunk(2, dim=-1)
    turned = torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)
    return turned.type_as(x)
