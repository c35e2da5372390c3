"""The encoder of PatchTST (Nie et al., 2023, arXiv:2211.14730): patches of a series are its tokens.

Instance normalization (Kim et al., 2022, RevIN, without its affine part) removes the level and the
scale of a window. The paper normalizes between layers over the batch; here each token is normalized
by itself, before each layer, so that a result does not depend on the rest of its batch.

Shapes in comments: B series, L steps, N patches of P steps, H heads of D dimensions.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LEAST_VARIANCE = (
    1e-5  # Added to a window's variance, it keeps a constant window from dividing by 0.
)

# Names of parameters in transformers' PatchTSTModel, by the names in this file.
PATCHTST_NAMES = {
    "embed.": "model.encoder.embedder.input_embedding.",
    "positions": "model.encoder.positional_encoder.position_enc",
    "layers.": "model.encoder.layers.",
    "norm1": "norm_sublayer1",
    "norm2": "norm_sublayer3",
    "linear1": "ff.0",
    "linear2": "ff.3",
}


def patchtst_name(name: str) -> str:
    """Return the name in transformers' PatchTST of a parameter of `PatchEncoder`."""
    for ours, theirs in PATCHTST_NAMES.items():
        name = name.replace(ours, theirs, 1)
    return name


def patchtst_config(config: Any) -> dict[str, Any]:
    """Return further entries of config.json, with which transformers loads it as PatchTST."""
    return {
        "model_type": "patchtst",
        "context_length": config.lookback,
        "patch_length": config.patch_len,
        "patch_stride": config.stride,
        "num_hidden_layers": config.n_layers,
        "num_attention_heads": config.n_heads,
        "ffn_dim": config.d_ff,
        "ff_dropout": config.dropout,
        "path_dropout": config.dropout,
        "norm_type": "layernorm",
        "pre_norm": True,
        "positional_encoding_type": "random",  # means learned in transformers
        "scaling": "std",
    }


class PatchAttention(nn.Module):
    """Self-attention over all patches (Vaswani et al., 2017, section 3.2)."""

    def __init__(self, d_model: int, n_heads: int) -> None:
        super().__init__()
        assert d_model % n_heads == 0, f"a width of {d_model} cannot be cut in {n_heads} heads"
        self.n_heads = n_heads
        self.q_proj = nn.Linear(d_model, d_model)
        self.k_proj = nn.Linear(d_model, d_model)
        self.v_proj = nn.Linear(d_model, d_model)
        self.out_proj = nn.Linear(d_model, d_model)

    def forward(self, x: Tensor) -> Tensor:
        """Mix patches: softmax(q k^T / sqrt(D)) v in each head; x is (B, N, d_model)."""
        parts = (self.q_proj(x), self.k_proj(x), self.v_proj(x))
        q, k, v = (each.unflatten(2, (self.n_heads, -1)).transpose(1, 2) for each in parts)
        mixed = F.scaled_dot_product_attention(q, k, v)  # (B, H, N, D)
        out: Tensor = self.out_proj(mixed.transpose(1, 2).flatten(2))
        return out  # (B, N, d_model)


class PatchBlock(nn.Module):
    """One layer: attention, then the feed-forward network, each on a normalized input."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(config.d_model, config.norm_eps)
        self.self_attn = PatchAttention(config.d_model, config.n_heads)
        self.norm2 = nn.LayerNorm(config.d_model, config.norm_eps)
        self.linear1 = nn.Linear(config.d_model, config.d_ff)
        self.linear2 = nn.Linear(config.d_ff, config.d_model)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, N, d_model) to (B, N, d_model)."""
        x = x + self.dropout(self.self_attn(self.norm1(x)))
        hidden = self.dropout(F.gelu(self.linear1(self.norm2(x))))  # (B, N, d_ff)
        x = x + self.dropout(self.linear2(hidden))
        return x


class PatchEncoder(nn.Module):
    """Patches of a series, their positions, and blocks of full attention."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.config = config
        self.n_patches = (config.lookback - config.patch_len) // config.stride + 1
        self.embed = nn.Linear(config.patch_len, config.d_model)
        self.positions = nn.Parameter(torch.empty(self.n_patches, config.d_model))
        self.layers = nn.ModuleList(PatchBlock(config) for _ in range(config.n_layers))
        nn.init.normal_(self.positions, std=0.02)

    def encode(self, series: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the vectors (B, N, d_model) of series (B, L), their scales and levels, (B, 1).

        The oldest steps are left out where patches do not fill the series.
        """
        config = self.config
        variance, mean = torch.var_mean(series.float(), dim=1, correction=0, keepdim=True)
        scale = (variance + LEAST_VARIANCE).sqrt()
        x = ((series - mean) / scale).to(self.positions.dtype)
        start = (config.lookback - config.patch_len) % config.stride
        x = x[:, start:].unfold(1, config.patch_len, config.stride)  # (B, N, P)
        x = self.embed(x) + self.positions  # (B, N, d_model)
        for layer in self.layers:
            x = layer(x)
        return x, scale, mean
