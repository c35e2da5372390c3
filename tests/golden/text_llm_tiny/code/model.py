"""A decoder-only language model in the Llama form (Touvron et al., 2023, arXiv:2302.13971).

Each block is x + Attention(RMSNorm(x)), then x + SwiGLU(RMSNorm(x)):

- rotary position embedding: Su et al., 2021, arXiv:2104.09864
- RMSNorm: Zhang & Sennrich, 2019, arXiv:1910.07467
- SwiGLU: Shazeer, 2020, arXiv:2002.05202
- grouped-query attention: Ainslie et al., 2023, arXiv:2305.13245

Shapes in comments: B sequences, T tokens, V vocabulary entries, H query heads, K key and value
heads, D dimensions of a head.
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

    d_model: int = 256
    """Width of the residual stream."""
    n_layers: int = 8
    """Number of blocks."""
    n_heads: int = 4
    """Query heads in each layer."""
    n_kv_heads: int = 2
    """Key and value heads in each layer; they divide n_heads."""
    head_dim: int = 64
    """Dimensions of a head; even."""
    d_ff: int = 1024
    """Width of the feed-forward layer."""
    vocab_size: int = 8192
    """Entries of the vocabulary."""
    max_seq_len: int = 512
    """Longest context, in tokens."""
    rope_theta: float = 10000.0
    """Base of RoPE's wavelengths."""
    norm_eps: float = 1e-05
    """Added to the mean square before its root."""
    tie_embeddings: bool = True
    """Whether the output layer is the embedding matrix."""


class RMSNorm(nn.Module):
    """Root mean square normalization (Zhang & Sennrich, 2019, equation 4)."""

    def __init__(self, dim: int, eps: float) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(dim))

    def forward(self, x: Tensor) -> Tensor:
        """Scale the last dimension to a root mean square of one, then by a learned gain."""
        # In float32 even under bf16: the mean of squares needs the digits.
        x32 = x.float()
        inverse_rms = torch.rsqrt(x32.pow(2).mean(-1, keepdim=True) + self.eps)
        return self.weight * (x32 * inverse_rms).type_as(x)


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


def rotate(x: Tensor, table: Tensor) -> Tensor:
    """Turn each pair (x_i, x_{i + D/2}) of a head by its position's angle; x is (..., T, D)."""
    cos, sin = table[0], table[1]  # (T, D/2)
    first, second = x.float().chunk(2, dim=-1)
    turned = torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)
    return turned.type_as(x)


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


class SwiGLU(nn.Module):
    """Gated feed-forward layer: down(silu(gate(x)) * up(x)) (Shazeer, 2020, equation 6)."""

    def __init__(self, d_model: int, d_ff: int) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(d_model, d_ff, bias=False)
        self.up_proj = nn.Linear(d_model, d_ff, bias=False)
        self.down_proj = nn.Linear(d_ff, d_model, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., d_model) to (..., d_model)."""
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

    def forward(
        self, x: Tensor, table: Tensor, cache: KVCache | None = None, layer: int = 0
    ) -> Tensor:
        """Map (B, T, d_model) to (B, T, d_model)."""
        x = x + self.self_attn(self.input_layernorm(x), table, cache, layer)
        x = x + self.mlp(self.post_attention_layernorm(x))
        return x


def rotary_table(start: int, length: int, head_dim: int, theta: float, like: Tensor) -> Tensor:
    """Return cosine and sine of the angles m * theta_i of RoPE (Su et al., 2021, section 3.2.2).

    Computed when needed, since a table for a long context would outweigh the layers.

    Args:
        start: First position m.
        length: Number of positions T.
        head_dim: Size D of a head; dimension i turns together with dimension i + D / 2.
        theta: Base of the wavelengths, theta_i = theta ** (-2i / D).
        like: A tensor on the device where the table is needed.

    Returns:
        float32 tensor of shape (2, T, D / 2): cosines, then sines.
    """
    exponents = torch.arange(0, head_dim, 2, device=like.device).float() / head_dim
    positions = torch.arange(start, start + length, device=like.device).float()
    angles = torch.outer(positions, 1.0 / theta**exponents)
    return torch.stack((angles.cos(), angles.sin()))


class Model(nn.Module):
    """The language model."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.embed_tokens = nn.Embedding(config.vocab_size, config.d_model)
        self.layers = nn.ModuleList(Block(config) for _ in range(config.n_layers))
        self.norm = RMSNorm(config.d_model, config.norm_eps)
        self.lm_head: nn.Linear | None = None  # tied: the embedding matrix, turned around
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
        self, tokens: Tensor, targets: Tensor | None = None, cache: KVCache | None = None
    ) -> Tensor:
        """Predict the next token at every position.

        Args:
            tokens: (B, T) token ids; with a cache, those that follow the ones it holds.
            targets: (B, T) the token after each; -1 where there is nothing to predict.
            cache: Keys and values of the tokens so far, from `new_cache`; it is moved on by T.

        Returns:
            Logits (B, T, V); with targets, their mean cross-entropy in nats per token, a scalar.
        """
        config, length = self.config, tokens.size(1)
        start = 0 if cache is None else cache.length
        assert start + length <= config.max_seq_len, (
            f"{start + length} tokens exceed the context of {config.max_seq_len}"
        )
        x = self.embed_tokens(tokens)  # (B, T, d_model)
        table = rotary_table(start, length, config.head_dim, config.rope_theta, x)
        for index, layer in enumerate(self.layers):
            x = layer(x, table, cache, index)
        if cache is not None:
            cache.length += length
        x = self.norm(x)
        logits: Tensor  # (B, T, V)
        logits = F.linear(x, self.embed_tokens.weight) if self.lm_head is None else self.lm_head(x)
        if targets is None:
            return logits
        return F.cross_entropy(logits.flatten(0, 1).float(), targets.flatten(), ignore_index=-1)

    def new_cache(self, batch: int, max_len: int) -> KVCache:
        """Return an empty cache for sequences of up to max_len tokens, in the weights' dtype."""
        config, weight = self.config, self.norm.weight
        return KVCache(
            config.n_layers, batch, config.n_kv_heads, max_len, config.head_dim, like=weight
        )

    def num_params(self) -> int:
        """Return the number of weights; a tied output layer counts once."""
        return sum(p.numel() for p in self.parameters())

    def checkpoint_name(self, name: str) -> str:
        """Return the name of a parameter in transformers' LlamaForCausalLM."""
        return name if name.startswith("lm_head.") else f"model.{name}"

    def checkpoint_config(self) -> dict[str, Any]:
        """Return the config.json with which transformers loads a checkpoint as Llama."""
        config = self.config
        return {
            "architectures": ["LlamaForCausalLM"],
            "model_type": "llama",
            "hidden_size": config.d_model,
            "num_hidden_layers": config.n_layers,
            "num_attention_heads": config.n_heads,
            "num_key_value_heads": config.n_kv_heads,
            "head_dim": config.head_dim,
            "intermediate_size": config.d_ff,
            "vocab_size": config.vocab_size,
            "max_position_embeddings": config.max_seq_len,
            "rope_theta": config.rope_theta,
            "rms_norm_eps": config.norm_eps,
            "tie_word_embeddings": config.tie_embeddings,
            "hidden_act": "silu",
            "attention_bias": False,
            "mlp_bias": False,
            "torch_dtype": "float32",
        }
