"""Images of any size as a network takes them: scaled into the upper left of one size."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from runtime.objects import GREY
from runtime.pixels import eight_bits, opened


def read_fitted(path: Path, size: tuple[int, int], channels: int) -> Tensor:
    """Return an image (channels, H, W), uint8, scaled into a size's upper left; or stop."""
    from PIL import Image

    with opened(path) as file:
        whole = eight_bits(file, channels)
        scale = scale_into((whole.height, whole.width), size)
        shape = [max(1, round(side * scale)) for side in (whole.width, whole.height)]
        small = np.array(whole.resize(shape, Image.Resampling.BILINEAR), dtype=np.uint8)
    pixels = torch.from_numpy(small.reshape(*small.shape[:2], channels)).permute(2, 0, 1)
    image = torch.full((channels, *size), GREY, dtype=torch.uint8)
    image[:, : pixels.shape[1], : pixels.shape[2]] = pixels
    return image


def whole_image(path: Path) -> Any:
    """Return an image upright and in colours at its own size, (H, W, 3), bytes; or stop."""
    with opened(path) as file:
        return np.asarray(eight_bits(file, channels=3))


def scale_into(whole: tuple[int, int], size: tuple[int, int]) -> float:
    """Return the scale with which an image of a height and a width just fits into a size."""
    return min(size[0] / whole[0], size[1] / whole[1])
