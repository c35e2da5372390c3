"""Scenes composed of handwritten digits on photographs of brick, grass and gravel.

A scene is 0.4 + deviation * standardized texture + contrast * digit. With the usual deviation of
0.12 no threshold separates its one to four digits from what they lie on. The splits share neither
digits nor parts of a photograph.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import metadata
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from runtime.digests import digest
from runtime.errors import fail
from runtime.mnist import mnist_digits

Floats = NDArray[np.float32]

NAME = "digits_on_textures"
CLASSES = tuple("0123456789")
SIDE = 96  # pixels
TEXTURES = ("brick", "grass", "gravel")
SCENES = {"train": 1500, "val": 100, "test": 200}
# The digits of each class, in the order of their file.
DIGITS = {"train": slice(0, 350), "val": slice(350, 400), "test": slice(400, 500)}
# Rows and columns of each photograph, as shares of its sides.
PARTS = {"train": ((0, 0.75), (0, 0.5)), "val": ((0.75, 1), (0, 0.5)), "test": ((0, 1), (0.5, 1))}

GROUND = 0.4  # mean brightness
INK = 0.35  # A pixel with a larger share of ink belongs to the digit.
GAP = 2  # pixels between two boxes, at least
CUTS = (0.3, 0.7)  # least and greatest share of a side before a second texture
TRIES = 20  # places and digits that are tried before a scene keeps fewer digits


@dataclass(frozen=True)
class Form:
    """What scenes look like, and how many each split has.

    Attributes:
        counts: The scenes of each split.
        side: Pixels of a scene's side.
        cells: Rows and columns of a grid, in one of whose cells each digit lies; 1 for anywhere.
        most_digits: Digits of a scene, at most.
        digit_sides: Least and greatest side of a digit in pixels.
        texture: Deviation of the texture from the mean brightness.
        contrasts: Least and greatest brightness of a stroke above its ground.
        joined: Whether a second texture begins at a straight line.
    """

    counts: Mapping[str, int] = field(default_factory=lambda: SCENES)
    side: int = SIDE
    cells: int = 1
    most_digits: int = 4
    digit_sides: tuple[int, int] = (20, 36)
    texture: float = 0.12
    contrasts: tuple[float, float] = (0.35, 0.6)
    joined: bool = False


USUAL = Form()


class Scene(NamedTuple):
    """A scene with D digits.

    Attributes:
        pixels: (side, side), grey, uint8.
        boxes: (D, 4), left, top, right and bottom in pixels; the last two are outside.
        classes: (D,), the digits.
        masks: (D, side, side), which pixels belong to each digit.
        texture: The place of its texture among `TEXTURES`.
        ground: (side, side), that of the texture below each pixel.
    """

    pixels: NDArray[np.uint8]
    boxes: Floats
    classes: NDArray[np.int64]
    masks: NDArray[np.bool_]
    texture: int
    ground: NDArray[np.uint8]


@dataclass(frozen=True)
class _Materials:
    """What the scenes of one split are made of."""

    digits: NDArray[np.uint8]
    labels: NDArray[np.int64]
    textures: list[Floats]


def compose(seed: int = 0, form: Form = USUAL) -> tuple[dict[str, list[Scene]], str]:
    """Return the scenes of each split, and a digest of all their pixels, boxes and classes."""
    digits, labels = mnist_digits()
    photographs = [_photograph(name) for name in TEXTURES]
    splits = {}
    for number, (split, count) in enumerate(form.counts.items()):
        # A generator for each split: more scenes of one leave the others as they are.
        draw = np.random.default_rng((seed, number))
        materials = _materials(split, digits, labels, photographs)
        splits[split] = [_scene(materials, form, draw) for _ in range(count)]
    each = (part.tobytes() for scenes in splits.values() for scene in scenes for part in scene[:3])
    return splits, digest(*each)


def _photograph(name: str) -> Floats:
    """Return a photograph that scikit-image ships, in grey from 0 to 1."""
    from PIL import Image

    # The file is read without importing the library, which would take a second.
    try:
        path = metadata.distribution("scikit-image").locate_file(f"skimage/data/{name}.png")
        with Image.open(str(path)) as image:
            return np.asarray(image.convert("L"), dtype=np.float32) / np.float32(255)
    except (metadata.PackageNotFoundError, OSError):
        fail("the bundled textures come with a library: pip install scikit-image; or use --data.")


def _materials(
    split: str, digits: NDArray[np.uint8], labels: NDArray[np.int64], photographs: list[Floats]
) -> _Materials:
    chosen = np.concatenate(
        [np.flatnonzero(labels == digit)[DIGITS[split]] for digit in range(len(CLASSES))]
    )
    rows, columns = PARTS[split]
    textures = []
    for photograph in photographs:
        (top, bottom), (left, right) = (
            (int(low * side), int(high * side))
            for (low, high), side in zip((rows, columns), photograph.shape, strict=True)
        )
        textures.append(photograph[top:bottom, left:right])
    return _Materials(digits[chosen], labels[chosen], textures)


def _scene(materials: _Materials, form: Form, draw: np.random.Generator) -> Scene:
    texture = int(draw.integers(len(materials.textures)))
    pixels = _ground(materials.textures[texture], form, draw)
    ground = np.full(pixels.shape, texture, np.uint8)
    if form.joined:
        _join(pixels, ground, materials, form, draw)
    boxes: list[tuple[int, ...]] = []
    classes: list[int] = []
    masks: list[NDArray[np.bool_]] = []
    for _ in range(draw.integers(1, form.most_digits + 1)):
        for _ in range(TRIES):
            label, ink = _digit(materials, form, draw)
            box = _box(ink > INK)
            if box and all(_apart(box, other) for other in boxes):
                pixels += draw.uniform(*form.contrasts) * ink
                boxes.append(box)
                classes.append(label)
                masks.append(ink > INK)
                break
    grey = (np.clip(pixels, 0, 1) * 255).round().astype(np.uint8)
    return Scene(
        grey, np.array(boxes, np.float32), np.array(classes), np.stack(masks), texture, ground
    )


def _join(
    pixels: Floats,
    ground: NDArray[np.uint8],
    materials: _Materials,
    form: Form,
    draw: np.random.Generator,
) -> None:
    """Put another texture beyond a straight line, in the pixels and in the map of textures."""
    count = len(materials.textures)
    other = (int(ground[0, 0]) + 1 + int(draw.integers(count - 1))) % count
    low, high = (round(share * form.side) for share in CUTS)
    cut = int(draw.integers(low, high))
    part = np.s_[cut:] if draw.integers(2) else np.s_[:, cut:]
    pixels[part] = _ground(materials.textures[other], form, draw)[part]
    ground[part] = other


def _ground(texture: Floats, form: Form, draw: np.random.Generator) -> Floats:
    """Return a random square of a texture with the mean and the deviation of a scene."""
    top, left = (int(draw.integers(side - form.side + 1)) for side in texture.shape)
    square = texture[top : top + form.side, left : left + form.side]
    standard: Floats = (square - square.mean()) / (square.std() + 1e-6)
    return (GROUND + form.texture * standard).astype(np.float32)


def _digit(materials: _Materials, form: Form, draw: np.random.Generator) -> tuple[int, Floats]:
    """Return a random digit, and its ink (side, side) from 0 to 1 at a random size and place."""
    from PIL import Image

    which = int(draw.integers(len(materials.digits)))
    side = int(draw.integers(form.digit_sides[0], form.digit_sides[1] + 1))
    picture = Image.fromarray(materials.digits[which])
    small = picture.resize((side, side), Image.Resampling.BILINEAR)
    cell = form.side // form.cells
    top, left = (int(place) for place in draw.integers(cell - side + 1, size=2))
    if form.cells > 1:
        row, column = (int(place) for place in draw.integers(form.cells, size=2))
        top, left = top + cell * row, left + cell * column
    ink = np.zeros((form.side, form.side), np.float32)
    ink[top : top + side, left : left + side] = np.asarray(small, dtype=np.float32) / 255
    return int(materials.labels[which]), ink


def _box(mask: NDArray[np.bool_]) -> tuple[int, int, int, int] | None:
    """Return left, top, right and bottom of a mask; None of an empty one."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return None
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def _apart(one: tuple[int, ...], two: tuple[int, ...]) -> bool:
    return any(
        one[side] >= two[side + 2] + GAP or two[side] >= one[side + 2] + GAP for side in (0, 1)
    )
