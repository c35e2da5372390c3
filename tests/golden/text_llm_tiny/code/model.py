"""A decoder-only language model in the Llama form (Touvron et al., 2023, arXiv:2302.13971).

Each block is x + Attention(RMSNorm(x)), then x + SwiGLU(RMSNorm(x)).

Shapes in comments: B sequences, T tokens, V vocabulary entries, H query heads, K key and value
heads, D dimensions of a head.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class Config:
    """Dimensions of the model; the defaults are the full model."""

    d_model: int = 384  # width of the residual stream
    n_layers: int = 6  # number of blocks
    n_heads: int = 6  # query heads in each layer
    n_kv_heads: int = 2  # key and value heads in each layer; they divide n_heads
    head_dim: int = 64  # dimensions of a head; even
    d_ff: int = 872  # width of the feed-forward layer
    vocab_size: int = 4096  # entries of the vocabulary
    max_seq_len: int = 512  # longest context, in tokens
    rope_theta: float = 10000.0  # base of RoPE's wavelengths
    norm_eps: float = 1e-05  # added to the mean square before its root
    tie_embeddings: bool = True  # whether the output layer is the embedding matrix


class RMSNorm(nn.Module):
    """Root mean square normalization (Zhang & Sennrich, 2019, arXiv:1910.07467, equation 4)."""

    def __init__(self, dim: int, eps: float) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(dim))

    def forward(self, x: Tensor) -> Tensor:
        """Return x / sqrt(mean(x^2) + eps) * weight, over the last dimension."""
        return F.rms_norm(x, self.weight.shape, self.weight, self.eps)


def masked_attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
    """Return softmax(q k^T / sqrt(D)) v over the positions where a mask is true, or over all.

    q is (B, H, T, D), k and v (B, K, S, D); the mask (T, S), or (B, 1, T, S) for each sequence.
    """
    # The heads of a group are rows here: GPUs have no fused kernel for a mask and shared heads.
    rows = q.reshape(q.size(0), k.size(1), -1, q.size(3))  # (B, K, H / K * T, D)
    if mask is not None:
        mask = mask.repeat(*[1] * (mask.dim() - 2), rows.size(2) // q.size(2), 1)
    return F.scaled_dot_product_attention(rows, k, v, attn_mask=mask).reshape(q.shape)


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


RotaryTable = tuple[Tensor, Tensor]


class KVCache:
    """Keys and values of a layer's past positions, allocated once; for use without gradients."""

    def __init__(self, batch: int, n_kv_heads: int, size: int, head_dim: int, like: Tensor) -> None:
        self.store = like.new_zeros(2, batch, n_kv_heads, size, head_dim)  # keys, then values
        self.size, self.length = size, 0

    def attend(self, q: Tensor, k: Tensor, v: Tensor, attend: Callable[..., Tensor]) -> Tensor:
        """Keep T new positions, and return attention to them and to those before.

        q is (B, H, T, D), k and v are (B, K, T, D); `attend` takes all keys and values.
        """
        return attend(q, *self.extend(k, v))

    def extend(self, k: Tensor, v: Tensor) -> tuple[Tensor, ...]:
        """Write keys and values of T new positions, (B, K, T, D), and return all so far."""
        start, end = self.length, self.length + k.size(2)
        assert end <= self.size, f"the KV cache has room for {self.size} positions, not {end}"
        self.store[:, :, :, start:end] = torch.stack((k, v))
        self.length = end
        return tuple(self.store[:, :, :, :end])  # twice (B, K, length, D)


def rotate(x: Tensor, table: RotaryTable) -> Tensor:
    """Rotate each pair (x_i, x_{i + D/2}) of a head by its position's angle; x is (..., T, D).

    x_i cos - x_{i + D/2} sin, and x_{i + D/2} cos + x_i sin (Su et al., 2021, equation 34).
    """
    cos, sin = table  # float32: so are the products
    partner = x.roll(x.size(-1) // 2, dims=-1)
    return (x * cos + partner * sin).type_as(x)


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


class SwiGLU(nn.Module):
    """Gated feed-forward layer (Shazeer, 2020, arXiv:2002.05202, equation 6)."""

    def __init__(self, d_model: int, d_ff: int) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(d_model, d_ff, bias=False)
        self.up_proj = nn.Linear(d_model, d_ff, bias=False)
        self.down_proj = nn.Linear(d_ff, d_model, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return down(silu(gate(x)) * up(x)); x is (..., d_model)."""
        out: Tensor = self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))
        return out


class Block(nn.Module):
    """One layer: attention, then the feed-forward network, each on a normalized input."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.input_layernorm = RMSNorm(config.d_model, config.norm_eps)
        self.self_attn = Attention(
            config.d_model, config.n_heads, config.n_kv_heads, config.head_dim
        )
        self.post_attention_layernorm = RMSNorm(config.d_model, config.norm_eps)
        self.mlp = SwiGLU(config.d_model, config.d_ff)

    def forward(self, x: Tensor, table: RotaryTable, cache: KVCache | None = None) -> Tensor:
        """Map (B, T, d_model) to (B, T, d_model)."""
        x = x + self.self_attn(self.input_layernorm(x), table, cache)
        x = x + self.mlp(self.post_attention_layernorm(x))
        return x


def rotary_table(start: int, length: int, head_dim: int, theta: float, like: Tensor) -> RotaryTable:
    """Return cosine and sine of the angles m * theta_i of RoPE (Su et al., 2021, section 3.2.2).

    theta_i = theta ** (-2i / D), and m counts from `start`; arXiv:2104.09864. Computed when needed,
    since a table for a long context would outweigh the layers. Both are (T, D), float32; the sines
    are negative for the first of a pair.
    """
    exponents = torch.arange(0, head_dim, 2, device=like.device).float() / head_dim
    positions = torch.arange(start, start + length, device=like.device).float()
    angles = torch.outer(positions, theta**-exponents)  # (T, D/2)
    cos, sin = angles.cos(), angles.sin()
    return torch.cat((cos, cos), dim=-1), torch.cat((-sin, sin), dim=-1)


class Model(nn.Module):
    """The language model."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.embed_tokens = nn.Embedding(config.vocab_size, config.d_model)
        self.layers = nn.ModuleList(Block(config) for _ in range(config.n_layers))
        self.norm = RMSNorm(config.d_model, config.norm_eps)
        self.lm_head: nn.Linear | None = None  # None if tied to the embedding matrix
        if not config.tie_embeddings:
            self.lm_head = nn.Linear(config.d_model, config.vocab_size, bias=False)
        self._init_weights()

    def _init_weights(self) -> None:
        """Draw matrices from N(0, 1 / fan-in); those that write to the residual stream, smaller.

        The 2L writes add up, so each is scaled by 1 / sqrt(2L) (Radford et al., 2019, section 2.3).
        """
        for name, weight in self.named_parameters():
            if weight.dim() == 2:
                writes = name.endswith(("o_proj.weight", "down_proj.weight"))
                scale = 1 / math.sqrt(2 * self.config.n_layers) if writes else 1.0
                nn.init.normal_(weight, std=scale / math.sqrt(weight.size(1)))

    def forward(
        self, tokens: Tensor, targets: Tensor | None = None, cache: list[KVCache] | None = None
    ) -> Tensor:
        """Return logits (B, T, V), or with targets their mean cross-entropy in nats per token.

        Args:
            tokens: (B, T) token ids; with a cache, those that follow the ones it holds.
            targets: (B, T) the token after each; -1 where there is nothing to predict.
            cache: Keys and values of the tokens so far, from `new_cache`; T more are added.
        """
        config, length = self.config, tokens.size(1)
        start, limit = 0 if cache is None else cache[0].length, config.max_seq_len
        assert start + length <= limit, f"{start + length} tokens exceed the context of {limit}"
        x = self.embed_tokens(tokens)  # (B, T, d_model)
        table = rotary_table(start, length, config.head_dim, config.rope_theta, x)
        for index, layer in enumerate(self.layers):
            x = layer(x, table, None if cache is None else cache[index])
        x = self.norm(x)
        logits: Tensor  # (B, T, V)
        logits = F.linear(x, self.embed_tokens.weight) if self.lm_head is None else self.lm_head(x)
        if targets is None:
            return logits
        return F.cross_entropy(logits.flatten(0, 1).float(), targets.flatten(), ignore_index=-1)

    def new_cache(self, batch: int, max_len: int, shares: int = 1) -> list[KVCache]:
        """Return an empty cache a layer for up to max_len tokens, in the weights' dtype.

        With `shares`, so many processes divide the heads of each layer.
        """
        c, like, heads = self.config, self.norm.weight, self.config.n_kv_heads // shares
        return [KVCache(batch, heads, max_len, c.head_dim, like) for _ in self.layers]

    def num_params(self) -> int:
        """Return the number of weights; a tied output layer counts once."""
        return sum(p.numel() for p in self.parameters())

    def checkpoint_name(self, name: str) -> str:
        """Return the name of a parameter in transformers' LlamaForCausalLM."""
        return name if name.startswith("lm_head.") else f"model.{name}"

    def checkpoint_config(self) -> dict[str, Any]:
        """Return further entries of config.json, with which transformers loads it as Llama.

        Its Llama refuses heads that do not divide d_model; its Mistral is the same network then.
        """
        config = self.config
        name = "Mistral" if config.d_model % config.n_heads else "Llama"
        return {
            "architectures": [f"{name}ForCausalLM"],
            "model_type": name.lower(),
            "sliding_window": None,  # Mistral's layers then attend to all tokens.
            "hidden_size": config.d_model,
            "num_hidden_layers": config.n_layers,
            "num_attention_heads": config.n_heads,
            "num_key_value_heads": config.n_kv_heads,
            "intermediate_size": config.d_ff,
            "max_position_embeddings": config.max_seq_len,
            "rope_parameters": {"rope_type": "default", "rope_theta": config.rope_theta},
            "rms_norm_eps": config.norm_eps,
            "tie_word_embeddings": config.tie_embeddings,
        }
