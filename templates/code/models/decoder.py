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

import torch.nn.functional as F
from torch import Tensor, nn

from layers.attention import Attention, KVCache
from layers.mlp import SwiGLU
from layers.norm import RMSNorm
from layers.rope import rotary_table


@dataclass(frozen=True)
class Config:
    """Dimensions of the model; the defaults are the full model."""

    d_model: int = 512
    """Width of the residual stream."""
    n_layers: int = 8
    """Number of blocks."""
    n_heads: int = 8
    """Query heads in each layer."""
    n_kv_heads: int = 2
    """Key and value heads in each layer; they divide n_heads."""
    head_dim: int = 64
    """Dimensions of a head; even."""
    d_ff: int = 1408
    """Width of the feed-forward layer."""
    vocab_size: int = 256
    """Entries of the vocabulary."""
    max_seq_len: int = 2048
    """Longest context, in tokens."""
    rope_theta: float = 10000.0
    """Base of RoPE's wavelengths."""
    norm_eps: float = 1e-05
    """Added to the mean square before its root."""
    tie_embeddings: bool = True
    """Whether the output layer is the embedding matrix."""


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
