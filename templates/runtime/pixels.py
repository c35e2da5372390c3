"""Pixels of image files as 8 bits, and what the files are like; all image tasks read them here."""

import functools
import io
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from runtime.errors import fail
from runtime.notes import note

# Pillow opens other formats too, one of them with a program of its own (Ghostscript).
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
LOOKED_AT = 32  # files of a kind that are decoded to see whether they have colours
MOST_PIXELS = 2**27  # A long strip, scaled up before its middle is cut out, would fill memory.
UNSIGNED, SAMPLE_FORMAT = 1, 339  # a TIFF tag and its value
THREADS = min(16, os.cpu_count() or 1)  # opening and decoding release Python's lock


@dataclass(frozen=True, eq=False)
class Stored:
    """An image file that a row of a data set holds.

    Attributes:
        place: The row, for errors.
        data: The bytes of the file.
    """

    place: str
    data: bytes


Picture = Path | Stored


@dataclass(frozen=True)
class Kind:
    """What the header of an image file says.

    Attributes:
        format: Such as JPEG.
        mode: How Pillow names the channels and bits of a pixel, such as RGB.
        size: Width and height in pixels, before a photograph is turned upright.
        alpha: Whether pixels may be transparent.
        moving: Whether there are several pictures in the file.
    """

    format: str
    mode: str
    size: tuple[int, int]
    alpha: bool
    moving: bool

    @property
    def deep(self) -> bool:
        """Whether a pixel has more than 8 bits, of an integer or of a fraction."""
        return self.mode[0] in "IF"


@functools.cache
def _pillow() -> Any:
    """Return the module PIL.Image, which says nothing of large images that it still reads."""
    import warnings

    from PIL import Image

    warnings.simplefilter("ignore", Image.DecompressionBombWarning)
    return Image


@contextmanager
def opened(path: Picture) -> Iterator[Any]:
    """Open an image with Pillow; stop if that fails, or if the block cannot decode it."""
    try:
        source = io.BytesIO(path.data) if isinstance(path, Stored) else path
        with _pillow().open(source, formats=FORMATS) as file:
            yield file
    except MemoryError:
        raise
    # A decoder may raise almost any error at a damaged file.
    except Exception as error:
        fail(f"{printed(path)} cannot be read as an image: {error or type(error).__name__}.")


def printed(path: Picture) -> str:
    """Return an image as errors name it."""
    return path.place if isinstance(path, Stored) else str(path)


def eight_bits(file: Any, channels: int) -> Any:
    """Return an image upright and with 8 bits, in grey (mode L) or in colours (mode RGB).

    Transparent pixels are put on white. A pixel of more bits keeps its upper 8 if the image uses
    the upper half of 16 bits; other deep images, such as scans of 12 bits and fractions, are
    stretched from their darkest to their brightest pixel.

    Args:
        file: What Pillow opened.
        channels: 1 for grey, 3 for colours.

    Raises:
        ValueError: A pixel is no finite number.
    """
    from PIL import ImageOps

    image = ImageOps.exif_transpose(file)
    if image.mode[0] in "IF":
        image = _pillow().fromarray(_stretched(_values(file, image)))
    elif _has_alpha(image):
        image = _on_white(image)
    return image.convert("L" if channels == 1 else "RGB")


def _values(file: Any, image: Any) -> Any:
    """Return the values of a deep image (H, W)."""
    values = np.asarray(image)
    tags = getattr(file, "tag_v2", {})
    # Pillow reads unsigned integers of 32 bits as signed ones.
    if values.dtype == np.int32 and tags.get(SAMPLE_FORMAT, UNSIGNED) in (UNSIGNED, (UNSIGNED,)):
        values = values.view(np.uint32) if tags else values
    return values


def _stretched(values: Any) -> Any:
    """Return values (H, W) as bytes that span the range."""
    if not np.isfinite(values).all():
        raise ValueError("a pixel is no finite number")
    low, high = values.min(), values.max()
    if values.dtype.kind in "iu" and low >= 0 and 2**15 <= high < 2**16:
        return (values >> 8).astype(np.uint8)
    width = float(high) - float(low) or 1.0
    return ((values.astype(np.float64) - float(low)) * (255 / width)).round().astype(np.uint8)


def _has_alpha(image: Any) -> bool:
    return image.mode[-1] in "Aa" or "transparency" in image.info


def _on_white(image: Any) -> Any:
    layer = image.convert("RGBA")
    if layer.getchannel("A").getextrema()[0] == 255:
        return image
    page = _pillow().new("RGBA", layer.size, "white")
    page.alpha_composite(layer)
    return page


def covered(image: Any, size: tuple[int, int], method: Any) -> Any:
    """Return the middle of a PIL image, scaled until it covers the size (height, width).

    Raises:
        ValueError: The image is so long and narrow that this would take too much memory.
    """
    height, width = size
    # The side that is too short for this shape gets its exact length, and the other one is cropped.
    covering = (max(width, image.width * height // image.height),
                max(height, image.height * width // image.width))  # fmt: skip
    if covering[0] * covering[1] > MOST_PIXELS:
        raise ValueError(f"{image.width} x {image.height} pixels are too long a strip to scale")
    left, top = (covering[0] - width) // 2, (covering[1] - height) // 2
    return image.resize(covering, method).crop((left, top, left + width, top + height))


def kind_of(path: Picture) -> Kind:
    """Return what the header of an image file says, or stop."""
    with opened(path) as file:
        moving = file.format != "MPO" and getattr(file, "is_animated", False)
        return Kind(str(file.format), file.mode, file.size, _has_alpha(file), moving)


@dataclass(frozen=True)
class Survey:
    """The kinds of some image files, in their order."""

    paths: Sequence[Picture]
    kinds: Sequence[Kind]

    def lines(self) -> Iterator[str]:
        """Yield what data.py prints: formats, modes and sizes."""
        names = Counter(f"{kind.format} {kind.mode}" for kind in self.kinds)
        yield "files: " + ", ".join(f"{count:,} {name}" for name, count in names.most_common())
        sizes = sorted({kind.size for kind in self.kinds}, key=lambda size: size[0] * size[1])
        first, last = (f"{width} x {height}" for width, height in (sizes[0], sizes[-1]))
        yield f"pixels, width x height: {first}" + (f" to {last}" if len(sizes) > 1 else "")

    def _like(self, fits: Callable[[Kind], bool]) -> list[Picture]:
        return [path for path, kind in zip(self.paths, self.kinds, strict=True) if fits(kind)]

    def say(self, channels: int) -> None:
        """Say what reading changes in the images: colours, transparency, depth, movement."""
        said = (
            (
                self._like(lambda kind: kind.deep),
                "have more than 8 bits a pixel: those that use the upper half of 16 bits keep the "
                "upper 8, the others are stretched from their darkest to their brightest pixel.",
            ),
            (
                self._like(lambda kind: kind.moving),
                "have several pictures: only the first is read.",
            ),
            (
                _some(self._like(lambda kind: kind.alpha and not kind.deep), _is_transparent),
                "have transparent pixels, which are put on white.",
            ),
            (
                _some(self._like(lambda kind: kind.mode not in ("1", "L", "LA", "I", "F")
                                 and not kind.deep), _is_coloured) if channels == 1 else [],
                "are stored in colours, and this model reads grey: to train the proxy in colours, "
                "set its channels to 3 in code/config.json.",
            ),
        )  # fmt: skip
        for paths, sentence in said:
            if paths:
                note(f"{len(paths):,} images, such as {printed(paths[0])}, {sentence}")


def survey(paths: Sequence[Picture]) -> Survey:
    """Return the kinds of image files, or stop at one that is no image."""
    with ThreadPoolExecutor(THREADS) as pool:
        return Survey(paths, list(pool.map(kind_of, paths)))


def _some(paths: Sequence[Picture], fits: Callable[[Picture], bool]) -> Sequence[Picture]:
    """Return the paths if one of some that are spread evenly fits: decoding all would take long."""
    spread = paths[:: max(1, len(paths) // LOOKED_AT)]
    found = next((path for path in spread if fits(path)), None)
    return [] if found is None else [found, *(path for path in paths if path != found)]


def _is_transparent(path: Picture) -> bool:
    with opened(path) as file:
        return bool(file.convert("RGBA").getchannel("A").getextrema()[0] < 255)


def _is_coloured(path: Picture) -> bool:
    with opened(path) as file:
        # Grey pictures are often stored in three equal channels; compression moves them a little.
        pixels = np.asarray(file.convert("RGB").resize((32, 32)), dtype=np.int16)
        return bool((pixels.max(-1) - pixels.min(-1)).max() > 16)
