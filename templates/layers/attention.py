"""Causal attention with grouped key and value heads, over all past positions or a window."""

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from layers.cache import KVCache
from layers.rope import RotaryTable, rotate


def causal_attention(q: Tensor, k: Tensor, v: Tensor, window: int | None = None) -> Tensor:
    """Return softmax(q k^T / sqrt(D)) v (Vaswani et al., 2017, equation 1), over past positions.

    q is (B, H, T, D), k and v (B, K, S, D); the last T of them have the queries' positions. With a
    window, a query attends to the newest `window` of them.
    """
    length, past = q.size(2), k.size(2) - q.size(2)
    if not past:
        return F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
    mask = None
    if length > 1 or window is not None:  # A single token is the newest, so it attends to all.
        # A later chunk attends to the whole past and to a triangle of its own.
        mask = q.new_ones(length, k.size(2), dtype=torch.bool).tril(past)
        mask = mask if window is None else mask.triu(past + 1 - window)
    return masked_attention(q, k, v, mask)


def masked_attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
    """Return softmax(q k^T / sqrt(D)) v over the positions where a mask is true, or over all.

    q is (B, H, T, D), k and v (B, K, S, D); the mask (T, S), or (B, 1, T, S) for each sequence.
    """
    # The heads of a group are rows here: GPUs have no fused kernel for a mask and shared heads.
    rows = q.reshape(q.size(0), k.size(1), -1, q.size(3))  # (B, K, H / K * T, D)
    if mask is not None:
        mask = mask.repeat(*[1] * (mask.dim() - 2), rows.size(2) // q.size(2), 1)
    return F.scaled_dot_product_attention(rows, k, v, attn_mask=mask).reshape(q.shape)


def local_attention(q: Tensor, k: Tensor, v: Tensor, window: int) -> Tensor:
    """Return causal attention to the newest `window` positions, including the query's own.

    Sliding window attention (Beltagy et al., 2020, arXiv:2004.05150, section 3.1); shapes as above.
    Blocks of W = `window` queries attend to the keys of their own block and the previous one.
    """
    batch, length, total = q.size(0), q.size(2), k.size(2)
    if total <= window:
        return causal_attention(q, k, v)
    if length < total and length <= window:  # Blocks would compute queries for the past, too.
        return causal_attention(q, k, v, window)
    past, fill = total - length, -total % window  # Padding fills the first and the last block.
    q = F.pad(q, (0, 0, past, fill)).unfold(2, window, window)  # (B, H, N, D, W)
    q = q.permute(0, 2, 1, 4, 3).flatten(0, 1)  # (B * N, H, W, D)
    pairs = (F.pad(x, (0, 0, window, fill)).unfold(2, 2 * window, window) for x in (k, v))
    k, v = (x.permute(0, 2, 1, 4, 3).flatten(0, 1) for x in pairs)  # (B * N, K, 2W, D)
    # Each query head gets a copy of its keys: GPUs have no fused kernel for a mask and shared ones.
    k, v = (x.repeat_interleave(q.size(1) // x.size(1), dim=1) for x in (k, v))
    mask = q.new_ones(q.size(0), 1, window, 2 * window, dtype=torch.bool).tril(window).triu(1)
    mask[:: q.size(0) // batch, :, :, :window] = False  # the first block has no previous one
    y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    y = y.reshape(batch, -1, *y.shape[1:]).transpose(1, 2).flatten(2, 3)  # (B, H, N * W, D)
    return y[:, :, past:total]


class Attention(nn.Module):
    """Self-attention, causal without a mask; groups of query heads share a key and value head.

    Grouped-query attention: Ainslie et al., 2023, arXiv:2305.13245.
    """

    def __init__(self, d_model: int, n_heads: int, n_kv_heads: int, head_dim: int) -> None:
        super().__init__()
        assert n_heads % n_kv_heads == 0, f"{n_heads} heads cannot share {n_kv_heads} KV heads"
        assert head_dim % 2 == 0, f"RoPE rotates pairs of dimensions: head_dim {head_dim} is odd"
        self.head_dim = head_dim
        self.attend: Callable[[Tensor, Tensor, Tensor], Tensor] = causal_attention
        self.q_proj = nn.Linear(d_model, n_heads * head_dim, bias=False)
        self.k_proj = nn.Linear(d_model, n_kv_heads * head_dim, bias=False)
        self.v_proj = nn.Linear(d_model, n_kv_heads * head_dim, bias=False)
        self.o_proj = nn.Linear(n_heads * head_dim, d_model, bias=False)

    def forward(
        self,
        x: Tensor,
        table: RotaryTable,
        cache: KVCache | None = None,
        mask: Tensor | None = None,
    ) -> Tensor:
        """Mix positions; x is (B, T, d_model), the table's tensors are (T, D).

        A mask takes the place of the causal one: (B, 1, T, S), true where a position attends.
        """
        heads = (x.size(0), x.size(1), -1, self.head_dim)
        q = rotate(self.q_proj(x).view(heads).transpose(1, 2), table)  # (B, H, T, D)
        k = rotate(self.k_proj(x).view(heads).transpose(1, 2), table)  # (B, K, T, D)
        v = self.v_proj(x).view(heads).transpose(1, 2)
        attend = self.attend if mask is None else partial(masked_attention, mask=mask)
        y = attend(q, k, v) if cache is None else cache.attend(q, k, v, attend)
        mixed: Tensor = self.o_proj(y.transpose(1, 2).flatten(2))
        return mixed  # (B, T, d_model)
