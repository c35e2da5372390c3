"""The steps from one box to another, which two-stage detectors learn (arXiv:1311.2524)."""

import math

import torch
from torch import Tensor

from layers.boxes import to_centres

MOST_GROWTH = math.log(1000 / 16)  # A step makes a side at most so many times as long.


def encoded(boxes: Tensor, origins: Tensor, weights: tuple[float, float] = (1, 1)) -> Tensor:
    """Return the steps (..., 4) from origins (..., 4) to boxes (..., 4).

    A step is the way of the centre in sides of the origin, and the log of the sides' ratio.

    Args:
        boxes: Left, top, right and bottom of each, as those of the origins.
        origins: Where the steps begin.
        weights: What the ways and the logs are multiplied with.
    """
    (to, size), (start, unit) = _halves(boxes), _halves(origins)
    return torch.cat((weights[0] * (to - start) / unit, weights[1] * (size / unit).log()), -1)


def decoded(steps: Tensor, origins: Tensor, weights: tuple[float, float] = (1, 1)) -> Tensor:
    """Return the boxes (..., 4) to which `encoded` gives these steps."""
    start, unit = _halves(origins)
    centre = start + steps[..., :2] / weights[0] * unit
    half = (steps[..., 2:] / weights[1]).clamp(max=MOST_GROWTH).exp() * unit / 2
    return torch.cat((centre - half, centre + half), -1)


def clipped(boxes: Tensor, height: int, width: int) -> Tensor:
    """Return boxes (..., 4) cut at the edges of an image."""
    return boxes.clamp(min=0).minimum(boxes.new_tensor((width, height, width, height)))


def _halves(boxes: Tensor) -> tuple[Tensor, Tensor]:
    """Return centres and sides of boxes, (..., 2) each."""
    both = to_centres(boxes)
    return both[..., :2], both[..., 2:]
