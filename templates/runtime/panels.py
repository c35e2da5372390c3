"""Pictures of what happened over some steps: curves, strips of frames, and animations."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

WIDE, HIGH = 900, 60  # pixels of a curve's panel
MARGIN = 6
MOST_PANELS = 24  # more numbers than these make a picture that nobody reads
FRAMES = 12  # pictures of a strip
SECONDS = 1 / 30  # seconds that a picture of an animation lasts
INK, LINE, FAINT = (40, 40, 40), (31, 119, 180), (225, 225, 225)


def curves(path: Path, lines: Mapping[str, NDArray[Any]]) -> None:
    """Write a PNG with a panel for each line, which has a value for each step.

    Each panel spans its own values, which stand at its left end.
    """
    shown = [*lines.items()]
    if len(shown) > MOST_PANELS:
        # The last lines say what was done and rewarded.
        shown = [*shown[: MOST_PANELS // 2], *shown[-MOST_PANELS // 2 :]]
    image = Image.new("RGB", (WIDE, len(shown) * HIGH), "white")
    draw = ImageDraw.Draw(image)
    for place, (name, values) in enumerate(shown):
        _panel(draw, place * HIGH, name, np.asarray(values, dtype=np.float64))
    image.save(path)


def _panel(draw: ImageDraw.ImageDraw, top: int, name: str, values: NDArray[np.float64]) -> None:
    low, high = float(values.min()), float(values.max())
    left, bottom = 190, top + HIGH - MARGIN
    draw.line((left, bottom, WIDE - MARGIN, bottom), fill=FAINT)
    draw.text((MARGIN, top + HIGH // 2 - 6), name, fill=INK)
    draw.text((130, top + MARGIN), f"{high:.4g}", fill=INK)
    draw.text((130, bottom - 10), f"{low:.4g}", fill=INK)
    across = np.linspace(left, WIDE - MARGIN, max(2, len(values)))
    share = (values - low) / (high - low) if high > low else np.full(len(values), 0.5)
    down = bottom - share * (HIGH - 2 * MARGIN)
    draw.line(
        [(float(x), float(y)) for x, y in zip(across, down, strict=False)], fill=LINE, width=2
    )


def strip(path: Path, frames: NDArray[np.uint8]) -> None:
    """Write a PNG with some of the frames (steps, height, width) side by side."""
    places = np.unique(np.linspace(0, len(frames) - 1, FRAMES).round().astype(int))
    Image.fromarray(np.concatenate([*frames[places]], axis=1)).save(path)


def animation(path: Path, pictures: Sequence[NDArray[np.uint8]]) -> None:
    """Write a GIF of pictures (height, width, 3)."""
    first, *rest = (Image.fromarray(each) for each in pictures)
    first.save(path, save_all=True, append_images=rest, duration=round(1000 * SECONDS), loop=0)
