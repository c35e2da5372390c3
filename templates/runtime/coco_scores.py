"""COCO's average precision, by the matches of pycocotools, as a score over images.

pycocotools matches what was found with what is there. The precision at each recall is then counted
here, so that each image may count several times, as a resample of the test split needs.
"""

import contextlib
import functools
import io
import math
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from runtime.errors import fail
from runtime.objects import Found, Objects
from runtime.scores import Score, Weights

Kind = Literal["bbox", "segm"]

THRESHOLDS = tuple(round(0.5 + 0.05 * step, 2) for step in range(10))  # IoUs
RECALLS = np.linspace(0, 1, 101)
MOST_FOUND = 100  # objects of an image; COCO counts the surest of each class
KEPT = 1100  # resamples whose precision is kept, so that AP, AP50 and AP75 count it once


class _Matches(NamedTuple):
    """What was found of one class in all images, the surest first.

    Attributes:
        images: (D,), the number of the image of each.
        right: (T, D), whether it matches an object at each threshold of the IoU.
        counted: (T, D), whether it is right or wrong, and not ignored.
        present: (images,), the objects of the class in each image.
    """

    images: NDArray[np.int64]
    right: NDArray[np.bool_]
    counted: NDArray[np.bool_]
    present: NDArray[np.int64]


class AveragePrecision:
    """The average precision of what a method found in the images of a split."""

    def __init__(
        self, truth: Sequence[Objects], found: Sequence[Found], kind: Kind = "bbox"
    ) -> None:
        """Match what was found with what is there.

        Args:
            truth: The objects of each image; the IoU with those of a crowd is that of COCO.
            found: What a method found in each image.
            kind: `bbox` compares boxes, `segm` masks.
        """
        self._matches = _matched(truth, found, kind)
        self._precision = functools.lru_cache(KEPT)(self._count)

    def at(self, threshold: float | None = None) -> Score:
        """Return the mean over classes of AP at one threshold of the IoU, or over all (None).

        It is NaN where no image has an object.
        """
        place = slice(None) if threshold is None else slice(*_places(threshold))

        def score(weights: Weights) -> float:
            return float(np.mean(self._precision(weights.tobytes())[place]))

        return score

    def _count(self, weights: bytes) -> NDArray[np.float64]:
        """Return AP at each threshold, (T,), as the mean over the classes that are there."""
        of_images = np.frombuffer(weights)
        each = [average_precision(matches, of_images) for matches in self._matches]
        there = [values for values in each if values is not None]
        return np.mean(there, axis=0) if there else np.full(len(THRESHOLDS), math.nan)


def _places(threshold: float) -> tuple[int, int]:
    place = THRESHOLDS.index(threshold)
    return place, place + 1


def average_precision(matches: _Matches, weights: Weights) -> NDArray[np.float64] | None:
    """Return the AP of a class at each threshold, (T,); None of a class that is not there.

    Precision at a recall is the best at this or a higher one; AP is its mean over 101 recalls.
    """
    present = float(matches.present @ weights)
    if not present:
        return None
    each = weights[matches.images]  # (D,)
    right = np.cumsum(matches.right * each, axis=1)
    counted = np.cumsum(matches.counted * each, axis=1)
    precision = right / np.maximum(counted, np.spacing(1))
    best = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    # Each recall of COCO's is reached by one of the detections, or by none.
    reached = np.searchsorted(RECALLS, right / present, side="right")  # (T, D)
    new = np.diff(reached, axis=1, prepend=0)
    means: NDArray[np.float64] = (best * new).sum(axis=1) / len(RECALLS)
    return means


def _matched(truth: Sequence[Objects], found: Sequence[Found], kind: Kind) -> list[_Matches]:
    """Return the matches of each class that is there or was found."""
    try:
        from pycocotools.coco import COCO  # type: ignore[import-untyped]
        from pycocotools.cocoeval import COCOeval  # type: ignore[import-untyped]
    except ImportError:
        fail("average precision is counted by a library: pip install pycocotools.")
    true = [_rows(n, each, kind) for n, each in enumerate(truth)]
    own = [_rows(n, each, kind) for n, each in enumerate(found)]
    classes = sorted({row["category_id"] for rows in (*true, *own) for row in rows})
    tables = []
    for rows in (true, own):
        table = COCO()
        images = [{"id": n, **_size(each)} for n, each in enumerate(truth)]
        table.dataset = {"images": images, "categories": [{"id": c} for c in classes]}
        # An annotation of number 0 would count as no match.
        flat = [row for each in rows for row in each]
        table.dataset["annotations"] = [{**row, "id": n} for n, row in enumerate(flat, start=1)]
        tables.append(table)
    # The library prints how long each of its steps took.
    with contextlib.redirect_stdout(io.StringIO()):
        for table in tables:
            table.createIndex()
        scorer = COCOeval(*tables, kind)
        scorer.params.iouThrs = np.array(THRESHOLDS)
        scorer.params.areaRng, scorer.params.areaRngLbl = [[0, 1e10]], ["all"]
        scorer.params.maxDets = [MOST_FOUND]
        scorer.evaluate()
    count = len(truth)
    return [
        _of_class(scorer.evalImgs[place * count : (place + 1) * count])
        for place in range(len(classes))
    ]


def _rows(image: int, objects: Objects | Found, kind: Kind) -> list[dict[str, Any]]:
    """Return the objects of an image in COCO's form."""
    boxes = objects.boxes.double()
    sides = np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)
    rows: list[dict[str, Any]] = [
        {"image_id": image, "category_id": c, "bbox": box, "area": box[2] * box[3], "iscrowd": 0}
        for c, box in zip(objects.classes.tolist(), sides.tolist(), strict=True)
    ]
    if isinstance(objects, Found):
        more: dict[str, list[Any]] = {"score": objects.scores.tolist()}
    else:
        more = {"iscrowd": objects.crowd.long().tolist()}
        more["ignore"] = more["iscrowd"]
    if kind == "segm":
        more["segmentation"], more["area"] = _packed(objects)
    for name, values in more.items():
        for row, value in zip(rows, values, strict=True):
            row[name] = value
    return rows


def _size(objects: Objects) -> dict[str, int]:
    """Return the size of an image as the library needs it for masks."""
    if objects.masks is None:
        return {}
    return dict(zip(("height", "width"), objects.masks.shape[1:], strict=True))


def _packed(objects: Objects | Found) -> tuple[list[Any], list[float]]:
    """Return the masks of objects as the library takes them, and their areas in pixels."""
    from pycocotools import mask as packer  # type: ignore[import-untyped]

    assert objects.masks is not None
    # The library reads down the columns.
    pixels = np.asfortranarray(objects.masks.permute(1, 2, 0).numpy().astype(np.uint8))
    return packer.encode(pixels), objects.masks.sum((1, 2)).double().tolist()


def _of_class(images: Sequence[dict[str, Any] | None]) -> _Matches:
    """Return the matches of a class from those of each image; None has no object of the class."""
    count, thresholds = len(images), len(THRESHOLDS)
    scores, numbers = [np.zeros(0)], [np.zeros(0, int)]
    right, counted = [np.zeros((thresholds, 0), bool)], [np.zeros((thresholds, 0), bool)]
    present = np.zeros(count, int)
    for number, each in enumerate(images):
        if each is None:
            continue
        ignored = each["dtIgnore"].astype(bool)
        scores.append(np.asarray(each["dtScores"], float))
        numbers.append(np.full(len(each["dtScores"]), number))
        right.append((each["dtMatches"] > 0) & ~ignored)
        counted.append(~ignored)
        present[number] = np.sum(np.asarray(each["gtIgnore"]) == 0)
    # The library too keeps the order of images among equal scores.
    order = np.argsort(-np.concatenate(scores), kind="mergesort")
    hits, scored = (np.concatenate(each, axis=1)[:, order] for each in (right, counted))
    return _Matches(np.concatenate(numbers)[order], hits, scored, present)
