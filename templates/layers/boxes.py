"""Boxes of objects: their overlap, and the suppression of boxes that show one object twice.

A box is (left, top, right, bottom) in pixels, where right and bottom are outside of it.
"""

from typing import NamedTuple

import torch
from torch import Tensor

LEAST_AREA = 1e-7  # px^2; a box without an area has an overlap of 0 with itself


class Detections(NamedTuple):
    """The N objects that a network finds in an image, the surest first.

    Attributes:
        boxes: (N, 4), in pixels of the network's input.
        scores: (N,), from 0 to 1.
        classes: (N,), int64.
    """

    boxes: Tensor
    scores: Tensor
    classes: Tensor


def from_centres(boxes: Tensor) -> Tensor:
    """Return boxes (..., 4) given as centre, width and height by their sides."""
    centre, half = boxes[..., :2], boxes[..., 2:] / 2
    return torch.cat((centre - half, centre + half), dim=-1)


def to_centres(boxes: Tensor) -> Tensor:
    """Return boxes (..., 4) as x and y of the centre, width and height."""
    low, high = boxes[..., :2], boxes[..., 2:]
    return torch.cat(((low + high) / 2, high - low), dim=-1)


def area(boxes: Tensor) -> Tensor:
    """Return the areas (...) of boxes (..., 4); a box whose sides are swapped has none."""
    width, height = (boxes[..., 2:] - boxes[..., :2]).clamp(min=0).unbind(-1)
    return width * height


def overlap(one: Tensor, two: Tensor) -> tuple[Tensor, Tensor]:
    """Return the areas of intersection and of union, (...), of boxes (..., 4) that broadcast."""
    low = torch.maximum(one[..., :2], two[..., :2])
    high = torch.minimum(one[..., 2:], two[..., 2:])
    both = area(torch.cat((low, high), dim=-1))
    return both, area(one) + area(two) - both


def iou(one: Tensor, two: Tensor) -> Tensor:
    """Return intersection over union (...) of boxes (..., 4) that broadcast, such as two lists.

    `iou(one[:, None], two)` compares each of N boxes with each of M: (N, M).
    """
    both, union = overlap(one, two)
    return both / union.clamp(min=LEAST_AREA)


def giou(one: Tensor, two: Tensor) -> Tensor:
    """Return the generalized IoU (...), from -1 to 1 (Rezatofighi et al., arXiv:1902.09630).

    GIoU = IoU - (hull - union) / hull, where the hull is the smallest box around both: boxes that
    do not meet still differ by their distance.
    """
    both, union = overlap(one, two)
    low = torch.minimum(one[..., :2], two[..., :2])
    high = torch.maximum(one[..., 2:], two[..., 2:])
    hull = area(torch.cat((low, high), dim=-1)).clamp(min=LEAST_AREA)
    return both / union.clamp(min=LEAST_AREA) - (hull - union) / hull


def suppressed(found: Detections, threshold: float) -> Detections:
    """Return the detections without those that overlap a surer one of their class too much.

    This is greedy non-maximum suppression: the surest box is kept, those of its class with a larger
    IoU than the threshold are left out, and so on with the rest.

    Args:
        found: Detections, the surest first.
        threshold: Greatest IoU of two boxes of one class that are both kept.
    """
    alike = found.classes[:, None] == found.classes
    rivals = ((iou(found.boxes[:, None], found.boxes) > threshold) & alike).cpu()  # (N, N)
    kept = torch.ones(len(rivals), dtype=torch.bool)
    for place in range(len(rivals)):
        if kept[place]:
            kept[place + 1 :] &= ~rivals[place, place + 1 :]
    kept = kept.to(found.boxes.device)
    return Detections(*(each[kept] for each in found))
