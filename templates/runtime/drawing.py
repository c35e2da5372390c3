"""Boxes drawn over an image, each with a name in the colour of its class."""

import colorsys
from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor

GOLDEN_TURN = 0.61803398875  # Hues that advance by it stay far apart for any number of classes.
LEAST_SIDE = 480  # px; a smaller image is drawn larger, so that names can be read


def colour_of(number: int) -> tuple[int, int, int]:
    """Return the colour of a class, bytes of red, green and blue."""
    red, green, blue = colorsys.hsv_to_rgb(number * GOLDEN_TURN % 1, 0.9, 1)
    return round(255 * red), round(255 * green), round(255 * blue)


def outlined(pixels: Any, boxes: Tensor, classes: Tensor, labels: Sequence[str]) -> Any:
    """Return a PIL image with boxes.

    Args:
        pixels: (H, W, 3), bytes.
        boxes: (N, 4), left, top, right and bottom in pixels.
        classes: (N,), which choose the colours.
        labels: What is written at each box.
    """
    from PIL import Image, ImageDraw, ImageFont

    image = Image.fromarray(np.ascontiguousarray(pixels))
    times = max(1, -(-LEAST_SIDE // max(image.size)))
    image = image.resize((image.width * times, image.height * times), Image.Resampling.NEAREST)
    draw = ImageDraw.Draw(image)
    size = max(12, max(image.size) // 50)
    font = ImageFont.load_default(size)
    for box, number, label in zip(boxes.tolist(), classes.tolist(), labels, strict=True):
        left, top, right, bottom = (side * times for side in box)
        colour = colour_of(number)
        corners = (left, top, max(left, right - 1), max(top, bottom - 1))
        draw.rectangle(corners, outline=colour, width=max(1, size // 8))
        # The font that comes with Pillow has Latin letters only.
        text = label.encode("ascii", "replace").decode()
        place = (left, top - size * 1.2 if top >= size * 1.2 else top)
        draw.rectangle(draw.textbbox(place, text, font=font), fill=colour)
        draw.text(place, text, font=font, fill="black")
    return image
