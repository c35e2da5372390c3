"""A diffusion Transformer of talking heads: Wan (arXiv:2503.20314) that hears speech.

A chunk of frames is generated beside a portrait and the frames before it, which stay clean; each
patch also has that of the portrait beside it, as further channels (as Wan's image to video). Each
block attends to the patches of all of these, and then to a caption and to the sound around each
step, in the decoupled cross-attention that Wan has for images (IP-Adapter, Ye et al., 2023,
arXiv:2308.06721), as FantasyTalking has it for sound (arXiv:2504.04842). Here a small Transformer
that is trained with the rest reads the bytes of a caption, and two layers read log-mel spectra.
The network predicts how frames differ from the portrait, and their velocity follows: patches of
pixels have more noise than a width can carry (Li & He, 2025, arXiv:2511.13720).

Shapes in comments: B clips, C channels, T steps of patches (one of the portrait and those of the
chunk), S patches of a step, K spectra that a step hears, L bytes of a caption, d = d_model.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from layers.space_time import (
    Block,
    Rotary,
    VideoTransformer,
    attention_turns,
    rotary_table,
)
from layers.text import TextEncoder, caption_bytes

TICKS = 4  # spectra of a frame
LEAST_TIME = 0.05  # A velocity is a difference by the time, which is taken as no less.
SAMPLES_A_BAND = 8  # A narrower band of the spectrum would hold no frequency of a short window.


@dataclass(frozen=True)
class Config:
    """Dimensions of the model; the defaults are the full model."""

    num_frames: int = 16  # frames of a chunk, given ones included; a multiple of patch_frames
    given_frames: int = 4  # frames that the others continue; a multiple of patch_frames
    image_height: int = 256  # pixels; a multiple of patch_size
    image_width: int = 256  # pixels; a multiple of patch_size
    image_channels: int = 3  # 1 for grey, 3 for colours
    frame_rate: int = 25  # frames a second
    sample_rate: int = 16000  # samples of sound a second
    audio_reach: int = 2  # frames on each side of a step whose sound it hears
    patch_frames: int = 2  # frames of a patch
    patch_size: int = 16  # pixels along each side of a patch
    d_model: int = 1536  # width of the residual stream
    n_layers: int = 30  # number of blocks
    n_heads: int = 12  # attention heads in each block; they divide d_model
    d_ff: int = 8960  # width of the feed-forward layer
    time_dim: int = 256  # sines and cosines of the time
    text_length: int = 256  # bytes of a caption, at most
    text_width: int = 768  # width of the text encoder
    text_layers: int = 12  # layers of the text encoder
    text_heads: int = 12  # heads of a layer of the text encoder
    vocab_size: int = 257  # byte values, and one for what follows the caption
    factorized: bool = False  # whether blocks attend within a step and along time by turns
    norm_eps: float = 1e-06  # added to the variance before its root
    rope_theta: float = 10000.0  # base of the rotary frequencies

    @property
    def made_frames(self) -> int:
        """Frames that a chunk generates."""
        return self.num_frames - self.given_frames

    @property
    def frame_samples(self) -> int:
        """Samples of sound of a frame."""
        return self.sample_rate // self.frame_rate

    @property
    def bands(self) -> int:
        """Bands of a spectrum, whose window is as long as a frame."""
        return self.frame_samples // SAMPLES_A_BAND

    @property
    def heard(self) -> int:
        """Spectra that a step hears: those of its frames and of some on each side."""
        return TICKS * (self.patch_frames + 2 * self.audio_reach)


def conditions(config: Config, captions: Sequence[str]) -> Tensor:
    """Return (B, L), the bytes of captions, cut or padded; the empty caption stands for none."""
    return caption_bytes(config, captions)


class Read(nn.Module):
    """Attention of patches to a caption and to the sound of their step, whose results are added.

    Both have the same queries, and keys and values of their own. Queries and keys are normalized
    over all heads.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        width, eps = config.d_model, config.norm_eps
        self.n_heads = config.n_heads
        self.q_proj = nn.Linear(width, width)
        self.q_norm = nn.RMSNorm(width, eps)
        self.k_proj, self.v_proj = nn.Linear(width, width), nn.Linear(width, width)
        self.k_norm = nn.RMSNorm(width, eps)
        self.audio_k_proj, self.audio_v_proj = nn.Linear(width, width), nn.Linear(width, width)
        self.audio_k_norm = nn.RMSNorm(width, eps)
        self.o_proj = nn.Linear(width, width)

    def forward(self, x: Tensor, text: Tensor, audio: Tensor) -> Tensor:
        """Return what patches (B, T, S, d) read of texts (B, L, d) and sounds (B, T, K, d)."""
        q = self.q_norm(self.q_proj(x))
        k, v = self.k_norm(self.k_proj(text)), self.v_proj(text)
        read = self._attended(q.flatten(1, 2), k, v).view_as(x)
        k, v = self.audio_k_norm(self.audio_k_proj(audio)), self.audio_v_proj(audio)
        steps = self._attended(*(each.flatten(0, 1) for each in (q, k, v))).view_as(x)
        out: Tensor = self.o_proj(read + steps)
        return out

    def _attended(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Return attention of (N, places, d) to (N, others, d), head by head."""
        heads = (self.n_heads, -1)
        q, k, v = (each.view(*each.shape[:2], *heads).transpose(1, 2) for each in (q, k, v))
        return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)


class TalkingBlock(Block):
    """A block that reads the caption and the sound between attention and feed-forward layer."""

    def __init__(self, config: Config, along: str) -> None:
        super().__init__(config, along)
        self.read_norm = nn.LayerNorm(config.d_model, config.norm_eps)
        self.read = Read(config)

    def forward(  # type: ignore[override]
        self, x: Tensor, time: Tensor, rotary: Rotary, text: Tensor, audio: Tensor
    ) -> Tensor:
        """Map (B, T, S, d) to (B, T, S, d); the time of each step is (B, T, 6, d)."""
        first, second = self.modulations(time)
        x = self.attended(x, first, rotary)
        x = x + self.read(self.read_norm(x), text, audio)
        return self.fed(x, second)


class Model(VideoTransformer):
    """The Transformer, and what reads captions and sounds for it.

    transformers has no class for it, so config.json and the tensors' names are its own.
    """

    def __init__(self, config: Config) -> None:
        blocks = (TalkingBlock(config, each) for each in attention_turns(config))
        super().__init__(config, blocks, beside=config.image_channels)
        d = config.d_model
        self.text_encoder = TextEncoder(config)
        self.text_in = two_linear(config.text_width, d)
        self.audio_in = two_linear(config.bands, d)
        # Which of the spectra around its step one is.
        self.audio_places = nn.Parameter(torch.zeros(config.heard, d))
        nn.init.normal_(self.audio_places, std=0.02)

    def forward(
        self,
        portrait: Tensor,
        given: Tensor,
        noisy: Tensor,
        t: Tensor,
        sound: Tensor,
        caption: Tensor,
    ) -> Tensor:
        """Return the velocity of the noisy frames, noise minus frames, in their shape.

        Args:
            portrait: (B, C, height, width), pixels of -1 to 1.
            given: (B, C, given_frames, height, width), the frames before.
            noisy: (B, C, num_frames - given_frames, height, width), the frames that follow.
            t: (B,) share of noise in them, from 0 to 1.
            sound: (B, num_frames + 2 * audio_reach, 4, bands) spectra of given and noisy frames,
                and of audio_reach frames before and after them.
            caption: (B, L) what `conditions` returned.
        """
        x = self.patches(self._beside_portrait(portrait, given, noisy))  # (B, T, S, d)
        made = self.config.made_frames // self.config.patch_frames
        steps = x.size(1)
        time, embedded = self.times(t, steps - made, made)
        text = self.text_in(self.text_encoder(caption))  # (B, L, d)
        audio = self.heard(sound.to(x.dtype))  # (B, T, K, d)
        rotary = rotary_table(self.config, steps, x.device)
        for layer in self.layers:
            x = layer(x, time, rotary, text, audio)
        drawn = portrait.unsqueeze(2) + self.frames(x[:, -made:], embedded)
        return (noisy - drawn) / t.clamp(min=LEAST_TIME).view(-1, 1, 1, 1, 1)

    def _beside_portrait(self, portrait: Tensor, given: Tensor, noisy: Tensor) -> Tensor:
        """Return all frames, with the portrait in further channels, (B, 2C, frames, H, W)."""
        still = portrait.unsqueeze(2)
        first = still.expand(-1, -1, self.config.patch_frames, -1, -1)
        frames = torch.cat((first, given, noisy), dim=2)
        return torch.cat((frames, still.expand_as(frames)), dim=1)

    def heard(self, sound: Tensor) -> Tensor:
        """Return what each step hears, (B, T, K, d); the portrait's step hears zeros."""
        config = self.config
        length = config.patch_frames + 2 * config.audio_reach
        windows = sound.unfold(1, length, config.patch_frames)  # (B, T - 1, 4, bands, length)
        windows = windows.permute(0, 1, 4, 2, 3).flatten(2, 3)  # (B, T - 1, K, bands)
        embedded: Tensor = self.audio_in(F.pad(windows, (0, 0, 0, 0, 1, 0)))
        return embedded + self.audio_places


def two_linear(inputs: int, width: int) -> nn.Sequential:
    """Return two linear layers with a GELU between them, in the form with the hyperbolic tangent.

    Wan has them between its text encoder and its blocks.
    """
    return nn.Sequential(
        nn.Linear(inputs, width), nn.GELU(approximate="tanh"), nn.Linear(width, width)
    )
