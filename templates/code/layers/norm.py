"""Normalization layers."""

import torch
from torch import Tensor, nn


class RMSNorm(nn.Module):
    """Root mean square normalization (Zhang & Sennrich, 2019, equation 4)."""

    def __init__(self, dim: int, eps: float) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(dim))

    def forward(self, x: Tensor) -> Tensor:
        """Scale the last dimension to a root mean square of one, then by a learned gain."""
        # In float32 even under bf16: the mean of squares needs the digits.
        x32 = x.float()
        inverse_rms = torch.rsqrt(x32.pow(2).mean(-1, keepdim=True) + self.eps)
        return self.weight * (x32 * inverse_rms).type_as(x)
