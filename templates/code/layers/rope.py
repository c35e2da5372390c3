"""Rotary position embedding."""

import torch
from torch import Tensor


def rotary_angles(start: int, length: int, head_dim: int, theta: float, like: Tensor) -> Tensor:
    """Return the angles m * theta_i of RoPE (Su et al., 2021, section 3.2.2) for some positions.

    Computed when needed, since a table for a long context would outweigh the layers.

    Args:
        start: First position m.
        length: Number of positions.
        head_dim: Size of a head; dimension i turns together with dimension i + head_dim / 2.
        theta: Base of the wavelengths, theta_i = theta ** (-2i / head_dim).
        like: A tensor on the device where the angles are needed.

    Returns:
        float32 tensor of shape (length, head_dim / 2).
    """
    exponents = torch.arange(0, head_dim, 2, device=like.device).float() / head_dim
    positions = torch.arange(start, start + length, device=like.device).float()
    return torch.outer(positions, 1.0 / theta**exponents)


def rotate(x: Tensor, angles: Tensor) -> Tensor:
    """Turn each pair (x_i, x_{i + D/2}) of a head by its position's angle; x is (..., T, D)."""
    cos, sin = angles.cos(), angles.sin()  # (T, D/2)
    first, second = x.float().chunk(2, dim=-1)
    turned = torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)
    return turned.type_as(x)
