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

    Args:
        found: Detections, the surest first.
        threshold: Greatest IoU of two boxes of one class that are both kept.
    """
    stays = survivors(found.boxes[None], found.classes[None], threshold)[0]
    return Detections(*(each[stays] for each in found))


def survivors(boxes: Tensor, classes: Tensor | None, threshold: float) -> Tensor:
    """Return which boxes (B, N, 4) of each image greedy non-maximum suppression keeps, (B, N).

    The surest box is kept, those of its class with a larger IoU than the threshold are left out,
    and so on with the rest. What is left out depends on surer boxes alone, so applying the rule to
    all boxes at once, until nothing changes, ends with the same boxes.

    Args:
        boxes: The surest first.
        classes: (B, N), or None where all boxes are of one class.
        threshold: Greatest IoU of two boxes of one class that are both kept.
    """
    rivals = (iou(boxes[:, :, None], boxes[:, None]) > threshold).triu(1)  # (B, N, N)
    if classes is not None:
        rivals &= classes[:, :, None] == classes[:, None]
    before = torch.ones_like(boxes[..., 0], dtype=torch.bool)
    while True:
        stays = ~(rivals & before[:, :, None]).any(1)
        # What only has a shape, since operations or memory are counted, cannot change any more.
        if stays.untyped_storage().device.type == "meta" or stays.equal(before):
            return stays
        before = stays
