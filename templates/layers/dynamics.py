"""An ensemble of networks that say what follows an action, and how sure each of them is.

Those of Chua et al. (2018, arXiv:1805.12114): each network gives a mean and a variance of every
number; where they differ, the environment is not known yet.

Shapes in comments: B observations, N networks, S the reward and the numbers of an observation.
"""

import itertools
import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Ahead(NamedTuple):
    """What each network expects to follow.

    Attributes:
        mean: The standardized reward, and by how much each such number changes, (N, B, S).
        log_variance: Logarithm of the variance of each, (N, B, S).
        ends: Logit of the episode's end, (N, B, 1); (N, B, 0) where ends are not predicted.
        bounds: Within which the logarithms lie softly: the highest and the lowest, (2, S).
    """

    mean: Tensor
    log_variance: Tensor
    ends: Tensor
    bounds: Tensor


class Parallel(nn.Module):
    """A linear layer of each of N networks."""

    def __init__(self, networks: int, inputs: int, outputs: int) -> None:
        super().__init__()
        # A normal distribution cut off at two deviations, as in the code of MBPO's authors. It is
        # drawn through its inverse: torch's own draws again, which tensors without memory cannot.
        most = math.erf(2 / math.sqrt(2))
        weight = torch.empty(networks, inputs, outputs).uniform_(-most, most).erfinv()
        self.weight = nn.Parameter(weight / (2 * inputs) ** 0.5)
        self.bias = nn.Parameter(torch.zeros(networks, 1, outputs))

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, B, inputs) to (N, B, outputs)."""
        return torch.baddbmm(self.bias, x, self.weight)


class Ensemble(nn.Module):
    """N networks of one shape, and the error of each on transitions it had not learned from."""

    errors: Tensor

    def __init__(
        self, networks: int, inputs: int, width: int, depth: int, predicted: int, ends: int
    ) -> None:
        super().__init__()
        self.predicted = predicted
        sizes = (inputs, *[width] * depth, 2 * predicted + ends)
        self.linear = nn.ModuleList(Parallel(networks, a, b) for a, b in itertools.pairwise(sizes))
        highest, lowest = torch.full((predicted,), 0.5), torch.full((predicted,), -10.0)
        self.bounds = nn.Parameter(torch.stack((highest, lowest)))
        self.register_buffer("errors", torch.zeros(networks))

    def forward(self, x: Tensor) -> Ahead:
        """Return what each network expects.

        Args:
            x: What is standardized and done, (B, inputs), or for each network, (B, N, inputs).
        """
        networks = len(self.errors)
        x = x.expand(networks, *x.shape) if x.dim() == 2 else x.transpose(0, 1)
        for layer in self.linear:
            x = layer(x if layer is self.linear[0] else F.silu(x))
        sizes = [self.predicted, self.predicted, x.size(2) - 2 * self.predicted]
        mean, raw, ends = torch.split(x.float(), sizes, 2)
        highest, lowest = self.bounds.float()
        capped = highest - F.softplus(highest - raw)
        return Ahead(mean, lowest + F.softplus(capped - lowest), ends, self.bounds.float())

    def best(self, count: int) -> Tensor:
        """Return the numbers of the networks with the lowest errors, (count,)."""
        return self.errors.argsort(stable=True)[:count]
