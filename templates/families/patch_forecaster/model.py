"""A patch transformer for forecasts: PatchTST (Nie et al., 2023, arXiv:2211.14730).

A series is cut into overlapping patches, which are the tokens of a transformer encoder; one linear
layer turns all of its outputs into the forecast. Each series passes through alone, independent of
the others in its table (channel independence). Reversible instance normalization (Kim et al., 2022,
RevIN, without its affine part) removes the level and the scale of a window and restores them.
The paper normalizes between layers over the batch; here each token is normalized by itself, before
each layer, so that a forecast does not depend on the rest of its batch.

Shapes in comments: B series, L steps of the past, N patches of P steps, H heads of D dimensions.
"""

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LEAST_VARIANCE = (
    1e-5  # Added to a window's variance, it keeps a constant window from dividing by 0.
)


@dataclass(frozen=True)
class Config:
    """Dimensions of the model; the defaults are the full model."""

    lookback: int = 90  # steps of the past that a forecast sees
    horizon: int = 30  # steps of the future that a forecast has
    patch_len: int = 18  # steps of a patch; below lookback
    stride: int = 9  # steps from the start of a patch to that of the next
    d_model: int = 384  # width of the residual stream
    n_layers: int = 6  # number of blocks
    n_heads: int = 8  # attention heads in each layer; they divide d_model
    d_ff: int = 1536  # width of the feed-forward layer
    dropout: float = 0.2  # share of each layer's outputs that training drops
    norm_eps: float = 1e-05  # added to a variance before its root, between layers

    @property
    def n_patches(self) -> int:
        """Tokens of a window; its oldest steps are left out where patches do not fill it."""
        return (self.lookback - self.patch_len) // self.stride + 1


class Attention(nn.Module):
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


class Block(nn.Module):
    """One layer: attention, then the feed-forward network, each on a normalized input."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(config.d_model, config.norm_eps)
        self.self_attn = Attention(config.d_model, config.n_heads)
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


class Model(nn.Module):
    """The forecaster; transformers has it as PatchTSTForPrediction, of one channel."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.embed = nn.Linear(config.patch_len, config.d_model)
        self.positions = nn.Parameter(torch.empty(config.n_patches, config.d_model))
        self.layers = nn.ModuleList(Block(config) for _ in range(config.n_layers))
        self.head = nn.Linear(config.n_patches * config.d_model, config.horizon)
        nn.init.normal_(self.positions, std=0.02)

    def forward(self, past: Tensor) -> Tensor:
        """Return the forecast (B, horizon), in the unit of the past (B, lookback)."""
        config = self.config
        variance, mean = torch.var_mean(past.float(), dim=1, correction=0, keepdim=True)
        scale = (variance + LEAST_VARIANCE).sqrt()  # (B, 1)
        x = ((past - mean) / scale).to(self.positions.dtype)
        start = (config.lookback - config.patch_len) % config.stride
        x = x[:, start:].unfold(1, config.patch_len, config.stride)  # (B, N, P)
        x = self.embed(x) + self.positions  # (B, N, d_model)
        for layer in self.layers:
            x = layer(x)
        forecast: Tensor = self.head(x.flatten(1)).float()  # (B, horizon)
        return forecast * scale + mean

    def num_params(self) -> int:
        """Return the number of weights."""
        return sum(p.numel() for p in self.parameters())

    def checkpoint_name(self, name: str) -> str:
        """Return the name of a parameter in transformers' PatchTSTForPrediction."""
        for ours, theirs in (
            ("embed.", "model.encoder.embedder.input_embedding."),
            ("positions", "model.encoder.positional_encoder.position_enc"),
            ("layers.", "model.encoder.layers."),
            ("head.", "head.projection."),
            ("norm1", "norm_sublayer1"),
            ("norm2", "norm_sublayer3"),
            ("linear1", "ff.0"),
            ("linear2", "ff.3"),
        ):
            name = name.replace(ours, theirs, 1)
        return name

    def checkpoint_config(self) -> dict[str, Any]:
        """Return further entries of config.json, with which transformers loads it as PatchTST."""
        config = self.config
        return {
            "architectures": ["PatchTSTForPrediction"],
            "model_type": "patchtst",
            "num_input_channels": 1,
            "context_length": config.lookback,
            "prediction_length": config.horizon,
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
            "pooling_type": None,
            "scaling": "std",
            "loss": "mse",
        }
