"""Random variations of training images; the numbers given, or the random state, decide each."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

GREY = 128  # what a moved picture leaves free
RATIO = math.log(4 / 3)  # bound of a crop's width over height, as Szegedy et al., arXiv:1409.4842
ERASED = (0.02, 0.33)  # shares of an image that are erased, as Zhong et al., arXiv:1708.04896
ERASED_RATIO = math.log(1 / 0.3)  # bound of their width over height, likewise


def shifted(image: Tensor, padding: int, top: float, left: float) -> Tensor:
    """Return an image (C, H, W) moved by up to so many pixels each way, black at its edges."""
    height, width = image.shape[1:]
    # Padding comes before the crop, so a crop has the model's size and can lose an edge.
    padded = F.pad(image, (padding, padding, padding, padding))
    row, column = int(top * (2 * padding + 1)), int(left * (2 * padding + 1))
    return padded[:, row : row + height, column : column + width]


def resized_crop(image: Tensor, least: float, numbers: Sequence[float]) -> Tensor:
    """Return a random part of an image (C, H, W), scaled up to its size (arXiv:1409.4842).

    Args:
        image: The image, uint8.
        least: Least share of the area that is kept.
        numbers: Where it lies down and right, its area and its shape, each from [0, 1).
    """
    area = least + (1 - least) * numbers[2]
    part = _rectangle(image, area, RATIO * (2 * numbers[3] - 1), numbers[0], numbers[1])
    size = list(image.shape[1:])
    scaled = F.interpolate(part[None].float(), size, mode="bilinear", antialias=True)[0]
    return scaled.round().clamp(0, 255).to(torch.uint8)


def erased(image: Tensor, numbers: Sequence[float], generator: torch.Generator) -> Tensor:
    """Return an image (C, H, W) with noise in place of a rectangle (arXiv:1708.04896)."""
    changed = image.clone()
    area = ERASED[0] + (ERASED[1] - ERASED[0]) * numbers[0]
    part = _rectangle(changed, area, ERASED_RATIO * (2 * numbers[1] - 1), *numbers[2:])
    part.copy_(torch.randint(256, part.shape, generator=generator))
    return changed


def _rectangle(image: Tensor, area: float, shape: float, top: float, left: float) -> Tensor:
    """Return a view of a rectangle of an image; `shape` is the logarithm of width over height."""
    height, width = image.shape[1:]
    root, stretch = math.sqrt(area), math.exp(shape / 2)
    rows = min(height, max(1, round(height * root / stretch)))
    columns = min(width, max(1, round(width * root * stretch)))
    row, column = int(top * (height - rows + 1)), int(left * (width - columns + 1))
    return image[:, row : row + rows, column : column + columns]


def rand_augment(image: Tensor, magnitude: float, numbers: Sequence[float]) -> Tensor:
    """Return an image (C, H, W) after operations of one strength (Cubuk et al., arXiv:1909.13719).

    Args:
        image: The image, uint8, grey or in colours.
        magnitude: Strength of the operations, from 0 to 10.
        numbers: Two for each operation, which say which it is and its direction.
    """
    from PIL import Image

    array = image.permute(1, 2, 0).numpy()
    picture = Image.fromarray(array[:, :, 0] if len(image) == 1 else array)
    for which, direction in zip(numbers[::2], numbers[1::2], strict=True):
        strength = magnitude / 10 * (1 if direction < 0.5 else -1)
        picture = OPERATIONS[int(which * len(OPERATIONS))](picture, strength)
    changed = torch.from_numpy(np.array(picture))
    return changed[None] if changed.dim() == 2 else changed.permute(2, 0, 1)


def _affine(picture: Any, matrix: tuple[float, ...]) -> Any:
    """Return a PIL image whose pixel (x, y) is the old one at (ax + by + c, dx + ey + f)."""
    from PIL import Image

    fill = GREY if picture.mode == "L" else (GREY,) * 3
    bilinear = Image.Resampling.BILINEAR
    return picture.transform(picture.size, Image.Transform.AFFINE, matrix, bilinear, fillcolor=fill)


def _rotated(picture: Any, strength: float) -> Any:
    angle = math.radians(30 * strength)
    cosine, sine, (x, y) = math.cos(angle), math.sin(angle), (side / 2 for side in picture.size)
    # The middle of the picture stays where it is.
    right, down = x - cosine * x - sine * y, y + sine * x - cosine * y
    return _affine(picture, (cosine, sine, right, -sine, cosine, down))


def _plain(name: str, *arguments: Callable[[float], int]) -> Callable[[Any, float], Any]:
    """Return an operation of PIL's ImageOps; its arguments follow from the strength alone."""

    def operation(picture: Any, strength: float) -> Any:
        from PIL import ImageOps

        return getattr(ImageOps, name)(picture, *(each(abs(strength)) for each in arguments))

    return operation


def _enhanced(name: str) -> Callable[[Any, float], Any]:
    """Return an operation of PIL's ImageEnhance, whose factor is 1 for an unchanged picture."""

    def operation(picture: Any, strength: float) -> Any:
        from PIL import ImageEnhance

        return getattr(ImageEnhance, name)(picture).enhance(1 + 0.9 * strength)

    return operation


OPERATIONS: tuple[Callable[[Any, float], Any], ...] = (
    lambda picture, strength: picture,
    _plain("autocontrast"),
    _plain("equalize"),
    _plain("posterize", lambda strength: 8 - round(4 * strength)),
    _plain("solarize", lambda strength: round(256 * (1 - strength))),
    *(_enhanced(name) for name in ("Color", "Contrast", "Brightness", "Sharpness")),
    _rotated,
    lambda picture, strength: _affine(picture, (1, 0.3 * strength, 0, 0, 1, 0)),
    lambda picture, strength: _affine(picture, (1, 0, 0, 0.3 * strength, 1, 0)),
    lambda picture, strength: _affine(picture, (1, 0, 0.45 * strength * picture.width, 0, 1, 0)),
    lambda picture, strength: _affine(picture, (1, 0, 0, 0, 1, 0.45 * strength * picture.height)),
)
"""The operations of RandAugment, in the ranges of timm, each from a PIL image and -1 to 1."""


def mixed(images: Tensor, mixup: float, cutmix: float) -> tuple[Tensor, float]:
    """Return each image of a batch mixed with another one, and the share that is its own.

    The other one is at the same place from the end of the batch. Mixup (arXiv:1710.09412) adds
    both, CutMix (arXiv:1905.04899) puts a rectangle of one into the other. The share is from
    Beta(a, a), where a is `mixup` or `cutmix`; with both, each is used for half of the batches.
    """
    cut = cutmix > 0 and (mixup == 0 or float(torch.rand(())) < 0.5)
    alpha = cutmix if cut else mixup
    share = float(torch.distributions.Beta(alpha, alpha).sample())
    others = images.flip(0)
    if not cut:
        return share * images + (1 - share) * others, share
    top, left = torch.rand(2).tolist()
    mask = torch.zeros_like(images[0], dtype=torch.bool)
    _rectangle(mask, 1 - share, 0.0, top, left).fill_(True)
    # Whole pixels were cut, so the share is counted anew.
    return torch.where(mask, others, images), 1 - float(mask.float().mean())
