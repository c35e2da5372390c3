"""A class-conditional diffusion model of pixels: the U-Net of DDPM (Ho et al., 2020).

arXiv:2006.11239, appendix B. The class is added to the embedding of the noise level; one class more
stands for none, as classifier-free guidance needs (Ho & Salimans, 2022, arXiv:2207.12598).

Shapes in comments: B images, C channels, H rows, W columns, E dimensions of the embedding.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from layers.unet import Downsample, ResidualBlock, sinusoids, two_layers, zeroed


@dataclass(frozen=True)
class Config:
    """Dimensions of the model; the defaults are the full model."""

    image_height: int = 32  # rows of pixels
    image_width: int = 32  # columns of pixels
    image_channels: int = 3  # 1 for grey, 3 for colours
    num_classes: int = 10  # classes to choose from
    base_channels: int = 128  # width of the first level
    n_levels: int = 4  # resolutions; each halves the one before
    max_multiplier: int = 2  # widths double from level to level, up to this many times the first
    blocks_per_level: int = 2  # residual blocks of a level on the way down; one more on the way up
    attention_level: int = 1  # level whose blocks attend, counted from 0
    embedding_dim: int = 512  # dimensions of the embedding of noise level and class
    norm_groups: int = 32  # groups of channels that are normalized together
    dropout: float = 0.1  # share of activations dropped in residual blocks

    def channels(self, level: int) -> int:
        """Return the width of a level, counted from 0."""
        return self.base_channels * min(1 << level, self.max_multiplier)


def conditions(config: Config, captions: Sequence[str], classes: Sequence[str]) -> Tensor:
    """Return the conditions of images: (B,) the numbers of their classes.

    The empty caption is the number after the last class, which stands for none.

    Raises:
        ValueError: There are too many classes, or a caption is not one of them.
    """
    if len(classes) > config.num_classes:
        raise ValueError(f"{len(classes)} classes are more than the {config.num_classes} it has")
    numbers = {"": config.num_classes} | {name: index for index, name in enumerate(classes)}
    for caption in captions:
        if caption not in numbers:
            raise ValueError(f"{caption!r} is no class: there are {', '.join(classes)}")
    return torch.tensor([numbers[caption] for caption in captions])


class Attention(nn.Module):
    """Self-attention with one head over all pixels, with a shortcut."""

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        self.group_norm = nn.GroupNorm(groups, channels)
        self.to_q = nn.Linear(channels, channels)
        self.to_k = nn.Linear(channels, channels)
        self.to_v = nn.Linear(channels, channels)
        self.to_out = zeroed(nn.Linear(channels, channels))

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, C, H, W)."""
        pixels = self.group_norm(x).flatten(2).transpose(1, 2)  # (B, HW, C)
        q, k, v = (layer(pixels).unsqueeze(1) for layer in (self.to_q, self.to_k, self.to_v))
        seen = F.scaled_dot_product_attention(q, k, v).squeeze(1)  # (B, HW, C)
        x = x + self.to_out(seen).transpose(1, 2).reshape(x.shape)
        return x


class Block(nn.Module):
    """A residual block, with attention or a step up in resolution where its level has them."""

    def __init__(self, config: Config, inputs: int, level: int, upsample: bool = False) -> None:
        super().__init__()
        width, groups = config.channels(level), config.norm_groups
        attends = level == config.attention_level
        self.resnet = ResidualBlock(inputs, width, config.embedding_dim, groups, config.dropout)
        self.attention = Attention(width, groups) if attends else None
        self.upsample = nn.Conv2d(width, width, 3, padding=1) if upsample else None

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """Map (B, C, H, W) and an embedding (B, E) to the width of the level."""
        x = self.resnet(x, embedding)
        x = x if self.attention is None else self.attention(x)
        if self.upsample is not None:
            x = self.upsample(F.interpolate(x, scale_factor=2.0, mode="nearest"))
        return x


class Middle(nn.Module):
    """The lowest resolution: attention between two residual blocks."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        width, groups = config.channels(config.n_levels - 1), config.norm_groups
        sizes = (width, width, config.embedding_dim, groups, config.dropout)
        self.resnet_1 = ResidualBlock(*sizes)
        self.attention = Attention(width, groups)
        self.resnet_2 = ResidualBlock(*sizes)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """Map (B, C, H, W) and an embedding (B, E) to (B, C, H, W)."""
        x = self.attention(self.resnet_1(x, embedding))
        x = self.resnet_2(x, embedding)
        return x


class Model(nn.Module):
    """The U-Net: the way up also reads the outputs of the way down.

    transformers has no class for it, so config.json and the tensors' names are its own.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        base, last = config.base_channels, config.channels(config.n_levels - 1)
        self.time_embedding = two_layers(base, config.embedding_dim)
        self.class_embedding = nn.Embedding(config.num_classes + 1, config.embedding_dim)
        self.conv_in = nn.Conv2d(config.image_channels, base, 3, padding=1)
        self.down_blocks = nn.ModuleList(_down(config))
        self.middle = Middle(config)
        self.up_blocks = nn.ModuleList(_up(config, last))
        self.norm_out = nn.GroupNorm(config.norm_groups, base)
        self.conv_out = zeroed(nn.Conv2d(base, config.image_channels, 3, padding=1))

    def forward(self, x: Tensor, t: Tensor, condition: Tensor) -> Tensor:
        """Return the noise in noisy images.

        Args:
            x: (B, C, H, W), pixels of about -1 to 1 with noise added.
            t: (B,) the noise level of each image, from 0.
            condition: (B,) what `conditions` returned.
        """
        dtype = self.conv_in.weight.dtype
        embedding = self.time_embedding(sinusoids(t, self.config.base_channels).to(dtype))
        embedding = embedding + self.class_embedding(condition)  # (B, E)
        x = self.conv_in(x.to(dtype))
        kept = [x]
        for block in self.down_blocks:
            x = block(x, embedding)
            kept.append(x)
        x = self.middle(x, embedding)
        for block in self.up_blocks:
            x = block(torch.cat((x, kept.pop()), dim=1), embedding)
        noise: Tensor = self.conv_out(F.silu(self.norm_out(x)))
        return noise

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
            yield Block(config, inputs, level)
            inputs = config.channels(level)
        if level < config.n_levels - 1:
            yield Downsample(inputs)


def _up(config: Config, inputs: int) -> Iterator[nn.Module]:
    """Yield the blocks from the last level to the first; each also reads an output of `_down`."""
    for level in reversed(range(config.n_levels)):
        width, above = config.channels(level), config.channels(max(0, level - 1))
        kept = [width] * config.blocks_per_level + [above]
        for index, extra in enumerate(kept):
            upsample = level > 0 and index == config.blocks_per_level
            yield Block(config, inputs + extra, level, upsample)
            inputs = width
