"""Masks: images whose pixels are class numbers."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from runtime.errors import fail
from runtime.pixels import Picture, covered, opened, printed

SUFFIXES = (".png", ".tif", ".tiff", ".bmp", ".gif")
"""Formats without loss: JPEG would mix the numbers of neighbouring pixels."""
FORMATS = ("PNG", "TIFF", "BMP", "GIF")
MOST = 255


def read_mask(path: Picture, size: tuple[int, int], like: Picture) -> Tensor:
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
        _check_form(path, file, whole)
        values = np.asarray(covered(file, size, Image.Resampling.NEAREST))
    whole_numbers = np.isfinite(values).all() and (values == np.floor(values)).all()
    if not whole_numbers or values.min() < 0 or values.max() > MOST:
        fail(
            f"{printed(path)} holds values that are no class: a class is a whole number from 0 "
            f"to {MOST}."
        )
    return torch.from_numpy(values.astype(np.uint8))


def _check_form(path: Picture, file: Any, whole: tuple[int, int]) -> None:
    """Stop at a mask that is stored with loss, in colours, or at another size than its image."""
    if file.format not in FORMATS:
        fail(
            f"{printed(path)} is a {file.format} image: a mask needs a format without loss, "
            f"such as {FORMATS[0]}."
        )
    if file.size != whole:
        fail(
            f"{printed(path)} has {file.width} x {file.height} pixels, and its image "
            f"{whole[0]} x {whole[1]}: scale the mask without mixing pixels (nearest neighbour)."
        )
    if len(file.getbands()) > 1:
        fail(f"{printed(path)} holds colours: a mask is a PNG with a class number in each pixel.")
