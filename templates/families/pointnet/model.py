"""PointNet labels clouds of points (Qi et al., 2017, arXiv:1612.00593).

The same small perceptron reads every point, and the largest value of each of its outputs over all
points is what is known of the cloud, so the order of points changes nothing. Two small networks of
the same form turn the input, and the features of points, by a matrix that they predict.

Shapes in comments: B clouds, P points, C numbers of a point.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class Config:
    """Dimensions of the model; the defaults are the full model."""

    n_points: int = 1024  # points of a cloud; any number passes
    num_classes: int = 40  # classes to tell apart
    width: int = 64  # features of a point in the first layers; later ones have 2 and 16 times them
    d_head: int = 512  # width of the first layer that reads the cloud; the second has 4 * width
    input_transform: bool = True  # whether a matrix turns the input
    feature_transform: bool = True  # whether a matrix turns the features of points
    dropout: float = 0.3  # share of the last hidden layer that training drops
    norm_eps: float = 1e-05  # added to a variance before its root


class Shared(nn.Module):
    """A linear layer on each point, normalized over all points of a batch, and a rectifier."""

    def __init__(self, inputs: int, outputs: int, eps: float) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, outputs)
        self.norm = nn.BatchNorm1d(outputs, eps=eps)

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., inputs) to (..., outputs)."""
        y = self.linear(x)
        return F.relu(self.norm(y.flatten(0, -2)).view(y.shape))


class Transform(nn.Module):
    """Predicts a matrix (B, k, k) from a cloud (B, P, k); near the identity at first."""

    def __init__(self, size: int, width: int, eps: float) -> None:
        super().__init__()
        self.size = size
        widths = (size, width, 2 * width, 16 * width)
        self.points = nn.Sequential(*(Shared(a, b, eps) for a, b in pairwise(widths)))
        self.cloud = nn.Sequential(
            Shared(16 * width, 8 * width, eps), Shared(8 * width, 4 * width, eps)
        )
        self.matrix = nn.Linear(4 * width, size * size)
        nn.init.zeros_(self.matrix.weight)
        nn.init.zeros_(self.matrix.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Return the matrix of each cloud."""
        whole = self.points(x).amax(1)  # (B, 16 width)
        matrix = self.matrix(self.cloud(whole)).view(-1, self.size, self.size)
        turned: Tensor = matrix + torch.eye(self.size, dtype=x.dtype, device=x.device)
        return turned


class Model(nn.Module):
    """The network; its tensors keep their own names, since transformers has no counterpart."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        w, eps = config.width, config.norm_eps
        self.input_transform = Transform(3, w, eps) if config.input_transform else None
        self.feature_transform = Transform(w, w, eps) if config.feature_transform else None
        self.layers = nn.ModuleList(
            Shared(a, b, eps) for a, b in ((3, w), (w, w), (w, w), (w, 2 * w), (2 * w, 16 * w))
        )
        self.head = nn.Sequential(
            Shared(16 * w, config.d_head, eps), Shared(config.d_head, 4 * w, eps)
        )
        self.classifier = nn.Linear(4 * w, config.num_classes)

    def forward(self, points: Tensor) -> Tensor:
        """Return the logits (B, num_classes) of clouds (B, P, 3)."""
        x = points
        if self.input_transform is not None:
            x = x @ self.input_transform(x)
        x = self.layers[1](self.layers[0](x))  # (B, P, width)
        if self.feature_transform is not None:
            x = x @ self.feature_transform(x)
        for layer in self.layers[2:]:
            x = layer(x)
        whole = self.head(x.amax(1))  # (B, 4 width)
        kept = F.dropout(whole, self.config.dropout, self.training)
        logits: Tensor = self.classifier(kept)
        return logits

    def num_params(self) -> int:
        """Return the number of weights."""
        return sum(p.numel() for p in self.parameters())

    def checkpoint_name(self, name: str) -> str:
        """Return the name of a parameter in a checkpoint: its own."""
        return name

    def checkpoint_config(self) -> dict[str, Any]:
        """Return what config.json needs beside `Config`."""
        return {"model_type": "pointnet"}
