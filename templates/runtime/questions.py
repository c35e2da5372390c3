"""Questions about composed scenes, and their answers: from the truth, or from what a method finds.

Each scene of 32 x 32 pixels has one to three handwritten digits, each in one of four cells, on a
photograph of brick, grass or gravel. A question that a scene leaves open is not asked of it.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from runtime.scenes import CLASSES, TEXTURES, Form, Scene, compose

NAME = "questions_about_digits"
FORM = Form(
    counts={"train": 3000, "val": 50, "test": 300},
    side=32,
    cells=2,
    most_digits=3,
    digit_sides=(11, 16),
    texture=0.05,
    contrasts=(0.5, 0.7),
)
PROMPTS = {
    "count": "how many digits are there?",
    "presence": "is there a {}?",
    "leftmost": "which digit is leftmost?",
    "rightmost": "which digit is rightmost?",
    "largest": "which digit is largest?",
    "ground": "what do the digits lie on?",
}
APART = 4  # pixels between the middles of two digits, at least, where one is to the left
LARGER = 1.3  # area of the largest digit's box, at least, in areas of the next one's
CODES = 256  # patterns of a pixel's eight neighbours


class Asked(NamedTuple):
    """A question about a scene."""

    kind: str
    prompt: str
    answer: str


def asked(scene: Scene, draw: np.random.Generator) -> list[Asked]:
    """Return the questions about a scene; half of those after a digit name one that is there."""
    present = draw.random() < 0.5
    digit = int(draw.choice(scene.classes)) if present else int(draw.integers(len(CLASSES)))
    made = []
    for kind, words in PROMPTS.items():
        if _is_open(kind, scene.boxes):
            continue
        prompt = words.format(digit)
        answer = answer_to(kind, prompt, scene.boxes, scene.classes, scene.texture)
        made.append(Asked(kind, prompt, answer))
    return made


def answer_to(
    kind: str, prompt: str, boxes: NDArray[np.float32], classes: NDArray[np.int64], texture: int
) -> str:
    """Return the answer that some digits and a texture give.

    Args:
        kind: A key of `PROMPTS`.
        prompt: The question.
        boxes: (D, 4), left, top, right and bottom of each digit; D may be 0.
        classes: (D,), the digits.
        texture: The place of the texture among `TEXTURES`.
    """
    if kind == "count":
        return str(len(classes))
    if kind == "ground":
        return TEXTURES[texture]
    if kind == "presence":
        there = any(str(digit) in prompt for digit in classes.tolist())
        return "yes" if there else "no"
    if not len(classes):
        return "none"
    figures = {"leftmost": -_middles(boxes), "rightmost": _middles(boxes), "largest": _areas(boxes)}
    return str(classes[figures[kind].argmax()])


def _is_open(kind: str, boxes: NDArray[np.float32]) -> bool:
    """Return whether two digits are about as far to a side, or as large."""
    if len(boxes) < 2:
        return False
    if kind == "largest":
        second, first = np.sort(_areas(boxes))[-2:]
        return bool(first < LARGER * second)
    middles = np.sort(_middles(boxes))
    sides = {"leftmost": middles[1] - middles[0], "rightmost": middles[-1] - middles[-2]}
    return bool(sides.get(kind, APART) < APART)


def _middles(boxes: NDArray[np.float32]) -> NDArray[np.float32]:
    middles: NDArray[np.float32] = (boxes[:, 0] + boxes[:, 2]) / 2
    return middles


def _areas(boxes: NDArray[np.float32]) -> NDArray[np.float32]:
    areas: NDArray[np.float32] = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    return areas


def questions(seed: int = 0) -> tuple[dict[str, list[tuple[Scene, list[Asked]]]], str]:
    """Return the scenes of each split with their questions, and a digest of the scenes."""
    scenes, sha256 = compose(seed, FORM)
    splits = {}
    for number, (split, each) in enumerate(scenes.items()):
        draw = np.random.default_rng((seed, number, len(PROMPTS)))
        splits[split] = [(scene, asked(scene, draw)) for scene in each]
    return splits, sha256


class Textures:
    """Tells textures apart by how often each pattern of brighter neighbours occurs around a pixel.

    Local binary patterns (Ojala et al., 1996, doi:10.1016/0031-3203(95)00067-4); the texture whose
    mean of training images is nearest.
    """

    def __init__(self, images: Sequence[NDArray[np.uint8]], textures: Sequence[int]) -> None:
        found, known = np.stack([_patterns(each) for each in images]), np.asarray(textures)
        self.means = np.stack([found[known == place].mean(0) for place in range(len(TEXTURES))])

    def of(self, image: NDArray[np.uint8]) -> int:
        """Return the place of the nearest texture."""
        return int(((self.means - _patterns(image)) ** 2).sum(1).argmin())


def _patterns(image: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return the share of the pixels (side, side) with each pattern, (256,)."""
    inside, codes = image[1:-1, 1:-1], np.zeros(image[1:-1, 1:-1].shape, np.int64)
    steps = [(row, column) for row in range(3) for column in range(3) if (row, column) != (1, 1)]
    height, width = inside.shape
    for bit, (row, column) in enumerate(steps):
        codes += (image[row : row + height, column : column + width] > inside).astype(int) << bit
    return np.bincount(codes.ravel(), minlength=CODES) / codes.size
