"""Attention with grouped key and value heads, and its cache for decoding."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from layers.rope import rotate


class KVCache:
    """Keys and values of past positions, for all layers, allocated once; for use without gradients.

    Attributes:
        length: Number of positions held; the model moves it on after each forward pass.
    """

    def __init__(
        self, n_layers: int, batch: int, n_kv_heads: int, max_len: int, head_dim: int, like: Tensor
    ) -> None:
        shape = (n_layers, 2, batch, n_kv_heads, max_len, head_dim)
        self.store = like.new_zeros(shape)
        self.length = 0

    def extend(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Write the newest keys and values and return all so far.

        Shapes: (B, K, T, D) in, (B, K, length + T, D) out.
        """
        end = self.length + k.size(2)
        max_len = self.store.size(4)
        assert end <= max_len, f"the KV cache holds {max_len} positions, not {end}"
        keys, values = self.store[layer, 0], self.store[layer, 1]
        keys[:, :, self.length : end] = k
        values[:, :, self.length : end] = v
        return keys[:, :, :end], values[:, :, :end]


class Attention(nn.Module):
    """Causal self-attention; groups of query heads share a key and value head.

    Grouped-query attention (Ainslie et al., 2023); softmax(q k^T / sqrt(D)) v is equation 1 of
    Vaswani et al. (2017).
    """

    def __init__(self, d_model: int, n_heads: int, n_kv_heads: int, head_dim: int) -> None:
        super().__init__()
        assert n_heads % n_kv_heads == 0, f"{n_heads} heads cannot share {n_kv_heads} KV heads"
        assert head_dim % 2 == 0, f"RoPE turns pairs of dimensions, and head_dim {head_dim} is odd"
        self.head_dim = head_dim
        self.q_proj = nn.Linear(d_model, n_heads * head_dim, bias=False)
        self.k_proj = nn.Linear(d_model, n_kv_heads * head_dim, bias=False)
        self.v_proj = nn.Linear(d_model, n_kv_heads * head_dim, bias=False)
        self.o_proj = nn.Linear(n_heads * head_dim, d_model, bias=False)

    def forward(
        self, x: Tensor, table: Tensor, cache: KVCache | None = None, layer: int = 0
    ) -> Tensor:
        """Mix positions; x is (B, T, d_model), table (2, T, head_dim / 2)."""
        q = rotate(self._heads(self.q_proj(x)), table)  # (B, H, T, D)
        k = rotate(self._heads(self.k_proj(x)), table)  # (B, K, T, D)
        v = self._heads(self.v_proj(x))
        past = 0
        if cache is not None:
            past = cache.length
            k, v = cache.extend(layer, k, v)  # (B, K, past + T, D)
        mask = None
        if past and x.size(1) > 1:  # a later chunk sees all of the past and its own triangle
            mask = x.new_ones(x.size(1), past + x.size(1), dtype=torch.bool).tril(past)
        y = F.scaled_dot_product_attention(
            q, k, v, attn_mask=mask, is_causal=past == 0, enable_gqa=True
        )
        mixed: Tensor = self.o_proj(y.transpose(1, 2).flatten(2))  # (B, T, d_model)
        return mixed

    def _heads(self, x: Tensor) -> Tensor:
        """(B, T, N * D) -> (B, N, T, D)."""
        return x.view(x.size(0), x.size(1), -1, self.head_dim).transpose(1, 2)
