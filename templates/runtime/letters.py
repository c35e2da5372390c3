"""Letters in several faces of fonts that come with matplotlib, turned and scaled at random."""

import random
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from runtime.errors import fail

# A bold face and its plain one are near twins, so few families have both.
FACES = (
    "DejaVuSans",
    "DejaVuSans-BoldOblique",
    "DejaVuSansMono",
    "DejaVuSerif",
    "DejaVuSerif-BoldItalic",
    "STIXGeneral",
    "STIXGeneralBol",
    "STIXGeneralItalic",
)
LAST_CODE = 0x500  # Latin, Greek and Cyrillic letters stand before it.
SHARE = 0.7  # size of a letter relative to the image's side
MOST_TURN = 25.0  # degrees, to either side
LEAST_SCALE = 0.7
MOST_SHIFT = 0.08  # share of the side
TIMES = 3  # Letters are drawn so much larger, turned, and then scaled down.
Pixels = NDArray[np.uint8]


class Letter(NamedTuple):
    """An image (side, side) of a character, bright on dark, and the name of its class."""

    pixels: Pixels
    label: str


def letters(side: int, turns: Callable[[str], int]) -> Iterator[Letter]:
    """Yield each letter and digit that all faces have, in each face.

    Letters that look alike in a face, such as the Latin and the Greek capital A, are one class. How
    a letter is turned follows from its code and its face alone.

    Args:
        side: Pixels of each side of an image.
        turns: Returns how often the letters of a class are drawn in each face, turned anew.
    """
    fonts = [_font(face, TIMES * side) for face in FACES]
    codes = sorted(set.intersection(*(codes for _, codes in fonts)))
    drawn = {code: [_drawn(font, code, TIMES * side) for font, _ in fonts] for code in codes}
    names = _classes({code: [each.tobytes() for each in images] for code, images in drawn.items()})
    for code, images in drawn.items():
        label = f"U+{names[code]:04X} {chr(names[code])}"
        for face, image in zip(FACES, images, strict=True):
            draw = random.Random(f"{code} {face}")
            for _ in range(turns(label)):
                yield Letter(_turned(image, side, draw), label)


def _font(face: str, side: int) -> tuple[Any, set[int]]:
    """Return a font and the codes of the letters and digits that it has, or stop."""
    try:
        from matplotlib import get_data_path
        from matplotlib.ft2font import FT2Font
        from PIL import ImageFont
    except ImportError:
        fail("the bundled letters come with a library: pip install matplotlib; or use --data.")
    path = str(Path(get_data_path()) / "fonts" / "ttf" / f"{face}.ttf")
    # The basic layout does not depend on an optional library for complex scripts.
    font = ImageFont.truetype(path, round(SHARE * side), layout_engine=ImageFont.Layout.BASIC)
    codes = {code for code in FT2Font(path).get_charmap() if code < LAST_CODE}
    return font, {code for code in codes if unicodedata.category(chr(code)) in ("Lu", "Ll", "Nd")}


def _drawn(font: Any, code: int, side: int) -> Pixels:
    from PIL import Image, ImageDraw

    image = Image.new("L", (side, side))
    ImageDraw.Draw(image).text((side / 2, side / 2), chr(code), 255, font, anchor="mm")
    return np.array(image)


def _classes(looks: dict[int, list[bytes]]) -> dict[int, int]:
    """Return the first code that looks like each one, in any face."""
    first: dict[tuple[int, bytes], int] = {}
    names: dict[int, int] = {}
    for code, images in looks.items():
        alike = {first[key] for key in enumerate(images) if key in first}
        names[code] = min(alike, default=code)
        for name in alike:
            names |= {each: names[code] for each, other in names.items() if other == name}
        first |= dict.fromkeys(enumerate(images), names[code])
    return names


def _turned(pixels: Pixels, side: int, draw: random.Random) -> Pixels:
    """Return an image that is turned, scaled and shifted, at a third of its side."""
    from PIL import Image

    angle, scale = draw.uniform(-MOST_TURN, MOST_TURN), draw.uniform(LEAST_SCALE, 1)
    right, down = (round(draw.uniform(-MOST_SHIFT, MOST_SHIFT) * len(pixels)) for _ in range(2))
    image = Image.fromarray(pixels)
    image = image.rotate(angle, Image.Resampling.BILINEAR, translate=(right, down))
    small = max(1, round(scale * side))
    canvas, at = Image.new("L", (side, side)), (side - small) // 2
    canvas.paste(image.resize((small, small), Image.Resampling.BOX), (at, at))
    return np.array(canvas)
