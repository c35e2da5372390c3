"""Chunks of a talking head: the sound around each, and the way from one to the next.

Shapes: B clips, C channels, F frames of a clip.
"""

from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from runtime.flow import sample
from runtime.spectra import SILENCE


def sound_of_chunk(heard: Tensor, start: int, model: Any) -> Tensor:
    """Return the spectra around a chunk, (..., frames, 4, bands); silence beyond both ends.

    Args:
        heard: The spectra of all frames of a clip, (..., F, 4, bands).
        start: The first frame that the chunk generates.
        model: The dimensions, which say how many frames before and after it are heard.
    """
    first = start - model.given_frames - model.audio_reach
    last = start + model.made_frames + model.audio_reach
    count = heard.size(-3)
    before, after = max(0, -first), max(0, last - max(count, first))
    some = heard[..., max(0, first) : last, :, :]
    return F.pad(some, (0, 0, 0, 0, before, after), value=SILENCE)


@torch.inference_mode()
def animated(
    network: Any,
    portrait: Tensor,
    heard: Tensor,
    caption: Tensor,
    way: tuple[int, float, int],
) -> Tensor:
    """Return portraits that speak, (B, C, F, H, W) of -1 to 1, chunk by chunk.

    Args:
        network: The model.
        portrait: (B, C, H, W) of -1 to 1; it stands still before the first frame.
        heard: The spectra of the frames to generate, (B, F, 4, bands).
        caption: The bytes of captions, (B, L).
        way: Steps from noise to frames, how far they are moved towards noise, and the seed.
    """
    model, (steps, shift, seed) = network.config, way
    # Noise is drawn on the CPU: a seed gives the same frames on every device.
    generator = torch.Generator().manual_seed(seed)
    clip = portrait.unsqueeze(2).repeat(1, 1, model.given_frames, 1, 1)
    size = (*portrait.shape[:2], model.made_frames, *portrait.shape[2:])
    for start in range(0, heard.size(1), model.made_frames):
        noise = torch.randn(size, generator=generator).to(portrait.device)
        sound = sound_of_chunk(heard, start, model)
        predict = partial(
            _velocity, network, portrait, clip[:, :, -model.given_frames :], sound, caption
        )
        drawn = sample(predict, noise, steps, shift).clamp(-1, 1)
        clip = torch.cat((clip, drawn), dim=2)
    return clip[:, :, model.given_frames :][:, :, : heard.size(1)]


def _velocity(
    network: Any,
    portrait: Tensor,
    given: Tensor,
    sound: Tensor,
    caption: Tensor,
    noisy: Tensor,
    t: Tensor,
) -> Tensor:
    velocity: Tensor = network(portrait, given, noisy, t, sound, caption)
    return velocity
