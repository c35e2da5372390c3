"""Digits that eSpeak NG speaks in many voices, the same samples at each call."""

import json
import random
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from runtime.errors import fail
from runtime.espeak import RATE

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
# Voices whose samples are the same in each process, in the order in which splits take them; nine
# others, such as whisper and f2, have noise that is not.
_VOICES = (
    "Alex Andrea Andy Annie Denis Diogo Gene Henrique Hugo Jacky Lee Marco Mario Michael Mike "
    "Nguyen Reed Storm Tweaky UniRobot adam anika announcer antonio aunty belinda benjamin "
    "boris caleb croak david ed edward f1 f4 fast grandma grandpa gustave ian iven iven2 john "
    "kaukovalta klatt klatt2 klatt3 klatt4 klatt5 klatt6 linda m1 m2 m3 m4 m5 m6 m7 m8 "
    "marcelo max michel miguel norbert pablo paul pedro quincy rob robert shelby steph"
)
VOICES = _VOICES.split()
COUNTS = {"train": 48, "val": 8, "test": 16}
SEED = 0  # Rates and pitches are drawn from it.


class Utterance(NamedTuple):
    """What a voice says: the words, the split of the voice, and samples of -1 to 1 (S,)."""

    text: str
    voice: str
    split: str
    samples: NDArray[np.float32]


Request = tuple[str, str, int, int]


def spoken_digits(rate: int) -> list[Utterance]:
    """Return each digit in each voice, at so many samples a second; no voice is in two splits."""
    draw = random.Random(SEED)
    return _utterances(
        [
            (split, (digit, f"en+{voice}", draw.randint(150, 200), draw.randint(35, 65)))
            for voice, split in _voices(draw)
            for digit in DIGITS
        ],
        rate,
    )


def spoken_numbers(rate: int, most: int, each: Mapping[str, int]) -> list[Utterance]:
    """Return runs of 1 to `most` digits, which a voice says as one utterance.

    Args:
        rate: Samples a second.
        most: Digits of the longest run.
        each: Utterances of each voice of a split; no voice is in two splits.
    """
    draw = random.Random(SEED)
    return _utterances(
        [
            (
                split,
                (_digits(draw, most), f"en+{voice}", draw.randint(150, 220), draw.randint(30, 70)),
            )
            for voice, split in _voices(draw)
            for _ in range(each[split])
        ],
        rate,
    )


def _digits(draw: random.Random, most: int) -> str:
    return " ".join(draw.choices(DIGITS, k=draw.randint(1, most)))


def _voices(draw: random.Random) -> list[tuple[str, str]]:
    """Return each voice with its split; the voices of a split alternate."""
    splits = [split for split, count in COUNTS.items() for _ in range(count)]
    draw.shuffle(splits)
    return list(zip(VOICES, splits, strict=True))


def _utterances(said: Sequence[tuple[str, Request]], rate: int) -> list[Utterance]:
    """Return what is said of requests, each with the split of its voice."""
    sounds = _spoken([request for _, request in said])
    return [
        Utterance(text, voice, split, _resampled(samples, rate))
        for (split, (text, voice, *_)), samples in zip(said, sounds, strict=True)
    ]


def _spoken(requests: list[Request]) -> list[NDArray[np.float32]]:
    """Return the samples of each request, or stop if the library is missing."""
    try:
        import espeakng_loader  # type: ignore[import-untyped]  # noqa: F401
    except ImportError:
        fail("the spoken digits come with a library: pip install espeakng-loader; or use --data.")
    command = [sys.executable, str(Path(__file__).with_name("espeak.py"))]
    done = subprocess.run(
        command, input=json.dumps(requests).encode(), capture_output=True, check=False
    )
    sounds, place = [], 0
    while done.returncode == 0 and place < len(done.stdout):
        size = 2 * int.from_bytes(done.stdout[place : place + 4], "little")
        values = np.frombuffer(done.stdout, "<i2", size // 2, place + 4)
        sounds.append(values.astype(np.float32) / np.float32(2**15))
        place += 4 + size
    if len(sounds) != len(requests) or not all(map(len, sounds)):
        cause = done.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        fail(f"espeakng-loader cannot speak here ({cause or 'no sound'}): use --data.")
    return sounds


def _resampled(samples: NDArray[np.float32], rate: int) -> NDArray[np.float32]:
    """Return an utterance at another rate, its loudest sample at nine tenths of the range."""
    from runtime.sounds import resampled

    made = resampled(samples, RATE, rate)
    return made * (0.9 / max(1e-6, float(np.abs(made).max())))
