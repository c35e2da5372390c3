"""Masks of single objects: from a network's small squares to an image's pixels, and to COCO's JSON.

A network draws each mask in a square that is stretched over the object's box.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from runtime.errors import fail
from runtime.objects import Found

INSIDE = 0.5  # probability from which on a pixel belongs to an object


def pasted(masks: Tensor, boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """Return masks at the size of an image, (N, H, W), bool.

    Args:
        masks: (N, R, R), probabilities; each is stretched over its box.
        boxes: (N, 4), left, top, right and bottom in pixels of the image.
        size: Height and width.
    """
    height, width = size
    whole = torch.zeros(len(masks), height, width, dtype=torch.bool)
    for canvas, mask, box in zip(whole, masks.float(), boxes.tolist(), strict=True):
        left, top, right, bottom = box
        columns = torch.arange(max(0, int(left)), min(width, int(right) + 2))
        rows = torch.arange(max(0, int(top)), min(height, int(bottom) + 2))
        # Training reads a pixel's mask at its number, as RoIAlign does, so it is drawn there too.
        x = (columns - left) / max(right - left, 1e-6) * 2 - 1
        y = (rows - top) / max(bottom - top, 1e-6) * 2 - 1
        grid = torch.stack(torch.meshgrid(x, y, indexing="xy"), -1)[None]
        read = F.grid_sample(mask[None, None], grid, align_corners=False)[0, 0]
        canvas[rows[:, None], columns] = read > INSIDE
    return whole


def in_coco_form(found: Found, names: Sequence[str]) -> list[dict[str, Any]]:
    """Return objects as COCO's results list them, with packed run lengths, the surest first.

    A category is named; `bbox` is left, top, width and height in pixels.
    """
    try:
        from pycocotools import mask as packer  # type: ignore[import-untyped]
    except ImportError:
        fail("masks are packed by a library: pip install pycocotools.")
    assert found.masks is not None
    # The library reads down the columns.
    pixels = np.asfortranarray(found.masks.permute(1, 2, 0).numpy().astype(np.uint8))
    packed = packer.encode(pixels)
    rows = []
    parts = zip(found.boxes, found.scores, found.classes, packed, strict=True)
    for box, score, number, runs in parts:
        left, top, right, bottom = box.tolist()
        sides = (left, top, right - left, bottom - top)
        rows.append(
            {
                "category": names[number],
                "score": round(float(score), 4),
                "bbox": [round(side, 1) for side in sides],
                "segmentation": {"size": runs["size"], "counts": runs["counts"].decode("ascii")},
            }
        )
    return rows
