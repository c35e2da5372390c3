"""Noise of a diffusion model: its levels, adding it to images, and removing it; guidance."""

import math
from collections.abc import Callable

import torch
from torch import Tensor


def signal(schedule: str, levels: int) -> Tensor:
    """Return the share of an image's variance that remains at each noise level, shape (levels,).

    This is alpha-bar, the product of 1 - beta up to a level. `linear` follows Ho et al., 2020,
    arXiv:2006.11239, section 4: beta from 0.0001 to 0.02 over 1,000 levels, in proportion for
    another number. `cosine` follows Nichol & Dhariwal, 2021, arXiv:2102.09672, equation 17.
    """
    if schedule == "linear":
        scale = 1000 / levels
        first, last = (min(0.999, scale * end) for end in (1e-4, 0.02))
        betas = torch.linspace(first, last, levels, dtype=torch.float64)
    else:
        places = torch.arange(levels + 1, dtype=torch.float64) / levels
        left = torch.cos((places + 0.008) / 1.008 * math.pi / 2) ** 2
        # Without the limit, the last beta is 1, and no image could be computed from its noise.
        betas = (1 - left[1:] / left[:-1]).clamp(max=0.999)
    return torch.cumprod(1 - betas, 0).float()


def add_noise(images: Tensor, noise: Tensor, left: Tensor) -> Tensor:
    """Return sqrt(a) x + sqrt(1 - a) noise (Ho et al., 2020, equation 4).

    Args:
        images: (B, ...) of -1 to 1.
        noise: Standard normal, of the same shape.
        left: (B,) the share a of the variance that is left.
    """
    a = left.view(-1, *[1] * (images.dim() - 1))
    return a.sqrt() * images + (1 - a).sqrt() * noise


def withheld(condition: Tensor, nothing: Tensor, share: float) -> Tensor:
    """Return conditions (B, ...), a share of which are replaced by `nothing` (1, ...).

    Guidance compares what a model predicts with a condition and without, so it learns both.
    """
    hidden = torch.rand(len(condition), device=condition.device) < share
    nothing = nothing.to(condition.device)
    return torch.where(hidden.view(-1, *[1] * (condition.dim() - 1)), nothing, condition)


def sampling_levels(levels: int, steps: int) -> list[int]:
    """Return the noise levels of sampling in falling order: the middles of equal parts."""
    return [int((step + 0.5) * levels / steps) for step in reversed(range(steps))]


def sample(
    predict: Callable[[Tensor, Tensor], Tensor], noise: Tensor, left: Tensor, steps: int
) -> Tensor:
    """Return the images, from -1 to 1, that noise becomes; sampling adds no further noise.

    DDIM (Song et al., 2020, arXiv:2010.02502, equation 12, with sigma = 0). Values
    outside the range are clamped, and the noise is computed again from the clamped image.

    Args:
        predict: Returns the noise in images (B, ...) at levels (B,).
        noise: Standard normal, (B, ...).
        left: What `signal` returns.
        steps: Number of predictions.
    """
    x, visited = noise, sampling_levels(len(left), steps)
    for level, following in zip(visited, [*visited[1:], None], strict=True):
        a = left[level]
        error = predict(x, torch.full((len(x),), level, device=x.device)).float()
        images = ((x - (1 - a).sqrt() * error) / a.sqrt()).clamp(-1, 1)
        if following is None:
            return images
        error = (x - a.sqrt() * images) / (1 - a).sqrt()
        x = left[following].sqrt() * images + (1 - left[following]).sqrt() * error
    return x


def guided(
    model: Callable[[Tensor, Tensor, Tensor], Tensor],
    condition: Tensor,
    nothing: Tensor,
    guidance: float,
) -> Callable[[Tensor, Tensor], Tensor]:
    """Return a model's prediction with a condition, moved away from that without one.

    Classifier-free guidance (Ho & Salimans, 2022, arXiv:2207.12598, equation 6), written as
    e(none) + guidance * (e(condition) - e(none)). A guidance of 1 gives the conditional prediction,
    and costs one pass instead of two.
    """

    def predict(x: Tensor, t: Tensor) -> Tensor:
        if guidance == 1:
            return model(x, t, condition)
        both = model(torch.cat((x, x)), torch.cat((t, t)), torch.cat((condition, nothing)))
        conditional, free = both.chunk(2)
        return free + guidance * (conditional - free)

    return predict
