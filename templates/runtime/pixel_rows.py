"""The pixels of images as rows, for methods that know no shapes."""

import torch
from torch import Tensor

from runtime.image_batches import Split


def flat_pixels(split: Split, size: int) -> Tensor:
    """Return the pixels of each image, from 0 to 1, as a row: (N, D), float64."""
    total = len(split.targets)
    starts = range(0, total, size)
    # Images are read in batches, because files are decoded on access.
    parts = [split.pixels[list(range(s, min(s + size, total)))] for s in starts]
    return torch.cat(parts).flatten(1).double() / 255


def without_copies(rows: list[Tensor], channels: int) -> list[Tensor]:
    """Return rows of pixels, with one channel if all images are grey."""
    parts = [each.reshape(len(each), channels, -1) for each in rows]
    # A penalty on weights is weaker for a column that stands there three times.
    grey = all(bool((each == each[:, :1]).all()) for each in parts)
    return [each[:, 0] for each in parts] if grey else rows
