"""Mouths that are seen in pixels alone: where they are, how far they open, and with which sound.

The mouth of a clip is where its real frames change most with the loudness of its sound. So no
detector of faces is needed, and any clip can be scored.

Shapes: N clips, F frames, C channels.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from runtime.motion import PENALTY, neighbourhoods

SHARE = 0.02  # share of the pixels of a frame that are its mouth


class Mouth(NamedTuple):
    """The mouth of a clip: its pixels, and whether each is lighter (1) or darker (-1) when loud."""

    pixels: Tensor
    signs: Tensor


def loudness(sound: Tensor, frame: int) -> Tensor:
    """Return the root of the mean power of each frame, (F,), of a sound (S,)."""
    return sound[: len(sound) // frame * frame].view(-1, frame).square().mean(1).sqrt()


def mouth_of(frames: Tensor, loud: Tensor) -> Mouth:
    """Return the mouth of real frames (C, F, H, W): the pixels of largest covariance."""
    grey = frames.mean(0).flatten(1)  # (F, H * W)
    covariance = (loud - loud.mean()) @ (grey - grey.mean(0))
    pixels = covariance.abs().topk(max(1, round(SHARE * grey.size(1)))).indices
    return Mouth(pixels, covariance[pixels].sign())


def mouth_values(frames: Tensor, mouth: Mouth) -> Tensor:
    """Return the values of a mouth's pixels in frames (C, F, H, W), (C, F, pixels)."""
    return frames.flatten(2)[..., mouth.pixels]


def sync(frames: Tensor, mouth: Mouth, loud: Tensor) -> float:
    """Return the correlation over time of a mouth's opening with the loudness of the sound.

    The opening is the mean of the mouth's pixels, with their signs; one that never moves has 0.
    """
    opening = (mouth_values(frames, mouth).mean(0) * mouth.signs).mean(1)
    pair = torch.stack((opening, loud)).double()
    pair = pair - pair.mean(1, keepdim=True)
    size = pair.norm(dim=1).prod()
    return float((pair[0] * pair[1]).sum() / size) if size > 1e-9 else 0.0


class LoudnessRidge:
    """A linear map from the 9 x 9 values of a portrait around a place, alone and times loudness.

    It returns the value of the place in a frame of that loudness.
    """

    def __init__(self, clips: Sequence[Tensor], louds: Sequence[Tensor]) -> None:
        """Fit the map on training clips (C, F, H, W), the first frame of which is the portrait."""
        size = neighbourhoods(clips[0][None, :, :1]).size(-1)
        products = torch.zeros(2, size, 2, size, dtype=torch.float64)
        targets = torch.zeros(2, size, dtype=torch.float64)
        for clip, loud in zip(clips, louds, strict=True):
            x = neighbourhoods(clip[None, :, :1]).double()  # (places, size)
            # All frames of a clip have the same neighbourhoods, with a factor that differs.
            factors = torch.stack((torch.ones_like(loud), loud)).double()  # (2, F)
            products += torch.einsum("ab,ij->aibj", factors @ factors.T, x.T @ x)
            values = clip.permute(0, 2, 3, 1).flatten(0, 2).double()  # (places, F)
            targets += factors @ (x.T @ values).T
        whole = products.view(2 * size, 2 * size) + PENALTY * torch.eye(2 * size)
        self.weights = torch.linalg.solve(whole, targets.flatten()).view(2, size).float()

    def __call__(self, portrait: Tensor, loud: Tensor) -> Tensor:
        """Return the frames (C, F, H, W) of a portrait (C, H, W)."""
        plain, moved = (neighbourhoods(portrait[None, :, None]) @ self.weights.T).unbind(1)
        values: Tensor = plain[:, None] + moved[:, None] * loud
        return values.view(*portrait.shape, -1).permute(0, 3, 1, 2)
