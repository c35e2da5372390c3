"""Frames of clips: scaled down, in a figure of a report, and their ratio of signal to noise."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch.nn.functional as F
from torch import Tensor

from runtime.scores import Mean, Score, Weights

SHOWN_SIDE = 24  # pixels per side in a figure; the report grows with their square


def small(clips: Tensor, side: int) -> Tensor:
    """Return clips (N, C, F, H, W) scaled down to a largest side; each pixel is a mean."""
    height, width = clips.shape[3:]
    size = (min(side, height), min(side, width))
    return F.adaptive_avg_pool2d(clips.flatten(1, 2), size).view(*clips.shape[:3], *size)


def shown(frame: Tensor) -> Any:
    """Return a frame (C, H, W) as nested lists: rows of grey values, or of red, green and blue."""
    # Two digits of brightness are as much as print shows, and keep the report short.
    fewer = small(frame[None, :, None], SHOWN_SIDE)[0, :, 0]
    values = fewer[0] if len(fewer) == 1 else fewer.permute(1, 2, 0)
    return np.round(values.double().numpy(), 2).tolist()


def psnr(errors: Tensor | Sequence[float]) -> Score:
    """Return the peak signal-to-noise ratio in dB: -10 log10 of the mean squared error.

    `errors` has the mean squared error of each sample, for values of 0 to 1.
    """
    mean = Mean(errors)

    def score(weights: Weights) -> float:
        return float(-10 * np.log10(max(mean(weights), 1e-12)))

    return score
