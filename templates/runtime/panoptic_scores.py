"""Panoptic quality (Kirillov et al., 2019, arXiv:1801.00868) as a score over images.

A segment that a method finds matches a true one of its class if their IoU is above a half, so each
has one match at most. Pixels that are not labelled count in no union. By the rules of COCO, crowds
are no objects to find, and a segment that lies mostly on a crowd of its class or on pixels that are
not labelled is not wrong.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from runtime.objects import Objects
from runtime.scores import Score, Weights
from runtime.segments import Segments

Kind = Literal["pq", "sq", "rq"]
MATCH = 0.5  # A larger IoU is a match.
IGNORED = 0.5  # larger share of a segment on pixels that do not count, with which it is not wrong


class PanopticQuality:
    """The panoptic quality of what a method found in the images of a split."""

    def __init__(self, truth: Sequence[Objects], found: Sequence[Segments], classes: int) -> None:
        """Match what was found with what is there; `classes` is their number."""
        pairs = zip(truth, found, strict=True)
        # (images, classes, 4): the sum of IoUs, and the numbers right, wrong and missed
        self._counts = np.stack([matches(*pair, classes) for pair in pairs])

    def of(self, kind: Kind, classes: slice = slice(None)) -> Score:
        """Return the mean over some classes, those that are there or found, of one quality.

        SQ is the mean IoU of the matches, RQ the F1 of the matches, and PQ their product. It is NaN
        where no such class is there or found.
        """
        counts = self._counts[:, classes]
        flat = counts.reshape(len(counts), -1)

        def score(weights: Weights) -> float:
            shared, right, wrong, missed = (weights @ flat).reshape(-1, 4).T
            several = right + (wrong + missed) / 2
            there = several > 0
            values = {
                "pq": shared[there] / several[there],
                "sq": shared[there] / np.maximum(right[there], np.spacing(1)),
                "rq": right[there] / several[there],
            }
            return float(values[kind].mean()) if there.any() else float("nan")

        return score


def matches(truth: Objects, found: Segments, classes: int) -> NDArray[np.float64]:
    """Return of each class the sum of IoUs, and how many are right, wrong and missed, (K, 4)."""
    table = _common(truth, found)
    areas, sizes = table.sum(1)[1:], table.sum(0)[1:]  # those of the true ones, and of the others
    void, both = table[0, 1:], table[1:, 1:]
    crowd, kinds = truth.crowd.numpy(), truth.classes.numpy()
    own = found.classes.numpy()
    same = kinds[:, None] == own
    union = areas[:, None] + sizes - both - void
    share = np.where(same & ~crowd[:, None], both / np.maximum(union, 1), 0)
    hit = share > MATCH
    on_crowd = (both * (same & crowd[:, None])).sum(0)
    wrong = ~hit.any(0) & (void + on_crowd <= IGNORED * sizes)
    missed = ~hit.any(1) & ~crowd
    places, _ = hit.nonzero()
    counts = np.zeros((classes, 4))
    np.add.at(counts[:, 0], kinds[places], share[hit])
    for column, numbers in enumerate((kinds[places], own[wrong], kinds[missed]), start=1):
        np.add.at(counts[:, column], numbers, 1)
    return counts


def _common(truth: Objects, found: Segments) -> NDArray[np.int64]:
    """Return the pixels that true segments (rows, none first) share with those found (columns)."""
    assert truth.masks is not None
    numbers = torch.zeros_like(found.numbers)
    for number, mask in enumerate(truth.masks, start=1):
        numbers[mask] = number
    columns = len(found.classes) + 1
    pairs = (numbers * columns + found.numbers).flatten()
    counts = torch.bincount(pairs, minlength=(len(truth) + 1) * columns)
    return counts.view(-1, columns).numpy()
