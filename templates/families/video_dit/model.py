"""A video diffusion Transformer: Wan (Wan Team, 2025, arXiv:2503.20314) without its text.

Frames are cut into patches of space and time, which attend to each other. The first frames are
given: their patches stay clean, at time 0, beside noisy ones at time t (as Wan2.2-TI2V). The output
is the velocity of flow matching (Lipman et al., 2022, arXiv:2210.02747).

Shapes in comments: B clips, C channels, T steps of patches in time, S patches of a step, H heads, D
dimensions of a head.
"""

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from layers.unet import sinusoids, two_layers, zeroed

Rotary = tuple[Tensor, Tensor]
TIMES = 1000  # The embedding reads times of 0 to 1 as levels of 0 to 1000.


@dataclass(frozen=True)
class Config:
    """Dimensions of the model; the defaults are the full model."""

    num_frames: int = 16  # frames of a clip, given ones included; a multiple of patch_frames
    given_frames: int = 4  # frames that the others continue; a multiple of patch_frames
    image_height: int = 256  # pixels; a multiple of patch_size
    image_width: int = 256  # pixels; a multiple of patch_size
    image_channels: int = 3  # 1 for grey, 3 for colours
    patch_frames: int = 2  # frames of a patch
    patch_size: int = 16  # pixels along each side of a patch
    d_model: int = 1536  # width of the residual stream
    n_layers: int = 30  # number of blocks
    n_heads: int = 12  # attention heads in each block; they divide d_model
    d_ff: int = 8960  # width of the feed-forward layer
    time_dim: int = 256  # sines and cosines of the time
    factorized: bool = False  # whether blocks attend within a step and along time by turns
    norm_eps: float = 1e-06  # added to the variance before its root
    rope_theta: float = 10000.0  # base of the rotary frequencies

    @property
    def given_steps(self) -> int:
        """Steps of patches that are given."""
        return self.given_frames // self.patch_frames

    @property
    def steps(self) -> int:
        """Steps of patches of a clip."""
        return self.num_frames // self.patch_frames

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of patches of a step."""
        return self.image_height // self.patch_size, self.image_width // self.patch_size

    @property
    def patch(self) -> tuple[int, int, int]:
        """Frames, rows and columns of pixels of a patch."""
        return self.patch_frames, self.patch_size, self.patch_size


def rotary_table(config: Config, device: torch.device) -> Rotary:
    """Return cosines and sines of each patch's place in time, rows and columns, (T, S, 1, D / 2).

    Each of the three turns pairs of dimensions of its own (RoPE, Su et al., 2021, arXiv:2104.09864,
    over three axes); rows and columns have two times D // 6 dimensions each, and time the rest.
    """
    head = config.d_model // config.n_heads
    rows, columns = config.grid
    side = 2 * (head // 6)
    sizes, lengths = (head - 2 * side, side, side), (config.steps, rows, columns)
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

    def __init__(self, config: Config, along: str) -> None:
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

    def __init__(self, config: Config, along: str) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(config.d_model, config.norm_eps, elementwise_affine=False)
        self.attention = Attention(config, along)
        self.mlp = MLP(config.d_model, config.d_ff)
        self.table = nn.Parameter(torch.zeros(6, config.d_model))

    def forward(self, x: Tensor, time: Tensor, rotary: Rotary) -> Tensor:
        """Map (B, T, S, d_model) to (B, T, S, d_model); the time of each step is (B, T, 6, d)."""
        # Each is (B, T, 1, d): the patches of a step have the same time.
        shift, scale, gate, shift_2, scale_2, gate_2 = (self.table + time).unsqueeze(3).unbind(2)
        x = x + gate * self.attention(self.norm(x) * (1 + scale) + shift, rotary)
        x = x + gate_2 * self.mlp(self.norm(x) * (1 + scale_2) + shift_2)
        return x


class Model(nn.Module):
    """The Transformer.

    transformers has no class for it, so config.json and the tensors' names are its own.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        width, numbers = config.d_model, config.image_channels * config.patch_frames
        self.patch_embedding = nn.Conv3d(
            config.image_channels, width, config.patch, stride=config.patch
        )
        self.time_embedding = two_layers(config.time_dim, width)
        self.time_proj = zeroed(nn.Linear(width, 6 * width))
        self.layers = nn.ModuleList(Block(config, each) for each in _along(config))
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

    def forward(self, given: Tensor, noisy: Tensor, t: Tensor) -> Tensor:
        """Return the velocity of the noisy frames, noise minus frames, in their shape.

        Args:
            given: (B, C, given_frames, height, width), pixels of -1 to 1.
            noisy: (B, C, num_frames - given_frames, height, width), the frames that follow.
            t: (B,) share of noise in them, from 0 to 1.
        """
        weight = self.patch_embedding.weight
        x = self.patch_embedding(torch.cat((given, noisy), dim=2).to(weight.dtype))
        x = x.permute(0, 2, 3, 4, 1).flatten(2, 3)  # (B, T, S, d)
        # The given frames hold no noise: their time is 0.
        times = TIMES * torch.stack((torch.zeros_like(t), t), dim=1).flatten()
        embedded = self.time_embedding(sinusoids(times, self.config.time_dim).to(weight.dtype))
        embedded = embedded.unflatten(0, (-1, 2))  # (B, 2, d)
        time = self.time_proj(F.silu(embedded)).unflatten(2, (6, -1))  # (B, 2, 6, d)
        start = self.config.given_steps
        counts = (start, self.config.steps - start)
        each = [one.repeat(1, n, 1, 1) for one, n in zip(time.split(1, dim=1), counts, strict=True)]
        time = torch.cat(each, dim=1)  # (B, T, 6, d)
        rotary = rotary_table(self.config, x.device)
        for layer in self.layers:
            x = layer(x, time, rotary)
        shift, scale = (self.table_out + embedded[:, 1:])[:, None].split(1, dim=2)  # (B, 1, 1, d)
        x = self.norm_out(x[:, start:]) * (1 + scale) + shift
        return self._frames(self.proj_out(x))

    def _frames(self, patches: Tensor) -> Tensor:
        """Return frames (B, C, frames, height, width) of patches (B, steps, S, numbers)."""
        config = self.config
        shape = (*config.grid, *config.patch, config.image_channels)
        x = patches.view(*patches.shape[:2], *shape)
        # (B, steps, rows, columns, frames, height, width, C) of a patch
        x = x.permute(0, 7, 1, 4, 2, 5, 3, 6)
        return x.flatten(6, 7).flatten(4, 5).flatten(2, 3)

    def num_params(self) -> int:
        """Return the number of weights."""
        return sum(p.numel() for p in self.parameters())

    def checkpoint_name(self, name: str) -> str:
        """Return the name of a parameter in a checkpoint: its own."""
        return name

    def checkpoint_config(self) -> dict[str, Any]:
        """Return further entries of config.json: none."""
        return {}


def _along(config: Config) -> list[str]:
    """Return what each block attends along: the clip, or its space and its time by turns."""
    turns = ("space", "time") if config.factorized else ("clip",)
    return [turns[layer % len(turns)] for layer in range(config.n_layers)]
