"""A text-conditioned diffusion model of point clouds: the Transformer of Point-E.

Nichol et al., 2022, arXiv:2212.08751, section 4.3: each point is a token, and so are the noise
level and each token of the condition. Point-E reads features of CLIP; here a small Transformer that
is trained with the rest reads the bytes of a caption. Points have no colours and no positional
embedding, so the output does not depend on their order; the variance of a step is not predicted.

Shapes: B shapes, N points, T bytes, H heads, d = d_model, f = d_ff.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from layers.text import TextEncoder, caption_bytes
from layers.unet import sinusoids, zeroed

COORDINATES = 3
LEVELS = 1000  # Sinusoids take times as if counted in so many levels of noise.
INIT = 0.25  # Point-E's first weights of a linear layer deviate by INIT / sqrt(d)


@dataclass(frozen=True)
class Config:
    """Dimensions of the model; the defaults are the full model."""

    n_points: int = 1024  # points of a shape
    d_model: int = 2048  # width
    n_layers: int = 24  # Transformer blocks
    n_heads: int = 32  # heads of attention of a block
    d_ff: int = 8192  # width of a feed-forward layer
    text_length: int = 256  # bytes of a caption, at most
    text_width: int = 768  # width of the text encoder
    text_layers: int = 12  # layers of the text encoder
    text_heads: int = 12  # heads of a layer of the text encoder
    vocab_size: int = 257  # byte values, and one for what follows the caption


def conditions(config: Config, captions: Sequence[str]) -> Tensor:
    """Return (B, T), the bytes of captions, cut or padded; the empty caption stands for none."""
    return caption_bytes(config, captions)


class Block(nn.Module):
    """Attention of all tokens to all, and a feed-forward layer, each normalized before."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        d, f = config.d_model, config.d_ff
        self.n_heads = config.n_heads
        self.norm1 = nn.LayerNorm(d)
        self.qkv = started(nn.Linear(d, 3 * d), d)
        self.out = started(nn.Linear(d, d), d)
        self.norm2 = nn.LayerNorm(d)
        self.up = started(nn.Linear(d, f), d)
        self.down = started(nn.Linear(f, d), d)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, tokens, d) to (B, tokens, d)."""
        q, k, v = (
            part.unflatten(-1, (self.n_heads, -1)).transpose(1, 2)  # (B, H, tokens, d / H)
            for part in self.qkv(self.norm1(x)).chunk(3, dim=-1)
        )
        mixed = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        x = x + self.out(mixed)
        x = x + self.down(F.gelu(self.up(self.norm2(x))))
        return x


class Model(nn.Module):
    """The text encoder, and the Transformer over noise level, caption and points.

    transformers has no class for it, so config.json and the tensors' names are its own.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        d = config.d_model
        self.text_encoder = TextEncoder(config)
        self.text_in = nn.Linear(config.text_width, d)
        self.time_embedding = nn.Sequential(
            started(nn.Linear(d, 4 * d), d), nn.GELU(), started(nn.Linear(4 * d, d), d)
        )
        self.point_in = nn.Linear(COORDINATES, d)
        self.norm_in = nn.LayerNorm(d)
        self.layers = nn.ModuleList(Block(config) for _ in range(config.n_layers))
        self.norm_out = nn.LayerNorm(d)
        self.point_out = zeroed(nn.Linear(d, COORDINATES))

    def forward(self, points: Tensor, t: Tensor, condition: Tensor) -> Tensor:
        """Return the velocity of points, noise minus shape, (B, N, 3).

        Args:
            points: (B, N, 3), on the line from a shape to noise.
            t: (B,) how far each shape is on it, from 0 to 1.
            condition: (B, T) what `conditions` returned.
        """
        dtype = self.point_in.weight.dtype
        text = self.text_in(self.text_encoder(condition))  # (B, T, d)
        level = self.time_embedding(sinusoids(LEVELS * t, self.config.d_model).to(dtype))  # (B, d)
        tokens = (level.unsqueeze(1), text, self.point_in(points.to(dtype)))
        x = self.norm_in(torch.cat(tokens, dim=1))  # (B, 1 + T + N, d)
        for layer in self.layers:
            x = layer(x)
        velocity: Tensor = self.point_out(self.norm_out(x[:, -points.shape[1] :]))
        return velocity

    def num_params(self) -> int:
        """Return the number of weights."""
        return sum(p.numel() for p in self.parameters())

    def checkpoint_name(self, name: str) -> str:
        """Return the name of a parameter in a checkpoint: its own."""
        return name

    def checkpoint_config(self) -> dict[str, Any]:
        """Return further entries of config.json: none."""
        return {}


def started(layer: nn.Linear, width: int) -> nn.Linear:
    """Return a linear layer with Point-E's first weights."""
    nn.init.normal_(layer.weight, std=INIT * width**-0.5)
    nn.init.zeros_(layer.bias)
    return layer
