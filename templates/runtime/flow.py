"""Flow matching: samples and noise on straight lines, and the way back along them.

A time of 0 is the sample, 1 is noise (Liu et al., 2022, arXiv:2209.03003; Lipman et al., 2022,
arXiv:2210.02747).
"""

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor


def shifted(t: Tensor, shift: float) -> Tensor:
    """Return times moved towards noise: s t / (1 + (s - 1) t).

    Esser et al., 2024, arXiv:2403.03206, equation 23: larger samples need more noise to be hidden.
    """
    return shift * t / (1 + (shift - 1) * t)


def between(samples: Tensor, noise: Tensor, t: Tensor) -> Tensor:
    """Return (1 - t) x + t noise of samples (B, ...) at times (B,)."""
    t = t.view(-1, *[1] * (samples.dim() - 1))
    return (1 - t) * samples + t * noise


def flow_loss(
    predict: Callable[[Tensor, Tensor], Tensor],
    samples: Tensor,
    shift: float,
    *,
    of_samples: bool = False,
) -> Tensor:
    """Return the mean squared error of the predicted velocity.

    E over x, e and t of |e - x - model((1 - t) x + t e, t)|^2, the mean over the numbers of a
    sample (Lipman et al., 2022, arXiv:2210.02747, equation 23, with noise at 1).

    Args:
        predict: Returns the velocity, noise minus sample, of (B, ...) at times (B,).
        samples: (B, ...).
        shift: How far times are moved towards noise; 1 leaves them even.
        of_samples: Whether the error is of the samples that a velocity leads to in one step: it is
            t times as large, so that little noise has no great weight.
    """
    # Every sample gets a time of its own, so that an update sees many of them.
    t = shifted(torch.rand(len(samples), device=samples.device), shift)
    noise = torch.randn_like(samples)
    error = predict(between(samples, noise, t), t).float() - (noise - samples)
    scale = t.view(-1, *[1] * (samples.dim() - 1)) if of_samples else 1.0
    return (scale * error).square().mean()


def sample(
    predict: Callable[[Tensor, Tensor], Tensor], noise: Tensor, steps: int, shift: float
) -> Tensor:
    """Return the samples that noise becomes, in steps of Euler's method from time 1 to 0.

    One step gives the mean of all samples that the noise may become: it goes along the mean of
    their velocities.

    Args:
        predict: Returns the velocity, noise minus sample, of (B, ...) at times (B,).
        noise: Standard normal, (B, ...).
        steps: Number of predictions.
        shift: How far the times are moved towards noise; 1 for equal steps.
    """
    times = shifted(torch.linspace(1, 0, steps + 1), shift).tolist()
    x = noise
    for now, following in pairwise(times):
        velocity = predict(x, torch.full((len(x),), now, device=x.device)).float()
        x = x + (following - now) * velocity
    return x
