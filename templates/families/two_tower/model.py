"""Two towers: a user by its history and an item by its id, as vectors whose product is a score.

The towers are those of neural retrieval (Yi et al., 2019, doi:10.1145/3298689.3346996). The user
tower reads the history by the Transformer of SASRec (Kang & McAuley, 2018, arXiv:1808.09781), or
takes the mean of its items (Covington et al., 2016, doi:10.1145/2959100.2959190). Both share the
table of items. A user has no id of its own, so a new one needs no training.

Shapes in comments: B users, N items, T items of a history, D dimensions, F features.
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

NO_ITEM = 0  # fills a short history, and stands for an item that training did not see


@dataclass(frozen=True)
class Config:
    """Dimensions of the model; the defaults are the full model."""

    num_items: int = 26744  # items of the catalogue
    history_length: int = 200  # latest items of a user that are read, at most
    node_features: int = 128  # numbers that describe a user, and an item; 0 for none
    edge_features: int = 32  # numbers that describe an interaction of the history; 0 for none
    ordered: bool = True  # whether the order of a history counts; false reads it as a set
    d_model: int = 256  # width of the towers
    user_layers: int = 2  # Transformer blocks of the user tower; 0 takes the mean of its items
    n_heads: int = 4  # attention heads of a block; they divide d_model
    d_ff: int = 256  # width of a feed-forward layer
    d_tower: int = 0  # width of a hidden layer at the end of both towers; 0 for none
    dropout: float = 0.2  # share of numbers that training sets to 0
    norm_eps: float = 1e-08  # added to a variance before its root


class Block(nn.Module):
    """Attention, then a feed-forward layer, each on a normalized input (SASRec, section 3.2)."""

    def __init__(self, c: Config) -> None:
        super().__init__()
        assert c.d_model % c.n_heads == 0, f"{c.n_heads} heads cannot share a width of {c.d_model}"
        self.n_heads, self.ordered = c.n_heads, c.ordered
        self.attention_norm = nn.LayerNorm(c.d_model, c.norm_eps)
        self.q_proj = nn.Linear(c.d_model, c.d_model)
        self.k_proj = nn.Linear(c.d_model, c.d_model)
        self.v_proj = nn.Linear(c.d_model, c.d_model)
        self.out_proj = nn.Linear(c.d_model, c.d_model)
        self.mlp_norm = nn.LayerNorm(c.d_model, c.norm_eps)
        self.up_proj = nn.Linear(c.d_model, c.d_ff)
        self.down_proj = nn.Linear(c.d_ff, c.d_model)
        self.drop = nn.Dropout(c.dropout)

    def forward(self, x: Tensor, present: Tensor) -> Tensor:
        """Map (B, T, D) to (B, T, D); `present` (B, T) says where a history has an item."""
        x = x + self.drop(self.mix(self.attention_norm(x), present))
        inner = F.relu(self.up_proj(self.mlp_norm(x)))  # (B, T, d_ff)
        out: Tensor = x + self.drop(self.down_proj(inner))
        return out

    def mix(self, x: Tensor, present: Tensor) -> Tensor:
        """Return what each item takes from those before it, or of a set from all: (B, T, D)."""
        heads = (x.size(0), x.size(1), self.n_heads, -1)
        q, k, v = (
            project(x).view(heads).transpose(1, 2)  # (B, n_heads, T, D / n_heads)
            for project in (self.q_proj, self.k_proj, self.v_proj)
        )
        # What fills a short history comes after it, so a causal order hides it without a mask.
        mask = None if self.ordered else present[:, None, None]  # (B, 1, 1, T)
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=self.ordered)
        out: Tensor = self.out_proj(mixed.transpose(1, 2).flatten(2))
        return out


class Model(nn.Module):
    """The two towers; the score of an item for a user is the product of their vectors."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        c = self.config = config
        self.items = nn.Embedding(c.num_items + 1, c.d_model)
        if c.ordered:
            self.positions = nn.Embedding(c.history_length, c.d_model)
        if c.edge_features:
            self.interaction = nn.Linear(c.edge_features, c.d_model, bias=False)
        if c.node_features:
            self.user_features = nn.Linear(c.node_features, c.d_model, bias=False)
            self.item_features = nn.Linear(c.node_features, c.d_model, bias=False)
        self.layers = nn.ModuleList(Block(c) for _ in range(c.user_layers))
        self.norm = nn.LayerNorm(c.d_model, c.norm_eps)
        self.user_tower, self.item_tower = tower(c), tower(c)
        self.drop = nn.Dropout(c.dropout)
        self._init_weights()

    def _init_weights(self) -> None:
        """Draw weights so that a score of the untrained model has a variance of about 1.

        A row of the item table has a length of 1 and a normalized user one of sqrt(D). The 2L
        outputs that the blocks add to the stream are scaled by 1 / sqrt(2L).
        """
        writes = 1 / math.sqrt(2 * max(1, len(self.layers)))
        for name, weight in self.named_parameters():
            if name.startswith(("positions", "interaction", "user_features", "item_features")):
                nn.init.normal_(weight, std=0.02)
            elif weight.dim() > 1:
                scale = writes if name.endswith(("out_proj.weight", "down_proj.weight")) else 1.0
                nn.init.normal_(weight, std=scale * weight.size(1) ** -0.5)
            elif name.endswith("bias"):
                nn.init.zeros_(weight)

    def encode_users(self, history: Tensor, edges: Tensor, users: Tensor) -> Tensor:
        """Return the vectors of users (B, D).

        Args:
            history: Numbers of their items, the latest last, then NO_ITEM to the end: (B, T).
            edges: Features of these interactions, (B, T, F).
            users: Features of the users, (B, F).
        """
        lengths = (history != NO_ITEM).sum(1).clamp_min(1)  # (B,)
        place = torch.arange(history.size(1), device=history.device)  # (T,)
        present = place < lengths[:, None]  # (B, T)
        x = math.sqrt(self.config.d_model) * self.items(history)  # (B, T, D)
        if self.config.ordered:
            # Positions count from the latest item, which histories of all lengths have.
            x = x + self.positions((lengths[:, None] - 1 - place).clamp_min(0))
        if self.config.edge_features:
            x = x + self.interaction(edges)
        x = self.drop(x)
        for layer in self.layers:
            x = layer(x, present)
        user = self.read(x, present, lengths)
        if self.config.node_features:
            user = user + self.user_features(users)
        vectors: Tensor = self.user_tower(self.norm(user))
        return vectors

    def read(self, x: Tensor, present: Tensor, lengths: Tensor) -> Tensor:
        """Return what a history comes to: its latest place, or of a set the mean; (B, D)."""
        if self.config.ordered:
            return x[torch.arange(len(x), device=x.device), lengths - 1]
        return (x * present[:, :, None]).sum(1) / lengths[:, None]

    def encode_items(self, items: Tensor, features: Tensor) -> Tensor:
        """Return the vectors (N, D) of items by their numbers (N,) and features (N, F)."""
        x = self.items(items)
        if self.config.node_features:
            x = x + self.item_features(features)
        vectors: Tensor = self.item_tower(x)
        return vectors

    def forward(
        self, history: Tensor, edges: Tensor, users: Tensor, items: Tensor, features: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the vectors of users (B, D) and of items (N, D), whose products are scores."""
        return self.encode_users(history, edges, users), self.encode_items(items, features)

    def num_params(self) -> int:
        """Return the number of weights and biases."""
        return sum(p.numel() for p in self.parameters())

    def checkpoint_name(self, name: str) -> str:
        """Return the name of a tensor in a checkpoint: its own."""
        return name

    def checkpoint_config(self) -> dict[str, Any]:
        """Return what config.json needs beside `Config`."""
        return {"model_type": "two_tower"}


def tower(c: Config) -> nn.Module:
    """Return the layers at the end of a tower (Yi et al., section 5.2), or none."""
    if not c.d_tower:
        return nn.Identity()
    return nn.Sequential(
        nn.Linear(c.d_model, c.d_tower), nn.ReLU(), nn.Linear(c.d_tower, c.d_model)
    )
