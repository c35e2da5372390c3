"""A decoder-only language model in the Llama form (Touvron et al., 2023, arXiv:2302.13971).

Each block is x + Attention(RMSNorm(x)), then x + SwiGLU(RMSNorm(x)). Most layers see a window
of the newest tokens, and some see all, as in Gemma 3 (2025, arXiv:2503.19786, section 2).

Shapes in comments: B sequences, T tokens, V vocabulary entries, H query heads, K key and value
heads, D dimensions of a head.
"""

import math
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from layers.attention import Attention, local_attention
from layers.cache import KVCache, RollingKVCache
from layers.mlp import SwiGLU
from layers.norm import RMSNorm
from layers.rope import RotaryTable, rotary_table


@dataclass(frozen=True)
class Config:
    """Dimensions of the model; the defaults are the full model."""

    d_model: int = 512  # width of the residual stream
    n_layers: int = 8  # number of blocks
    n_heads: int = 8  # query heads in each layer
    n_kv_heads: int = 2  # key and value heads in each layer; they divide n_heads
    head_dim: int = 64  # dimensions of a head; even
    d_ff: int = 1408  # width of the feed-forward layer
    vocab_size: int = 256  # entries of the vocabulary
    max_seq_len: int = 2048  # longest context, in tokens
    window: int = 512  # tokens that a local layer attends to, including its own
    global_every: int = 6  # every n-th layer attends to the whole context
    rope_theta: float = 10000.0  # base of RoPE's wavelengths
    norm_eps: float = 1e-05  # added to the mean square before its root
    tie_embeddings: bool = True  # whether the output layer is the embedding matrix

    def sees(self, layer: int) -> int:
        """Return how many tokens a layer, counted from 0, sees; a global layer sees all of them."""
        return self.window if (layer + 1) % self.global_every else self.max_seq_len


class Block(nn.Module):
    """One layer: attention, then the feed-forward network, each on a normalized input."""

    def __init__(self, config: Config, layer: int) -> None:
        super().__init__()
        self.input_layernorm = RMSNorm(config.d_model, config.norm_eps)
        self.self_attn = Attention(
            config.d_model, config.n_heads, config.n_kv_heads, config.head_dim
        )
        self.self_attn.attend = partial(local_attention, window=config.sees(layer))
        self.post_attention_layernorm = RMSNorm(config.d_model, config.norm_eps)
        self.mlp = SwiGLU(config.d_model, config.d_ff)

    def forward(self, x: Tensor, table: RotaryTable, cache: KVCache | None = None) -> Tensor:
        """Map (B, T, d_model) to (B, T, d_model)."""
        x = x + self.self_attn(self.input_layernorm(x), table, cache)
        x = x + self.mlp(self.post_attention_layernorm(x))
        return x


class Model(nn.Module):
    """The language model."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.embed_tokens = nn.Embedding(config.vocab_size, config.d_model)
        self.layers = nn.ModuleList(Block(config, i) for i in range(config.n_layers))
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
        """Return a cache for each layer, as long as what it sees, in the weights' dtype.

        With `shares`, so many processes divide the heads of each layer.
        """
        c, like, heads = self.config, self.norm.weight, self.config.n_kv_heads // shares
        sizes = [min(c.sees(layer), max_len) for layer in range(c.n_layers)]
        return [RollingKVCache(batch, heads, size, c.head_dim, like) for size in sizes]

    def num_params(self) -> int:
        """Return the number of weights; a tied output layer counts once."""
        return sum(p.numel() for p in self.parameters())

    def checkpoint_name(self, name: str) -> str:
        """Return the name of a parameter in transformers' MinistralForCausalLM."""
        return name if name.startswith("lm_head.") else f"model.{name}"

    def checkpoint_config(self) -> dict[str, Any]:
        """Return further entries of config.json, with which transformers loads it as Ministral."""
        config = self.config
        local = [config.sees(layer) == config.window for layer in range(config.n_layers)]
        return {
            "architectures": ["MinistralForCausalLM"],
            "model_type": "ministral",
            "hidden_size": config.d_model,
            "num_hidden_layers": config.n_layers,
            "num_attention_heads": config.n_heads,
            "num_key_value_heads": config.n_kv_heads,
            "intermediate_size": config.d_ff,
            "max_position_embeddings": config.max_seq_len,
            "sliding_window": config.window,
            "layer_types": [f"{'sliding' if each else 'full'}_attention" for each in local],
            "rope_parameters": {"rope_type": "default", "rope_theta": config.rope_theta},
            "rms_norm_eps": config.norm_eps,
            "tie_word_embeddings": config.tie_embeddings,
        }
