"""Stochastic depth."""

import torch
from torch import Tensor, nn


class StochasticDepth(nn.Module):
    """Leaves a residual branch out for some samples in training (arXiv:1603.09382).

    train.py sets the share of these samples, `rate`. Branches that stay are scaled up, so that
    their mean is the same as without.
    """

    def __init__(self) -> None:
        super().__init__()
        self.rate = 0.0

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, ...) to (B, ...)."""
        if not self.training or not self.rate:
            return x
        kept = torch.rand(x.size(0), *[1] * (x.dim() - 1), device=x.device) >= self.rate
        return x * kept / (1 - self.rate)
