"""Handwritten digits of 8 x 8 pixels: the test part of UCI's optdigits, from scikit-learn."""

import torch
from torch import Tensor

from runtime.errors import fail


def handwritten_digits() -> tuple[Tensor, Tensor]:
    """Return 1,797 images (N, 8, 8), uint8, and the digit that each shows (N,), int64."""
    try:
        from sklearn.datasets import load_digits  # type: ignore[import-untyped]
    except ImportError:
        fail("the bundled digits come with a library: pip install scikit-learn; or use --data.")
    bunch = load_digits()
    pixels = torch.from_numpy(bunch.images * (255 / 16))  # the set counts ink from 0 to 16
    return pixels.round().to(torch.uint8), torch.from_numpy(bunch.target).long()
