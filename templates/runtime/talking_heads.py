"""Drawn heads that speak: faces whose mouths move with a voice that is made of formants.

A voice is a row of syllables. The vowel of each has two formants (Peterson & Barney, 1952, table
II, men) and opens the mouth in its own way; the caption says how far it opens in all. The splits
have faces and voices of their own.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from runtime.digests import digest

NAME = "talking_heads"
SIDE, FRAMES, FRAME_RATE, SAMPLE_RATE = 24, 24, 20, 8000
COUNTS = {"train": 400, "val": 30, "test": 60}
Floats = NDArray[np.float32]


class Vowel(NamedTuple):
    """A vowel: its formants in Hz, and how high and how wide it opens the mouth."""

    formants: tuple[float, float]
    height: float
    width: float


VOWELS = (
    Vowel((730.0, 1090.0), 1.0, 1.0),  # The vowel of father
    Vowel((270.0, 2290.0), 0.4, 1.3),  # The vowel of heed
    Vowel((300.0, 870.0), 0.6, 0.6),  # The vowel of who
)
BANDWIDTH = 90.0  # A formant is so many Hz wide.
COLOURS = {
    "red": (0.85, 0.45, 0.4),
    "yellow": (0.9, 0.8, 0.4),
    "green": (0.5, 0.8, 0.45),
    "blue": (0.45, 0.6, 0.9),
    "grey": (0.7, 0.7, 0.7),
}
SHAPES = {"round": (9.5, 9.5), "long": (8.0, 10.5), "wide": (10.5, 8.5)}  # half axes in pixels
OPENING = {"a little": 1.6, "far": 3.6}  # half the height of the mouth at its widest, in pixels
LIPS, EYES = (0.25, 0.05, 0.1), (0.1, 0.1, 0.15)
BLINKS = 0.04  # chance that a blink starts at a frame
BLINK = 2  # frames that a blink takes


class Head(NamedTuple):
    """A clip: frames (F, 3, side, side), bytes; samples of 16 bits (S,); and its caption."""

    frames: NDArray[np.uint8]
    samples: NDArray[np.int16]
    caption: str


def talking_heads() -> tuple[dict[str, list[Head]], str]:
    """Return the clips of each split, and a digest of them."""
    splits = {}
    for number, (split, count) in enumerate(COUNTS.items()):
        # A generator for each split: more clips of one leave the others as they are.
        draw = np.random.default_rng((0, number))
        splits[split] = [_head(draw) for _ in range(count)]
    every = [head for heads in splits.values() for head in heads]
    parts = [(h.frames.tobytes(), h.samples.tobytes(), h.caption.encode()) for h in every]
    return splits, digest(*(part for each in parts for part in each))


def _head(draw: np.random.Generator) -> Head:
    colour, shape = draw.choice([*COLOURS]), draw.choice([*SHAPES])
    opening = draw.choice([*OPENING])
    samples, heights, widths = _speech(draw)
    mouth = (OPENING[opening] * heights, widths)
    frames = _drawn(draw, COLOURS[colour], SHAPES[shape], mouth, _blinks(draw))
    caption = f"a {shape} {colour} face that opens its mouth {opening}"
    return Head(frames, samples, caption)


def _blinks(draw: np.random.Generator) -> NDArray[np.bool_]:
    """Return in which frames the eyes are shut; in the first they are open."""
    shut = np.zeros(FRAMES, dtype=np.bool_)
    for start in np.flatnonzero(draw.random(FRAMES) < BLINKS):
        shut[max(1, start) : start + BLINK] = True
    return shut


def _speech(draw: np.random.Generator) -> tuple[NDArray[np.int16], Floats, Floats]:
    """Return samples, and height and width of the mouth in each frame, as shares of the most."""
    length = FRAMES * SAMPLE_RATE // FRAME_RATE
    loud, vowels = _syllables(draw, length)
    pitch = draw.uniform(90, 220) * (1 + 0.1 * np.sin(2 * math.pi * np.arange(length) / length))
    phase = 2 * math.pi * np.cumsum(pitch) / SAMPLE_RATE
    wave = loud * _voices(phase, float(pitch.mean()))[vowels, np.arange(length)]
    samples = np.round(np.clip(0.2 * wave, -1, 1) * (2**15 - 1)).astype(np.int16)
    heights = loud * np.array([each.height for each in VOWELS])[vowels]
    widths = np.array([each.width for each in VOWELS])[vowels]
    return samples, _of_frames(heights), _of_frames(widths)


def _of_frames(values: NDArray[np.float64]) -> Floats:
    """Return the mean of values (S,) in each frame."""
    means: Floats = values.reshape(FRAMES, -1).mean(1).astype(np.float32)
    return means


def _syllables(
    draw: np.random.Generator, length: int
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return the loudness of each sample, 0 to 1, and its vowel; a clip begins with silence."""
    loud, vowels = np.zeros(length), np.zeros(length, dtype=np.int64)
    place = int(draw.uniform(0.08, 0.3) * SAMPLE_RATE)
    while place < length:
        size = int(draw.uniform(0.15, 0.35) * SAMPLE_RATE)
        hump = draw.uniform(0.5, 1) * np.sin(math.pi * np.arange(size) / size) ** 2
        vowels[place:] = draw.integers(len(VOWELS))
        loud[place : place + size] = hump[: length - place]
        place += size + int(draw.uniform(0, 0.15) * SAMPLE_RATE)
    return loud, vowels


def _voices(phase: NDArray[np.float64], pitch: float) -> NDArray[np.float64]:
    """Return each vowel at a phase of the glottis, (vowels, S), with a mean power of 1."""
    harmonics = np.arange(1, int(SAMPLE_RATE / 2 / (1.1 * pitch)))
    peaks = np.array([each.formants for each in VOWELS])[..., None]  # (vowels, 2, 1)
    gains = (1 / (1 + ((harmonics * pitch - peaks) / BANDWIDTH) ** 2)).sum(1) / harmonics**0.5
    waves = np.zeros((len(VOWELS), len(phase)))
    twice, before, now = 2 * np.cos(phase), np.ones_like(phase), np.cos(phase)
    for gain in gains.T:
        waves += gain[:, None] * now
        # cos((k + 1) x) = 2 cos(x) cos(k x) - cos((k - 1) x)
        before, now = now, twice * now - before
    even: NDArray[np.float64] = waves / np.sqrt(np.mean(waves**2, axis=1, keepdims=True))
    return even


def _drawn(
    draw: np.random.Generator,
    colour: tuple[float, ...],
    axes: tuple[float, float],
    mouth: tuple[Floats, Floats],
    shut: NDArray[np.bool_],
) -> NDArray[np.uint8]:
    """Return the frames of a face, (F, 3, side, side), bytes.

    Args:
        draw: Chooses place, size, tint and background.
        colour: Shares of red, green and blue, about.
        axes: Half its sides in pixels, across and down.
        mouth: Half the mouth's height in pixels in each frame, and its width as a share of usual.
        shut: In which frames the eyes are.
    """
    row, column = SIDE / 2 + draw.uniform(-1.5, 1.5, 2)
    across, down = (draw.uniform(0.85, 1.0) * each for each in axes)
    ground = draw.uniform(0.1, 0.45, 3)
    tint = np.clip(np.array(colour) + draw.uniform(-0.08, 0.08, 3), 0, 1)
    still = np.ones(FRAMES, dtype=np.float32)
    frames = np.broadcast_to(ground, (FRAMES, SIDE, SIDE, 3))
    frames = _painted(frames, (row, column), down * still, across * still, tint)
    for side in (-1, 1):
        eye = (row - 0.35 * down, column + side * 0.4 * across)
        frames = _painted(frames, eye, np.where(shut, 0.35, 1.1), 1.1 * still, np.array(EYES))
    height, width = mouth
    place = (row + 0.45 * down, column)
    frames = _painted(frames, place, 0.5 + height, 0.42 * across * width, np.array(LIPS))
    return np.round(255 * frames).astype(np.uint8).transpose(0, 3, 1, 2)


def _painted(
    frames: NDArray[np.float64],
    centre: tuple[float, float],
    down: NDArray[np.floating],
    across: NDArray[np.floating],
    colour: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return frames (F, side, side, 3) with an ellipse of half sides (F,) in a colour.

    A pixel at its edge has a share of the colour: the distance to the edge, to first order.
    """
    places = np.arange(SIDE) + 0.5
    rows, columns = (places - centre[0])[None, :, None], (places - centre[1])[None, None]
    down, across = (each[:, None, None] for each in (down, across))
    inside = 1 - (rows / down) ** 2 - (columns / across) ** 2
    slope = 2 * np.sqrt((rows / down**2) ** 2 + (columns / across**2) ** 2)
    share = np.clip(0.5 + inside / np.maximum(slope, 1e-6), 0, 1)[..., None]
    covered: NDArray[np.float64] = frames * (1 - share) + share * colour
    return covered
