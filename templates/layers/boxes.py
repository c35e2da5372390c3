"""Boxes (..., 4) of left, top, right and bottom: their overlap, and the steps between them."""

import math

import torch
from torch import Tensor

WEIGHTS = (10.0, 10.0, 5.0, 5.0)  # of the steps that the box head learns
MOST_GROWTH = math.log(1000 / 16)  # A step makes a side at most so many times as long.


def areas(boxes: Tensor) -> Tensor:
    """Return the areas (...) of boxes (..., 4)."""
    return (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])


def overlap(one: Tensor, two: Tensor) -> Tensor:
    """Return intersection over union (..., N, M) of boxes (..., N, 4) and (..., M, 4)."""
    a, b = one[..., :, None, :], two[..., None, :, :]
    low, high = torch.maximum(a[..., :2], b[..., :2]), torch.minimum(a[..., 2:], b[..., 2:])
    common = (high - low).clamp(min=0).prod(-1)
    return common / (areas(a) + areas(b) - common).clamp(min=1e-9)


def encoded(boxes: Tensor, origins: Tensor, weights: tuple[float, ...] = (1.0,) * 4) -> Tensor:
    """Return the steps (..., 4) to some boxes from others: of the centre, and of the log sides."""
    (x, y, w, h), (ox, oy, ow, oh) = _centred(boxes), _centred(origins)
    steps = ((x - ox) / ow, (y - oy) / oh, (w / ow).log(), (h / oh).log())
    return torch.stack([weight * step for weight, step in zip(weights, steps, strict=True)], -1)


def decoded(steps: Tensor, origins: Tensor, weights: tuple[float, ...] = (1.0,) * 4) -> Tensor:
    """Return the boxes (..., 4) that steps lead to from others."""
    parts = zip(steps.unbind(-1), weights, strict=True)
    dx, dy, dw, dh = (step / weight for step, weight in parts)
    ox, oy, ow, oh = _centred(origins)
    x, y = ox + dx * ow, oy + dy * oh
    w, h = (d.clamp(max=MOST_GROWTH).exp() * o / 2 for d, o in ((dw, ow), (dh, oh)))
    return torch.stack((x - w, y - h, x + w, y + h), -1)


def clipped(boxes: Tensor, height: int, width: int) -> Tensor:
    """Return boxes (..., 4) cut at the border of an image."""
    x, y = boxes[..., 0::2].clamp(0, width), boxes[..., 1::2].clamp(0, height)
    return torch.stack((x[..., 0], y[..., 0], x[..., 1], y[..., 1]), -1)


def kept(boxes: Tensor, classes: Tensor | None, most: float) -> Tensor:
    """Return which boxes no better one of their class overlaps by more than a share: greedy NMS.

    Whether a box is dropped depends on better boxes alone, so repeating the rule for all boxes at
    once ends with what one pass from the best to the worst gives.

    Args:
        boxes: (B, N, 4), the best first.
        classes: (B, N), or None for a single class.
        most: The largest intersection over union of two boxes that both stay.

    Returns:
        (B, N) of bool.
    """
    over = (overlap(boxes, boxes) > most).triu(1)
    if classes is not None:
        over &= classes[:, :, None] == classes[:, None, :]
    before = torch.ones_like(over[:, 0])
    while True:
        now = ~(over & before[:, :, None]).any(1)
        # Tensors on the meta device have shapes and no values, so there is nothing to wait for.
        if now.is_meta or now.equal(before):
            return now
        before = now


def _centred(boxes: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return centre and sides, (...) each."""
    left, top, right, bottom = boxes.unbind(-1)
    return (left + right) / 2, (top + bottom) / 2, right - left, bottom - top
