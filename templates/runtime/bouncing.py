"""Clips of two handwritten digits that move through a frame and bounce off its sides.

Srivastava et al., 2015, arXiv:1502.04681, section 4.1, at a smaller size. The splits share no
digits.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from runtime.digests import digest
from runtime.mnist import mnist_digits

NAME = "bouncing_digits"
SIDE, DIGIT_SIDE = 24, 12  # pixels
FRAMES = 12
AT_ONCE = 2  # digits in a clip
SPEEDS = (1, 2)  # pixels a frame, along each side
CLIPS = {"train": 600, "val": 60, "test": 150}
# The digits of each class, in the order of their file.
DIGITS = {"train": slice(0, 350), "val": slice(350, 400), "test": slice(400, 500)}


def bouncing_digits() -> tuple[dict[str, Tensor], str]:
    """Return the clips of each split, (N, frames, 1, side, side), uint8, and a digest of them."""
    digits, labels = mnist_digits()
    splits = {}
    for number, (split, count) in enumerate(CLIPS.items()):
        each = [np.flatnonzero(labels == digit)[DIGITS[split]] for digit in range(10)]
        small = _small(digits[np.concatenate(each)])
        # A generator for each split: more clips of one leave the others as they are.
        draw = np.random.default_rng((0, number))
        clips = np.stack([_clip(small, draw) for _ in range(count)])
        splits[split] = torch.from_numpy(clips).unsqueeze(2)
    return splits, digest(*(clips.numpy().tobytes() for clips in splits.values()))


def _small(digits: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return digits (N, 28, 28) scaled down to the side that they have in a clip."""
    size = (DIGIT_SIDE, DIGIT_SIDE)
    pixels = torch.from_numpy(digits).float().unsqueeze(1)
    scaled = torch.nn.functional.interpolate(pixels, size, mode="bilinear", antialias=True)
    small: NDArray[np.uint8] = scaled.squeeze(1).round().to(torch.uint8).numpy()
    return small


def _clip(digits: NDArray[np.uint8], draw: np.random.Generator) -> NDArray[np.uint8]:
    """Return one clip (frames, side, side); where digits overlap, the brighter stroke is seen."""
    clip = np.zeros((FRAMES, SIDE, SIDE), dtype=np.uint8)
    for _ in range(AT_ONCE):
        digit = digits[draw.integers(len(digits))]
        rows, columns = (_path(draw) for _ in range(2))
        for frame, row, column in zip(clip, rows, columns, strict=True):
            seen = frame[row : row + DIGIT_SIDE, column : column + DIGIT_SIDE]
            np.maximum(seen, digit, out=seen)
    return clip


def _path(draw: np.random.Generator) -> list[int]:
    """Return the place of a digit along one side in each frame."""
    most = SIDE - DIGIT_SIDE
    start, speed = draw.integers(most + 1), draw.choice(SPEEDS) * draw.choice((-1, 1))
    # A place that goes up and down is one that only goes up, folded at both ends.
    straight = (start + speed * np.arange(FRAMES)) % (2 * most)
    return [int(each) for each in np.minimum(straight, 2 * most - straight)]
