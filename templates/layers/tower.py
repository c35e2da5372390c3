"""The Transformer block of the towers of CLIP and SigLIP, whose linear layers have biases.

Shapes in comments: B sequences, T positions, D the width.
"""

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn

Activation = Callable[[Tensor], Tensor]


class TowerAttention(nn.Module):
    """Multi-head attention (Vaswani et al., 2017, arXiv:1706.03762, section 3.2)."""

    def __init__(self, d_model: int, n_heads: int, *, causal: bool) -> None:
        super().__init__()
        assert d_model % n_heads == 0, f"{n_heads} heads cannot share a width of {d_model}"
        self.n_heads, self.causal = n_heads, causal
        self.q_proj = nn.Linear(d_model, d_model)
        self.k_proj = nn.Linear(d_model, d_model)
        self.v_proj = nn.Linear(d_model, d_model)
        self.out_proj = nn.Linear(d_model, d_model)

    def forward(self, x: Tensor) -> Tensor:
        """Mix positions; x is (B, T, D)."""
        heads = (x.size(0), x.size(1), self.n_heads, -1)
        q, k, v = (
            project(x).view(heads).transpose(1, 2)  # (B, n_heads, T, D / n_heads)
            for project in (self.q_proj, self.k_proj, self.v_proj)
        )
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=self.causal)
        out: Tensor = self.out_proj(mixed.transpose(1, 2).flatten(2))
        return out


class TowerMLP(nn.Module):
    """Feed-forward layer."""

    def __init__(self, d_model: int, d_ff: int, activation: Activation) -> None:
        super().__init__()
        self.activation = activation
        self.fc1 = nn.Linear(d_model, d_ff)
        self.fc2 = nn.Linear(d_ff, d_model)

    def forward(self, x: Tensor) -> Tensor:
        """Map each position separately; x is (B, T, D)."""
        out: Tensor = self.fc2(self.activation(self.fc1(x)))
        return out


class TowerBlock(nn.Module):
    """One layer: attention, then the feed-forward layer, each on a normalized input."""

    def __init__(
        self,
        d_model: int,
        n_heads: int,
        d_ff: int,
        eps: float,
        activation: Activation,
        *,
        causal: bool = False,
    ) -> None:
        super().__init__()
        self.layer_norm1 = nn.LayerNorm(d_model, eps)
        self.self_attn = TowerAttention(d_model, n_heads, causal=causal)
        self.layer_norm2 = nn.LayerNorm(d_model, eps)
        self.mlp = TowerMLP(d_model, d_ff, activation)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, T, D) to (B, T, D)."""
        x = x + self.self_attn(self.layer_norm1(x))
        x = x + self.mlp(self.layer_norm2(x))
        return x
