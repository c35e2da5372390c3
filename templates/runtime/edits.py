"""Errors of transcripts: the words or characters that differ from what is said."""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from runtime.scores import Weights

NO_WORD = re.compile(r"[^\w' ]+|_")  # Punctuation is no part of what is said.


def words_of(text: str) -> list[str]:
    """Return the words of a text as they are compared: in small letters, without punctuation."""
    return NO_WORD.sub(" ", text.casefold()).split()


def characters_of(text: str) -> list[str]:
    """Return the characters of these words, with a blank between two words."""
    return list(" ".join(words_of(text)))


def edit_distance(one: Sequence[Any], other: Sequence[Any]) -> int:
    """Return the fewest insertions, deletions and substitutions that turn one into the other.

    Levenshtein, 1966; row i has the distances of the first i items from each start of the other.
    """
    row = list(range(len(other) + 1))
    for i, item in enumerate(one, start=1):
        diagonal, row[0] = row[0], i
        for j, target in enumerate(other, start=1):
            changed = diagonal + (item != target)
            diagonal, row[j] = row[j], min(changed, row[j] + 1, row[j - 1] + 1)
    return row[-1]


class ErrorRate:
    """Errors of transcripts for each word, or character, that is said.

    Both are counted over all clips, so a long clip weighs more than a short one.
    """

    def __init__(self, written: Sequence[Sequence[Any]], said: Sequence[Sequence[Any]]) -> None:
        pairs = zip(written, said, strict=True)
        self.errors = np.array([edit_distance(a, b) for a, b in pairs], dtype=np.float64)
        self.lengths = np.array([len(each) for each in said], dtype=np.float64)

    def __call__(self, weights: Weights) -> float:
        """Return the weighted errors over the weighted length; NaN where nothing is said."""
        length = float(weights @ self.lengths)
        return float(weights @ self.errors) / length if length else float("nan")
