"""A video diffusion Transformer: Wan (Wan Team, 2025, arXiv:2503.20314) without its text.

Frames are cut into patches of space and time, which attend to each other. The first frames are
given: their patches stay clean, at time 0, beside noisy ones at time t (as Wan2.2-TI2V). The output
is the velocity of flow matching (Lipman et al., 2022, arXiv:2210.02747).

Shapes in comments: B clips, C channels, T steps of patches in time, S patches of a step.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from layers.space_time import Block, VideoTransformer, attention_turns, rotary_table


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


class Model(VideoTransformer):
    """The Transformer.

    transformers has no class for it, so config.json and the tensors' names are its own.
    """

    def __init__(self, config: Config) -> None:
        super().__init__(config, (Block(config, each) for each in attention_turns(config)))

    def forward(self, given: Tensor, noisy: Tensor, t: Tensor) -> Tensor:
        """Return the velocity of the noisy frames, noise minus frames, in their shape.

        Args:
            given: (B, C, given_frames, height, width), pixels of -1 to 1.
            noisy: (B, C, num_frames - given_frames, height, width), the frames that follow.
            t: (B,) share of noise in them, from 0 to 1.
        """
        steps, start = self.config.steps, self.config.given_steps
        x = self.patches(torch.cat((given, noisy), dim=2))  # (B, T, S, d)
        time, embedded = self.times(t, start, steps - start)
        rotary = rotary_table(self.config, steps, x.device)
        for layer in self.layers:
            x = layer(x, time, rotary)
        return self.frames(x[:, start:], embedded)
