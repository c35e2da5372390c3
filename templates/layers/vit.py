"""The encoder of the Vision Transformer (Dosovitskiy et al., 2021, arXiv:2010.11929).

An image becomes a sequence: its patches, each mapped to a vector, behind a vector of the class.
Each block is x + Attention(LayerNorm(x)), then x + MLP(LayerNorm(x)) (equations 1 to 4).

Shapes in comments: B images, C channels, N patches, H heads, D dimensions of a head.
"""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from layers.depth import StochasticDepth


def vit_name(name: str) -> str:
    """Return the name in transformers' ViTModel of a parameter of `ViTEncoder`."""
    head, _, _ = name.partition(".")
    if head in ("cls_token", "position_embeddings"):
        return f"embeddings.{name}"
    if head == "patch_embeddings":
        return name.replace(head, f"embeddings.{head}.projection")
    return name


def vit_config(config: Any) -> dict[str, Any]:
    """Return further entries of config.json, with which transformers loads it as ViT."""
    return {
        "model_type": "vit",
        "image_size": [config.image_height, config.image_width],
        "hidden_size": config.d_model,
        "num_hidden_layers": config.n_layers,
        "num_attention_heads": config.n_heads,
        "intermediate_size": config.d_ff,
        "hidden_act": "gelu",
        "layer_norm_eps": config.norm_eps,
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
    }


class ViTAttention(nn.Module):
    """Self-attention in which every position sees every other (Vaswani et al., 2017)."""

    def __init__(self, d_model: int, n_heads: int) -> None:
        super().__init__()
        assert d_model % n_heads == 0, f"{n_heads} heads do not divide a width of {d_model}"
        self.n_heads = n_heads
        self.q_proj = nn.Linear(d_model, d_model)
        self.k_proj = nn.Linear(d_model, d_model)
        self.v_proj = nn.Linear(d_model, d_model)
        self.o_proj = nn.Linear(d_model, d_model)

    def forward(self, x: Tensor) -> Tensor:
        """Return softmax(q k^T / sqrt(D)) v of all heads, mixed; x is (B, N + 1, d_model)."""
        heads = (x.size(0), x.size(1), self.n_heads, -1)
        q, k, v = (
            project(x).view(heads).transpose(1, 2)  # (B, H, N + 1, D)
            for project in (self.q_proj, self.k_proj, self.v_proj)
        )
        mixed: Tensor = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        out: Tensor = self.o_proj(mixed)
        return out


class ViTMLP(nn.Module):
    """Two linear layers with a GELU between them (Hendrycks & Gimpel, 2016, arXiv:1606.08415)."""

    def __init__(self, d_model: int, d_ff: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(d_model, d_ff)
        self.fc2 = nn.Linear(d_ff, d_model)

    def forward(self, x: Tensor) -> Tensor:
        """Return fc2(gelu(fc1(x))); x is (..., d_model)."""
        out: Tensor = self.fc2(F.gelu(self.fc1(x)))
        return out


class ViTBlock(nn.Module):
    """One layer of the encoder, each half on a normalized input."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.layernorm_before = nn.LayerNorm(config.d_model, eps=config.norm_eps)
        self.attention = ViTAttention(config.d_model, config.n_heads)
        self.layernorm_after = nn.LayerNorm(config.d_model, eps=config.norm_eps)
        self.mlp = ViTMLP(config.d_model, config.d_ff)
        self.depth = StochasticDepth()

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, N + 1, d_model) to (B, N + 1, d_model)."""
        x = x + self.depth(self.attention(self.layernorm_before(x)))
        x = x + self.depth(self.mlp(self.layernorm_after(x)))
        return x


class ViTEncoder(nn.Module):
    """Patches behind a class vector, positions, blocks, and the last norm."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.config = config
        rows, rest_of_height = divmod(config.image_height, config.patch_size)
        columns, rest_of_width = divmod(config.image_width, config.patch_size)
        assert rest_of_height == rest_of_width == 0, "patches must cut an image without a rest"
        self.cls_token = nn.Parameter(torch.zeros(1, 1, config.d_model))
        self.position_embeddings = nn.Parameter(torch.empty(1, rows * columns + 1, config.d_model))
        self.patch_embeddings = nn.Conv2d(
            config.num_channels, config.d_model, config.patch_size, stride=config.patch_size
        )
        self.layers = nn.ModuleList(ViTBlock(config) for _ in range(config.n_layers))
        self.layernorm = nn.LayerNorm(config.d_model, eps=config.norm_eps)
        self._init_weights()

    def _init_weights(self) -> None:
        """Draw matrices from Glorot's uniform distribution, as the authors' code.

        Positions are from N(0, 0.02), patches from N(0, 1 / fan-in).
        """
        for module in self.layers.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)
        patch = self.patch_embeddings
        nn.init.normal_(patch.weight, std=1 / math.sqrt(patch.weight[0].numel()))
        assert patch.bias is not None
        nn.init.zeros_(patch.bias)
        nn.init.normal_(self.position_embeddings, std=0.02)

    def encode(self, images: Tensor) -> Tensor:
        """Return the normalized class vector (B, d_model) of images (B, C, height, width)."""
        patches = self.patch_embeddings(images).flatten(2).transpose(1, 2)  # (B, N, d_model)
        first = self.cls_token.expand_as(patches[:, :1])
        x = torch.cat((first, patches), 1) + self.position_embeddings  # (B, N + 1, d_model)
        for layer in self.layers:
            x = layer(x)
        encoded: Tensor = self.layernorm(x[:, 0])
        return encoded
