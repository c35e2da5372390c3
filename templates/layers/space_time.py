"""Blocks of video diffusion Transformers: frames as patches of space and time, in the form of Wan.

Wan Team, 2025, arXiv:2503.20314. Shapes in comments: B clips, C channels, T steps of patches in
time, S patches of a step, H heads, D dimensions of a head.
"""

from collections.abc import Iterable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from layers.unet import sinusoids, two_layers, zeroed

Rotary = tuple[Tensor, Tensor]
TIMES = 1000  # The embedding reads times of 0 to 1 as levels of 0 to 1000.


def grid_of(config: Any) -> tuple[int, int]:
    """Return the rows and columns of patches of a step."""
    return config.image_height // config.patch_size, config.image_width // config.patch_size


def patch_of(config: Any) -> tuple[int, int, int]:
    """Return the frames, rows and columns of pixels of a patch."""
    return config.patch_frames, config.patch_size, config.patch_size


def rotary_table(config: Any, steps: int, device: torch.device) -> Rotary:
    """Return cosines and sines of each patch's place in time, rows and columns, (T, S, 1, D / 2).

    Each of the three turns pairs of dimensions of its own (RoPE, Su et al., 2021, arXiv:2104.09864,
    over three axes); rows and columns have two times D // 6 dimensions each, and time the rest.
    """
    head = config.d_model // config.n_heads
    rows, columns = grid_of(config)
    side = 2 * (head // 6)
    sizes, lengths = (head - 2 * side, side, side), (steps, rows, columns)
    angles = []
    for axis, (size, length) in enumerate(zip(sizes, lengths, strict=True)):
        exponents = torch.arange(0, size, 2, device=device).float() / size
        places = torch.arange(length, device=device).float()
        each = torch.outer(places, config.rope_theta**-exponents)  # (length, size / 2)
        shape = [1, 1, 1, size // 2]
        shape[axis] = length
        angles.append(each.view(shape).expand(*lengths, -1))
    joined = torch.cat(angles, dim=-1).flatten(1, 2).unsqueeze(2)  # (T, S, 1, D / 2)
    return joined.cos(), joined.sin()


def rotate(x: Tensor, rotary: Rotary) -> Tensor:
    """Rotate each pair (x_2i, x_2i+1) of a head by its angle; x is (B, T, S, H, D)."""
    cos, sin = rotary
    first, second = x.reshape(*x.shape[:-1], -1, 2).unbind(-1)
    turned = torch.stack((first * cos - second * sin, first * sin + second * cos), dim=-1)
    return turned.flatten(-2).type_as(x)


class Attention(nn.Module):
    """Attention of all patches to all, or only to those of their step, or of their place.

    Queries and keys are normalized over all heads, and rotated by their place.
    """

    def __init__(self, config: Any, along: str) -> None:
        """Attend `along` the whole "clip", the "space" of one step, or the "time" of one place."""
        super().__init__()
        width = config.d_model
        assert width % config.n_heads == 0, f"{config.n_heads} heads do not divide {width}"
        self.n_heads, self.along = config.n_heads, along
        self.q_proj = nn.Linear(width, width)
        self.k_proj = nn.Linear(width, width)
        self.v_proj = nn.Linear(width, width)
        self.o_proj = nn.Linear(width, width)
        self.q_norm = nn.RMSNorm(width, config.norm_eps)
        self.k_norm = nn.RMSNorm(width, config.norm_eps)

    def forward(self, x: Tensor, rotary: Rotary) -> Tensor:
        """Map (B, T, S, d_model) to (B, T, S, d_model)."""
        heads = (self.n_heads, -1)
        q = rotate(self.q_norm(self.q_proj(x)).unflatten(-1, heads), rotary)  # (B, T, S, H, D)
        k = rotate(self.k_norm(self.k_proj(x)).unflatten(-1, heads), rotary)
        v = self.v_proj(x).unflatten(-1, heads)
        q, k, v = (self._apart(each).transpose(1, 2) for each in (q, k, v))  # (.., H, places, D)
        mixed = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        out: Tensor = self.o_proj(self._together(mixed, x))
        return out

    def _apart(self, x: Tensor) -> Tensor:
        """Return (B, T, S, H, D) with those that attend to each other in the second dimension."""
        if self.along == "clip":
            return x.flatten(1, 2)
        return x.transpose(1, 2).flatten(0, 1) if self.along == "time" else x.flatten(0, 1)

    def _together(self, mixed: Tensor, x: Tensor) -> Tensor:
        """Return what `_apart` moved, with the heads joined, in the shape of x."""
        if self.along != "time":
            return mixed.view_as(x)
        return mixed.view(x.size(0), x.size(2), x.size(1), -1).transpose(1, 2)


class MLP(nn.Module):
    """Two linear layers with a GELU between them, in the form with the hyperbolic tangent."""

    def __init__(self, d_model: int, d_ff: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(d_model, d_ff)
        self.fc2 = nn.Linear(d_ff, d_model)

    def forward(self, x: Tensor) -> Tensor:
        """Return fc2(gelu(fc1(x))); x is (..., d_model)."""
        out: Tensor = self.fc2(F.gelu(self.fc1(x), approximate="tanh"))
        return out


class Block(nn.Module):
    """Attention and a feed-forward layer, each scaled, shifted and gated by the time (adaLN-zero).

    Peebles & Xie, 2022, arXiv:2212.09748, section 3.2. As in Wan, one layer maps the time to six
    vectors for all blocks, and each block adds a table of its own.
    """

    def __init__(self, config: Any, along: str) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(config.d_model, config.norm_eps, elementwise_affine=False)
        self.attention = Attention(config, along)
        self.mlp = MLP(config.d_model, config.d_ff)
        self.table = nn.Parameter(torch.zeros(6, config.d_model))

    def forward(self, x: Tensor, time: Tensor, rotary: Rotary) -> Tensor:
        """Map (B, T, S, d_model) to (B, T, S, d_model); the time of each step is (B, T, 6, d)."""
        first, second = self.modulations(time)
        return self.fed(self.attended(x, first, rotary), second)

    def modulations(self, time: Tensor) -> tuple[Tensor, Tensor]:
        """Return shift, scale and gate of attention, and those of the feed-forward layer.

        Both are (3, B, T, 1, d): the patches of a step have the same time.
        """
        six = (self.table + time).unsqueeze(3).movedim(2, 0)
        return six[:3], six[3:]

    def attended(self, x: Tensor, modulation: Tensor, rotary: Rotary) -> Tensor:
        """Return x with what attention adds."""
        shift, scale, gate = modulation
        added: Tensor = gate * self.attention(self.norm(x) * (1 + scale) + shift, rotary)
        return x + added

    def fed(self, x: Tensor, modulation: Tensor) -> Tensor:
        """Return x with what the feed-forward layer adds."""
        shift, scale, gate = modulation
        added: Tensor = gate * self.mlp(self.norm(x) * (1 + scale) + shift)
        return x + added


class VideoTransformer(nn.Module):
    """What is around the blocks: patches of frames, the embedding of two times, the last layer.

    Patches of frames that are given stay clean, at time 0, beside noisy ones at time t (as
    Wan2.2-TI2V).
    """

    def __init__(self, config: Any, blocks: Iterable[nn.Module], beside: int = 0) -> None:
        """Build what is around blocks; `beside` is how many more channels patches read."""
        super().__init__()
        self.config = config
        width, numbers = config.d_model, config.image_channels * config.patch_frames
        channels, size = config.image_channels + beside, patch_of(config)
        self.patch_embedding = nn.Conv3d(channels, width, size, stride=size)
        self.time_embedding = two_layers(config.time_dim, width)
        self.time_proj = zeroed(nn.Linear(width, 6 * width))
        self.layers = nn.ModuleList(blocks)
        self.norm_out = nn.LayerNorm(width, config.norm_eps, elementwise_affine=False)
        self.table_out = nn.Parameter(torch.zeros(2, width))
        self.proj_out = zeroed(nn.Linear(width, numbers * config.patch_size**2))
        self._init_weights()

    def _init_weights(self) -> None:
        """Draw matrices from Glorot's uniform distribution, those of the time from N(0, 0.02).

        Gates and the last layer start at 0, so each block adds nothing at first.
        """
        for module in (*self.layers.modules(), self.patch_embedding):
            if isinstance(module, nn.Linear | nn.Conv3d):
                nn.init.xavier_uniform_(module.weight.flatten(1))
                assert module.bias is not None
                nn.init.zeros_(module.bias)
        for module in self.time_embedding:
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)

    def patches(self, frames: Tensor) -> Tensor:
        """Return the patches of frames (B, C, F, height, width) as (B, T, S, d)."""
        x: Tensor = self.patch_embedding(frames.to(self.patch_embedding.weight.dtype))
        return x.permute(0, 2, 3, 4, 1).flatten(2, 3)

    def times(self, t: Tensor, clean: int, noisy: int) -> tuple[Tensor, Tensor]:
        """Return what the blocks read of the times of steps, and the embedding of t.

        They are (B, T, 6, d) and (B, d).

        Args:
            t: (B,) share of noise in the noisy steps, from 0 to 1.
            clean: Steps before them, whose time is 0.
            noisy: Their number.
        """
        both = TIMES * torch.stack((torch.zeros_like(t), t), dim=1).flatten()
        embedded = sinusoids(both, self.config.time_dim).to(self.table_out.dtype)
        embedded = self.time_embedding(embedded).unflatten(0, (-1, 2))  # (B, 2, d)
        time = self.time_proj(F.silu(embedded)).unflatten(2, (6, -1))  # (B, 2, 6, d)
        counts = ((0, clean), (1, noisy))
        each = [time[:, which : which + 1].expand(-1, n, -1, -1) for which, n in counts]
        return torch.cat(each, dim=1), embedded[:, 1]

    def frames(self, x: Tensor, embedded: Tensor) -> Tensor:
        """Return frames (B, C, frames, height, width) of noisy patches (B, steps, S, d)."""
        modulation = self.table_out + embedded[:, None]  # (B, 2, d)
        shift, scale = torch.split(modulation[:, None], 1, dim=2)  # (B, 1, 1, d)
        patches: Tensor = self.proj_out(self.norm_out(x) * (1 + scale) + shift)
        config = self.config
        shape = (*grid_of(config), *patch_of(config), config.image_channels)
        frames = patches.view(*patches.shape[:2], *shape)
        # (B, steps, rows, columns, frames, height, width, C) of a patch
        frames = frames.permute(0, 7, 1, 4, 2, 5, 3, 6)
        return frames.flatten(6, 7).flatten(4, 5).flatten(2, 3)

    def num_params(self) -> int:
        """Return the number of weights."""
        return sum(p.numel() for p in self.parameters())

    def checkpoint_name(self, name: str) -> str:
        """Return the name of a parameter in a checkpoint: its own."""
        return name

    def checkpoint_config(self) -> dict[str, Any]:
        """Return further entries of config.json: none."""
        return {}


def attention_turns(config: Any) -> list[str]:
    """Return what each block attends along: the clip, or its space and its time by turns."""
    turns = ("space", "time") if config.factorized else ("clip",)
    return [turns[layer % len(turns)] for layer in range(config.n_layers)]
