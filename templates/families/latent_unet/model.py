"""A text-conditioned diffusion model: the latent U-Net of SDXL (Podell et al., 2023).

arXiv:2307.01952, section 2. Two networks that SDXL takes from elsewhere are replaced by what is
trained here: its VAE by squares of pixels laid out as channels (as in simple diffusion,
arXiv:2301.11093), its CLIP encoders by a small Transformer that reads bytes. Its
conditions on the size and the crop of an image are left out.

Shapes: B images, C channels, H x W pixels, T bytes, E and D dimensions of embedding and text.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from layers.text import TextEncoder, caption_bytes
from layers.unet import Downsample, ResidualBlock, sinusoids, two_layers, zeroed


@dataclass(frozen=True)
class Config:
    """Dimensions of the model; the defaults are the full model."""

    image_height: int = 1024  # rows of pixels
    image_width: int = 1024  # columns of pixels
    image_channels: int = 3  # 1 for grey, 3 for colours
    patch_size: int = 8  # side of the squares of pixels that become latents
    base_channels: int = 320  # width of the first level; widths double from level to level
    n_levels: int = 3  # resolutions; each halves the one before
    blocks_per_level: int = 2  # residual blocks of a level on the way down; one more on the way up
    upper_layers: int = 2  # Transformer layers behind a block of the others; the first has none
    lowest_layers: int = 10  # Transformer layers behind a block of the last level
    head_dim: int = 64  # dimensions of a head of attention in the U-Net
    embedding_dim: int = 1280  # dimensions of the embedding of noise level and caption
    norm_groups: int = 32  # groups of channels that are normalized together
    text_length: int = 256  # bytes of a caption, at most
    text_width: int = 768  # width of the text encoder
    text_layers: int = 12  # layers of the text encoder
    text_heads: int = 12  # heads of a layer of the text encoder
    vocab_size: int = 257  # byte values, and one for what follows the caption

    def channels(self, level: int) -> int:
        """Return the width of a level, counted from 0."""
        return self.base_channels << level

    def layers(self, level: int) -> int:
        """Return the Transformer layers behind a block of a level, counted from 0."""
        inner = self.lowest_layers if level == self.n_levels - 1 else self.upper_layers
        return inner if level else 0


def conditions(config: Config, captions: Sequence[str], classes: Sequence[str]) -> Tensor:
    """Return (B, T), the bytes of captions, cut or padded; the empty caption stands for none."""
    return caption_bytes(config, captions)


class Attention(nn.Module):
    """Attention of some positions to others, or to themselves; only the last layer has a bias."""

    def __init__(self, width: int, context: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.to_q = nn.Linear(width, width, bias=False)
        self.to_k = nn.Linear(context, width, bias=False)
        self.to_v = nn.Linear(context, width, bias=False)
        self.to_out = nn.Linear(width, width)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        """Map (B, N, width), which attends to (B, M, context), to (B, N, width)."""
        q, k, v = self.to_q(x), self.to_k(context), self.to_v(context)
        q, k, v = (each.unflatten(-1, (self.heads, -1)).transpose(1, 2) for each in (q, k, v))
        x = self.to_out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
        return x


class TransformerLayer(nn.Module):
    """Attention to all pixels, then to the caption, and GEGLU (Shazeer, 2020, arXiv:2002.05202)."""

    def __init__(self, config: Config, width: int) -> None:
        super().__init__()
        text_width, heads = config.text_width, width // config.head_dim
        self.norm1 = nn.LayerNorm(width)
        self.attn1 = Attention(width, width, heads)
        self.norm2 = nn.LayerNorm(width)
        self.attn2 = Attention(width, text_width, heads)
        self.norm3 = nn.LayerNorm(width)
        self.ff_in = nn.Linear(width, 8 * width)
        self.ff_out = nn.Linear(4 * width, width)

    def forward(self, x: Tensor, text: Tensor) -> Tensor:
        """Map pixels (B, N, width) that attend to (B, T, D) to the same shape."""
        y = self.norm1(x)
        x = x + self.attn1(y, y)
        x = x + self.attn2(self.norm2(x), text)
        y, gate = self.ff_in(self.norm3(x)).chunk(2, dim=-1)
        x = x + self.ff_out(y * F.gelu(gate))
        return x


class Transformer(nn.Module):
    """Transformer layers over all pixels of a feature map, with a shortcut."""

    def __init__(self, config: Config, width: int, layers: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(config.norm_groups, width, eps=1e-6)
        self.proj_in = nn.Linear(width, width)
        self.layers = nn.ModuleList(TransformerLayer(config, width) for _ in range(layers))
        self.proj_out = zeroed(nn.Linear(width, width))

    def forward(self, x: Tensor, text: Tensor) -> Tensor:
        """Map (B, C, H, W), which attends to (B, T, D), to (B, C, H, W)."""
        pixels = self.proj_in(self.norm(x).flatten(2).transpose(1, 2))  # (B, HW, C)
        for layer in self.layers:
            pixels = layer(pixels, text)
        x = x + self.proj_out(pixels).transpose(1, 2).reshape(x.shape)
        return x


class Block(nn.Module):
    """A residual block, with Transformer layers or a step up where its level has them."""

    def __init__(self, config: Config, inputs: int, width: int, layers: int, up: bool) -> None:
        super().__init__()
        self.resnet = ResidualBlock(inputs, width, config.embedding_dim, config.norm_groups, 0.0)
        self.attention = Transformer(config, width, layers) if layers else None
        self.upsample = nn.Conv2d(width, width, 3, padding=1) if up else None

    def forward(self, x: Tensor, embedding: Tensor, text: Tensor) -> Tensor:
        """Map (B, inputs, H, W), an embedding (B, E) and text (B, T, D) to (B, width, H, W)."""
        x = self.resnet(x, embedding)
        x = x if self.attention is None else self.attention(x, text)
        if self.upsample is not None:
            x = self.upsample(F.interpolate(x, scale_factor=2.0, mode="nearest"))
        return x


class Model(nn.Module):
    """The text encoder, and the U-Net that attends to its output.

    transformers has no class for it, so config.json and the tensors' names are its own.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        base, latents = config.base_channels, config.image_channels * config.patch_size**2
        low = config.channels(config.n_levels - 1)
        self.text_encoder = TextEncoder(config)
        self.time_embedding = two_layers(base, config.embedding_dim)
        self.text_embedding = two_layers(config.text_width, config.embedding_dim)
        self.conv_in = nn.Conv2d(latents, base, 3, padding=1)
        self.down_blocks = nn.ModuleList(_down(config))
        middle = (Block(config, low, low, n, False) for n in (config.lowest_layers, 0))
        self.middle = nn.ModuleList(middle)
        self.up_blocks = nn.ModuleList(_up(config, low))
        self.norm_out = nn.GroupNorm(config.norm_groups, base)
        self.conv_out = zeroed(nn.Conv2d(base, latents, 3, padding=1))

    def forward(self, x: Tensor, t: Tensor, condition: Tensor) -> Tensor:
        """Return the noise in noisy images.

        Args:
            x: (B, C, H, W), pixels of about -1 to 1 with noise added.
            t: (B,) the noise level of each image, from 0.
            condition: (B, T) what `conditions` returned.
        """
        patch, dtype = self.config.patch_size, self.conv_in.weight.dtype
        text = self.text_encoder(condition)  # (B, T, D)
        embedding = self.time_embedding(sinusoids(t, self.config.base_channels).to(dtype))
        embedding = embedding + self.text_embedding(text.mean(1))  # (B, E)
        x = self.conv_in(F.pixel_unshuffle(x, patch).to(dtype))  # (B, C, H / patch, W / patch)
        kept = [x]
        for block in self.down_blocks:
            x = block(x, embedding, text)
            kept.append(x)
        for block in self.middle:
            x = block(x, embedding, text)
        for block in self.up_blocks:
            x = block(torch.cat((x, kept.pop()), dim=1), embedding, text)
        x = F.pixel_shuffle(self.conv_out(F.silu(self.norm_out(x))), patch)
        return x

    def num_params(self) -> int:
        """Return the number of weights."""
        return sum(p.numel() for p in self.parameters())

    def checkpoint_name(self, name: str) -> str:
        """Return the name of a parameter in a checkpoint: its own."""
        return name

    def checkpoint_config(self) -> dict[str, Any]:
        """Return further entries of config.json: none."""
        return {}


def _down(config: Config) -> Iterator[nn.Module]:
    """Yield the blocks of each level, and after each level but the last a halving."""
    inputs = config.base_channels
    for level in range(config.n_levels):
        for _ in range(config.blocks_per_level):
            yield Block(config, inputs, config.channels(level), config.layers(level), False)
            inputs = config.channels(level)
        if level < config.n_levels - 1:
            yield Downsample(inputs)


def _up(config: Config, inputs: int) -> Iterator[nn.Module]:
    """Yield the blocks from the last level to the first; each also reads an output of `_down`."""
    for level in reversed(range(config.n_levels)):
        width, above = config.channels(level), config.channels(max(0, level - 1))
        for index, extra in enumerate([width] * config.blocks_per_level + [above]):
            upsample = level > 0 and index == config.blocks_per_level
            yield Block(config, inputs + extra, width, config.layers(level), upsample)
            inputs = width
