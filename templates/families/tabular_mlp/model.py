"""A residual MLP over embedded columns (Gorishniy et al., 2021, arXiv:2106.11959, section 3.2).

Each numeric column has an embedding of its own, linear in its value and in sines and cosines of it
(Gorishniy et al., 2022, arXiv:2203.05556, section 3.3); each category has a row of a table. The
embeddings of a row of data are put side by side and mixed, and residual blocks add interactions of
columns: a block begins as the identity, so the network begins as an additive model. The paper
normalizes over the batch; here each row is normalized by itself, so that its prediction does not
depend on its batch.

A model has room for a fixed number of columns of each kind; the columns that a table lacks are
treated as missing values. Shapes in comments: B rows, N numeric and C categorical columns.
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class Config:
    """Dimensions of the model; the defaults are the full model."""

    n_numeric: int = 32  # largest number of numeric columns
    n_categorical: int = 16  # categorical columns that the model has room for
    n_categories: int = 512  # categories of all columns, with one for missing and unknown words
    n_outputs: int = 1  # outputs: one prediction, or a score for each class
    n_frequencies: int = 8  # sines, and cosines, of each numeric value
    d_embedding: int = 16  # width of a column's embedding
    d_model: int = 256  # width of the residual stream
    n_layers: int = 3  # number of blocks
    d_ff: int = 512  # width inside a block
    dropout: float = 0.2  # share of a block's inner and outer values that training drops
    frequency_scale: float = 0.01  # standard deviation of the first frequencies
    norm_eps: float = 1e-05  # added to a variance before its root


class NumericEmbedding(nn.Module):
    """W_n [x, sin(2 pi c_n x), cos(2 pi c_n x)] + b_n for column n, and 0 where x is missing."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        columns, waves = config.n_numeric, config.n_frequencies
        self.frequencies = nn.Parameter(torch.empty(columns, waves))
        self.weight = nn.Parameter(torch.empty(columns, 2 * waves + 1, config.d_embedding))
        self.bias = nn.Parameter(torch.zeros(columns, config.d_embedding))
        nn.init.normal_(self.frequencies, std=config.frequency_scale)
        nn.init.normal_(self.weight, std=1 / math.sqrt(2 * waves + 1))

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, N), with NaN where a value is missing, to (B, N, d_embedding)."""
        present = ~x.isnan()
        x = x.nan_to_num().unsqueeze(2)  # (B, N, 1)
        angles = 2 * math.pi * x * self.frequencies.float()
        waves = torch.cat((x, angles.sin(), angles.cos()), dim=2).to(self.weight.dtype)
        embedded = torch.einsum("bnk,nkd->bnd", waves, self.weight) + self.bias
        return embedded * present.unsqueeze(2)


class Block(nn.Module):
    """x + W_2 relu(W_1 norm(x)), with dropout after the activation and at the end."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(config.d_model, config.norm_eps)
        self.linear1 = nn.Linear(config.d_model, config.d_ff)
        self.linear2 = nn.Linear(config.d_ff, config.d_model)
        self.dropout = nn.Dropout(config.dropout)
        nn.init.zeros_(self.linear2.weight)  # A block begins as the identity.
        nn.init.zeros_(self.linear2.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, d_model) to (B, d_model)."""
        hidden = self.dropout(F.relu(self.linear1(self.norm(x))))  # (B, d_ff)
        out: Tensor = x + self.dropout(self.linear2(hidden))
        return out


class Model(nn.Module):
    """The network; its tensors keep their own names, since transformers has no counterpart."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.numeric = NumericEmbedding(config)
        self.categories = nn.Embedding(config.n_categories, config.d_embedding)
        columns = config.n_numeric + config.n_categorical
        self.mix = nn.Linear(columns * config.d_embedding, config.d_model)
        self.layers = nn.ModuleList(Block(config) for _ in range(config.n_layers))
        self.head = nn.Linear(config.d_model, config.n_outputs)
        nn.init.zeros_(self.head.weight)  # All rows begin with the same output.

    def forward(self, numbers: Tensor, categories: Tensor) -> Tensor:
        """Return outputs (B, n_outputs).

        Args:
            numbers: (B, N) standardized values, with mean 0 and standard deviation 1 in each
                column; NaN where one is missing.
            categories: (B, C) rows of the table of categories; 0 where one is missing or unknown.
        """
        embedded = (self.numeric(numbers.float()), self.categories(categories))
        x = self.mix(torch.cat(embedded, dim=1).flatten(1))  # (B, d_model)
        for layer in self.layers:
            x = layer(x)
        out: Tensor = self.head(x)
        return out

    def num_params(self) -> int:
        """Return the number of weights."""
        return sum(p.numel() for p in self.parameters())

    def checkpoint_name(self, name: str) -> str:
        """Return the name of a parameter in a checkpoint: its own."""
        return name

    def checkpoint_config(self) -> dict[str, Any]:
        """Return further entries of config.json: none."""
        return {}
