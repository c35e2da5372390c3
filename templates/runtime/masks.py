"""Masks: images whose pixels are class numbers."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from runtime.errors import fail
from runtime.pixels import covered, opened

SUFFIXES = (".png", ".tif", ".tiff", ".bmp", ".gif")
"""Formats without loss: JPEG would mix the numbers of neighbouring pixels."""
MOST = 255


def read_mask(path: Path, size: tuple[int, int], like: Path) -> Tensor:
    """Return the class number of each pixel, (height, width), uint8, or stop.

    The mask is scaled as its image is, by repeating pixels, so that numbers stay whole.

    Args:
        path: The file.
        size: Height and width of the result.
        like: The image that it belongs to; both have one size.
    """
    from PIL import Image, ImageOps

    with opened(like) as picture, opened(path) as file:
        whole = ImageOps.exif_transpose(picture).size if picture.getexif() else picture.size
        if file.size != whole:
            fail(
                f"{path} has {file.width} x {file.height} pixels, and its image {whole[0]} x "
                f"{whole[1]}: scale the mask without mixing pixels (nearest neighbour)."
            )
        if len(file.getbands()) > 1:
            fail(f"{path} holds colours: a mask is a PNG with a class number in each pixel.")
        values = np.asarray(covered(file, size, Image.Resampling.NEAREST))
    whole_numbers = np.isfinite(values).all() and (values == np.floor(values)).all()
    if not whole_numbers or values.min() < 0 or values.max() > MOST:
        fail(f"{path} holds values that are no class: a class is a whole number from 0 to {MOST}.")
    return torch.from_numpy(values.astype(np.uint8))
