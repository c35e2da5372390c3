"""A deep autoencoder of windows of a series (Hinton & Salakhutdinov, 2006, Science 313:504).

Layers that halve in width lead to a narrow code, and their mirror image leads back. A network that
was trained on normal windows alone reconstructs anomalies badly (Sakurada & Yairi, 2014, MLSDA).
The paper's layers were trained one by one and had logistic units; these are trained together, with
rectified units.

A model has room for a fixed number of channels; a series that has fewer lacks the values of the
others. Shapes in comments: B windows, T steps, C channels.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class Config:
    """Dimensions of the model; the defaults are the full model."""

    window: int = 64  # steps that are reconstructed together
    n_channels: int = 16  # largest number of channels
    d_hidden: int = 1024  # width of the first layer; each later one has half of the one before
    n_layers: int = 3  # layers before the code
    d_latent: int = 32  # width of the code


def widths(config: Config) -> list[int]:
    """Return the widths from the input to the code."""
    hidden = [config.d_hidden // 2**layer for layer in range(config.n_layers)]
    return [config.window * config.n_channels, *hidden, config.d_latent]


class Model(nn.Module):
    """The network; its tensors keep their own names, since transformers has no counterpart."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        narrowing = list(pairwise(widths(config)))
        assert config.d_hidden // 2 ** (config.n_layers - 1) > 0, "layers cannot halve that often"
        self.encoder = nn.ModuleList(nn.Linear(a, b) for a, b in narrowing)
        self.decoder = nn.ModuleList(nn.Linear(b, a) for a, b in reversed(narrowing))

    def forward(self, x: Tensor) -> Tensor:
        """Return the reconstruction (B, T, C) of windows (B, T, C); NaN is a missing value.

        Values are standardized: their channel's mean is 0 and its standard deviation 1.
        """
        h = x.nan_to_num().flatten(1).to(next(self.parameters()).dtype)
        for layers in (self.encoder, self.decoder):
            for layer in layers[:-1]:
                h = F.relu(layer(h))
            h = layers[-1](h)  # Neither the code nor the reconstruction is rectified.
        return h.view(x.shape).float()

    def num_params(self) -> int:
        """Return the number of weights."""
        return sum(p.numel() for p in self.parameters())

    def checkpoint_name(self, name: str) -> str:
        """Return the name of a parameter in a checkpoint: its own."""
        return name

    def checkpoint_config(self) -> dict[str, Any]:
        """Return further entries of config.json: none."""
        return {}


def errors(x: Tensor, reconstruction: Tensor) -> Tensor:
    """Return the mean squared error of each window (B,) over its values; NaN is not a value."""
    present = ~x.isnan()
    squares = (reconstruction - x.nan_to_num()).square() * present
    return squares.flatten(1).sum(1) / present.flatten(1).sum(1).clamp(min=1)
