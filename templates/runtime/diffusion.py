"""Noise: how much of it there is at each level, how it is put in, and how it is taken out."""

import math
from collections.abc import Callable

import torch
from torch import Tensor


def signal(schedule: str, levels: int) -> Tensor:
    """Return the share of an image's variance that is left at each noise level, shape (levels,).

    That is alpha-bar, the product of 1 - beta up to a level. `linear` is of Ho et al., 2020,
    arXiv:2006.11239, section 4: beta from 0.0001 to 0.02 over 1,000 levels, and in proportion over
    another number. `cosine` is of Nichol & Dhariwal, 2021, arXiv:2102.09672, equation 17.
    """
    if schedule == "linear":
        scale = 1000 / levels
        first, last = (min(0.999, scale * end) for end in (1e-4, 0.02))
        betas = torch.linspace(first, last, levels, dtype=torch.float64)
    else:
        places = torch.arange(levels + 1, dtype=torch.float64) / levels
        left = torch.cos((places + 0.008) / 1.008 * math.pi / 2) ** 2
        betas = (1 - left[1:] / left[:-1]).clamp(max=0.999)
    return torch.cumprod(1 - betas, 0).float()


def add_noise(images: Tensor, noise: Tensor, left: Tensor) -> Tensor:
    """Return sqrt(a) x + sqrt(1 - a) noise (Ho et al., 2020, equation 4).

    Args:
        images: (B, C, H, W) of -1 to 1.
        noise: Standard normal, of the same shape.
        left: (B,) the share a of the variance that is left.
    """
    a = left[:, None, None, None]
    return a.sqrt() * images + (1 - a).sqrt() * noise


def sampling_levels(levels: int, steps: int) -> list[int]:
    """Return the noise levels that sampling visits, falling: the middles of equal parts."""
    return [int((step + 0.5) * levels / steps) for step in reversed(range(steps))]


def sample(
    predict: Callable[[Tensor, Tensor], Tensor], noise: Tensor, left: Tensor, steps: int
) -> Tensor:
    """Return the images that noise becomes, of -1 to 1, without further chance.

    DDIM (Song et al., 2020, arXiv:2010.02502, equation 12, with sigma = 0). An image that leaves
    the range of pixels is cut to it, and the noise is what is left of it then.

    Args:
        predict: Returns the noise in images (B, C, H, W) at levels (B,).
        noise: Standard normal, (B, C, H, W).
        left: What `signal` returns.
        steps: How often the noise is predicted.
    """
    x, visited = noise, sampling_levels(len(left), steps)
    for level, following in zip(visited, [*visited[1:], None], strict=True):
        a = left[level]
        found = predict(x, torch.full((len(x),), level, device=x.device)).float()
        images = ((x - (1 - a).sqrt() * found) / a.sqrt()).clamp(-1, 1)
        if following is None:
            return images
        found = (x - a.sqrt() * images) / (1 - a).sqrt()
        x = left[following].sqrt() * images + (1 - left[following]).sqrt() * found
    return x


def guided(
    model: Callable[[Tensor, Tensor, Tensor], Tensor],
    condition: Tensor,
    nothing: Tensor,
    guidance: float,
) -> Callable[[Tensor, Tensor], Tensor]:
    """Return a model's prediction under a condition, pushed away from the one under none.

    Classifier-free guidance (Ho & Salimans, 2022, arXiv:2207.12598, equation 6), written as
    e(none) + guidance * (e(condition) - e(none)): 1 is the condition alone, which costs one pass
    instead of two.
    """

    def predict(x: Tensor, t: Tensor) -> Tensor:
        if guidance == 1:
            return model(x, t, condition)
        both = model(x.repeat(2, 1, 1, 1), t.repeat(2), torch.cat((condition, nothing)))
        found, free = both.chunk(2)
        return free + guidance * (found - free)

    return predict
