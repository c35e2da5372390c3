"""Images with objects: the boxes, classes and masks of each, one at a time and in batches."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

GREY = 114  # brightness of pixels that an image leaves free, as YOLOX pads
LEAST_INSIDE = 0.5  # share of an object's area that must stay in an image
NO_CLASS = -1  # class of the places of a batch that hold no object


@dataclass(frozen=True)
class Objects:
    """The N objects of an image.

    Attributes:
        boxes: (N, 4), left, top, right and bottom in pixels; the last two are outside.
        classes: (N,), int64.
        crowd: (N,), whether a box holds many objects that are not told apart: training leaves it
            out, and scores ignore what is detected in it.
        masks: (N, H, W), bool; None if they were not asked for.
    """

    boxes: Tensor
    classes: Tensor
    crowd: Tensor
    masks: Tensor | None = None

    def __len__(self) -> int:
        return len(self.classes)

    def of(self, chosen: Tensor) -> "Objects":
        """Return some of the objects, by their numbers or by a mask (N,)."""
        masks = None if self.masks is None else self.masks[chosen]
        return Objects(self.boxes[chosen], self.classes[chosen], self.crowd[chosen], masks)

    def single(self) -> "Objects":
        """Return the objects that are told apart, from which a network learns."""
        return self.of(~self.crowd)


@dataclass(frozen=True)
class Found:
    """The N objects that a method finds in an image.

    Attributes:
        boxes: (N, 4), as those of `Objects`.
        scores: (N,), larger where it is surer.
        classes: (N,), int64.
        masks: (N, H, W), bool; None of a method that finds boxes alone.
    """

    boxes: Tensor
    scores: Tensor
    classes: Tensor
    masks: Tensor | None = None


def padded(every: Sequence[Objects]) -> tuple[Tensor, ...]:
    """Return boxes (B, M, 4) and classes (B, M) of a batch, and masks (B, M, H, W) if it has them.

    M is the largest number of objects of an image, at least 1. Places without an object have the
    class -1 and a box of zeros.
    """
    most = max(1, *(len(each) for each in every))

    def stacked(parts: Sequence[Tensor], empty: float) -> Tensor:
        batch = parts[0].new_full((len(parts), most, *parts[0].shape[1:]), empty)
        for row, part in zip(batch, parts, strict=True):
            row[: len(part)] = part
        return batch

    boxes = stacked([each.boxes for each in every], 0)
    classes = stacked([each.classes for each in every], NO_CLASS)
    masks = [each.masks for each in every if each.masks is not None]
    return (boxes, classes, stacked(masks, 0)) if masks else (boxes, classes)


def mirrored(image: Tensor, objects: Objects) -> tuple[Tensor, Objects]:
    """Return an image (C, H, W) and its objects with left and right swapped."""
    width = image.shape[-1]
    left, top, right, bottom = objects.boxes.unbind(-1)
    boxes = torch.stack((width - right, top, width - left, bottom), dim=-1)
    masks = None if objects.masks is None else objects.masks.flip(-1)
    return image.flip(-1), Objects(boxes, objects.classes, objects.crowd, masks)


def zoomed(
    image: Tensor, objects: Objects, most: float, numbers: Sequence[float]
) -> tuple[Tensor, Objects]:
    """Return an image and its objects larger or smaller, at a random place; grey fills the rest.

    Objects of which less than half of the area stays in the image are left out.

    Args:
        image: (C, H, W), uint8.
        objects: Its objects.
        most: Greatest factor.
        numbers: The factor's logarithm, and the place to the right and down, each from [0, 1).
    """
    height, width = image.shape[-2:]
    factor = most ** (2 * numbers[0] - 1)
    sides = (width, height)
    right, down = ((1 - factor) * side * n for side, n in zip(sides, numbers[1:], strict=True))
    # Each pixel of the result looks up the place it comes from, in grid_sample's -1 to 1.
    move = [(1 - factor - 2 * by / side) / factor for by, side in ((right, width), (down, height))]
    theta = torch.tensor([[1 / factor, 0, move[0]], [0, 1 / factor, move[1]]])
    layers = [image.float() - GREY]
    if objects.masks is not None:
        layers.append(objects.masks.float())
    grid = F.affine_grid(theta[None], [1, 1, height, width], align_corners=False)
    moved = F.grid_sample(torch.cat(layers)[None], grid, align_corners=False)[0]
    shift = torch.tensor([right, down, right, down])
    boxes = objects.boxes * factor + shift
    cut = boxes.clamp(min=0).minimum(torch.tensor([width, height, width, height]))
    areas, whole = ((each[:, 2:] - each[:, :2]).clamp(min=0).prod(1) for each in (cut, boxes))
    masks = None if objects.masks is None else moved[len(image) :] > 0.5
    pixels = (moved[: len(image)] + GREY).round().clamp(0, 255).to(torch.uint8)
    return pixels, Objects(cut, objects.classes, objects.crowd, masks).of(
        areas >= LEAST_INSIDE * whole
    )
