"""The bidirectional encoder in the BERT form (Devlin et al., 2019, arXiv:1810.04805).

Shapes in comments: B sequences, T tokens, H heads, D dimensions of a head.
"""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

PAD = 0  # the token that fills a short sequence; nothing attends to it

# Names of parameters in transformers' BertModel, by the names in this file.
BERT_NAMES = {
    "tokens": "word_embeddings",
    "positions": "position_embeddings",
    "segments": "token_type_embeddings",
    "norm": "LayerNorm",
    "layers": "encoder.layer",
    "q_proj": "attention.self.query",
    "k_proj": "attention.self.key",
    "v_proj": "attention.self.value",
    "o_proj": "attention.output.dense",
    "attention_norm": "attention.output.LayerNorm",
    "up_proj": "intermediate.dense",
    "down_proj": "output.dense",
    "mlp_norm": "output.LayerNorm",
    "pooler": "pooler.dense",
}


def bert_name(name: str) -> str:
    """Return the name in transformers' BertModel of a parameter of `Encoder`, or of a pooler."""
    return ".".join(BERT_NAMES.get(part, part) for part in name.split("."))


def bert_config(config: Any) -> dict[str, Any]:
    """Return further entries of config.json, with which transformers loads it as BERT."""
    return {
        "model_type": "bert",
        "hidden_size": config.d_model,
        "num_hidden_layers": config.n_layers,
        "num_attention_heads": config.n_heads,
        "intermediate_size": config.d_ff,
        "max_position_embeddings": config.max_seq_len,
        "type_vocab_size": config.n_segments,
        "layer_norm_eps": config.norm_eps,
        "hidden_act": "gelu",
        "hidden_dropout_prob": config.dropout,
        "attention_probs_dropout_prob": config.dropout,
        "pad_token_id": PAD,
    }


class EncoderBlock(nn.Module):
    """One layer: self-attention, then the feed-forward network, each normalized after its sum."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        d_model, d_ff, norm_eps = config.d_model, config.d_ff, config.norm_eps
        self.n_heads, self.drop = config.n_heads, config.dropout
        self.q_proj = nn.Linear(d_model, d_model)
        self.k_proj = nn.Linear(d_model, d_model)
        self.v_proj = nn.Linear(d_model, d_model)
        self.o_proj = nn.Linear(d_model, d_model)
        self.attention_norm = nn.LayerNorm(d_model, norm_eps)
        self.up_proj = nn.Linear(d_model, d_ff)
        self.down_proj = nn.Linear(d_ff, d_model)
        self.mlp_norm = nn.LayerNorm(d_model, norm_eps)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Map (B, T, d_model) to (B, T, d_model); the mask (B, 1, 1, T) is false on padding."""
        drop = self.drop if self.training else 0.0
        q, k, v = (
            part(x).unflatten(-1, (self.n_heads, -1)).transpose(1, 2)  # (B, H, T, D)
            for part in (self.q_proj, self.k_proj, self.v_proj)
        )
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=drop)
        mixed = self.o_proj(mixed.transpose(1, 2).flatten(2))  # (B, T, d_model)
        x = self.attention_norm(x + F.dropout(mixed, drop))
        widened = self.down_proj(F.gelu(self.up_proj(x)))
        out: Tensor = self.mlp_norm(x + F.dropout(widened, drop))
        return out


class Embeddings(nn.Module):
    """The normalized sum of the embeddings of a token, its position and its text (segment)."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.tokens = nn.Embedding(config.vocab_size, config.d_model)
        self.positions = nn.Embedding(config.max_seq_len, config.d_model)
        self.segments = nn.Embedding(config.n_segments, config.d_model)
        self.norm = nn.LayerNorm(config.d_model, config.norm_eps)
        self.drop = config.dropout

    def forward(self, tokens: Tensor, segments: Tensor) -> Tensor:
        """Return vectors (B, T, d_model) of token ids and segments (B, T)."""
        length, limit = tokens.size(1), self.positions.num_embeddings
        assert length <= limit, f"{length} tokens exceed the context of {limit}"
        x = self.tokens(tokens) + self.segments(segments) + self.positions.weight[:length]
        return F.dropout(self.norm(x), self.drop, self.training)


class Encoder(nn.Module):
    """Maps tokens with positions and segments to a vector for each, from all other tokens."""

    def __init__(self, config: Any) -> None:
        """Take the model's `Config`, which has BERT's dimensions."""
        super().__init__()
        width, heads = config.d_model, config.n_heads
        assert width % heads == 0, f"{heads} heads cannot share a width of {width}"
        self.embeddings = Embeddings(config)
        self.layers = nn.ModuleList(EncoderBlock(config) for _ in range(config.n_layers))

    def encode(self, tokens: Tensor, segments: Tensor | None = None) -> Tensor:
        """Return a vector for each token, (B, T, d_model).

        Args:
            tokens: (B, T) token ids, PAD after the end of a sequence.
            segments: (B, T) 0 or 1, the text of a pair that each token belongs to; 0 by default.
        """
        segments = torch.zeros_like(tokens) if segments is None else segments
        x: Tensor = self.embeddings(tokens, segments)  # (B, T, d_model)
        mask = (tokens != PAD)[:, None, None, :]
        for layer in self.layers:
            x = layer(x, mask)
        return x


def init_weights(model: nn.Module, d_model: int) -> None:
    """Draw matrices and tables from N(0, std^2); biases start at 0.

    The deviation is BERT's 0.02 at its width of 768, and grows as 1 / sqrt(width) below it.
    """
    for name, weight in model.named_parameters():
        if weight.dim() == 2:
            nn.init.normal_(weight, std=0.02 * math.sqrt(768 / d_model))
        elif name.endswith("bias"):
            nn.init.zeros_(weight)
