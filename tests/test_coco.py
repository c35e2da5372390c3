"""Outlines and average precision in COCO's form: they are those of pycocotools."""

from __future__ import annotations

import contextlib
import io
from typing import Any

import numpy as np
import pytest
import torch
from helpers.readers import Readers
from pycocotools import mask as packer
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

# Outlines


def test_outlines_are_the_pixels_that_pycocotools_draws(runtime: Readers) -> None:
    draw, outlines = np.random.default_rng(0), runtime.outlines
    for _ in range(30):
        height, width = (int(side) for side in draw.integers(1, 60, 2))
        mask = (draw.random((height, width)) < draw.random()).astype(np.uint8)
        packed = packer.encode(np.asfortranarray(mask))["counts"].decode()
        runs = {"size": [height, width], "counts": packed}
        assert outlines.fault(runs, (height, width)) is None
        size = (height, width)
        assert (outlines.mask_of(runs, size, size, 1.0) == mask).all()
        plain = {"size": [height, width], "counts": outlines._unpacked(packed)}
        assert outlines.fault(plain, size) is None
        assert (outlines.mask_of(plain, size, size, 1.0) == mask).all()
    polygon = [[4.0, 3, 30, 8, 25, 28, 6, 20]]
    drawn = packer.decode(packer.merge(packer.frPyObjects(polygon, 40, 40)))
    assert (outlines.mask_of(polygon, (40, 40), (40, 40), 1.0) == drawn).all()
    half = outlines.mask_of(polygon, (40, 40), (20, 20), 0.5)
    assert half.sum() == pytest.approx(drawn.sum() / 4, rel=0.1)


@pytest.mark.parametrize(
    "outline",
    [
        {"size": [3, 3], "counts": "zzz\0"},
        {"size": [3, 3], "counts": "oooooooooo"},
        {"size": [3, 3], "counts": [5, 5]},
        {"size": [3, 3], "counts": [-1, 10]},
        {"size": [3, 3], "counts": [True, 8]},
        {"size": [3, 3], "counts": None},
        {"size": [9, 1], "counts": [9]},
        [[1, 2, 3, 4]],
        [[1, 2, 3, 4, 5, float("nan")]],
        [[1, 2, 3, 4, 5, 10**400]],
        [],
        None,
    ],
)
def test_outlines_of_a_wrong_form_have_a_fault(runtime: Readers, outline: Any) -> None:
    assert runtime.outlines.fault(outline, (3, 3))


# Scores


def scattered(runtime: Readers, count: int) -> tuple[list[Any], list[Any]]:
    """Return objects of images, some of a crowd, and what a poor detector finds."""
    draw = torch.Generator().manual_seed(0)
    rows, columns = torch.meshgrid(torch.arange(64), torch.arange(64), indexing="ij")

    def ellipses(boxes: torch.Tensor) -> torch.Tensor:
        low, high = boxes[:, :2, None, None], boxes[:, 2:, None, None]
        middle, half = (low + high) / 2, (high - low) / 2
        return (((torch.stack((columns, rows)) - middle) / half) ** 2).sum(1) < 1

    truth, found = [], []
    for _ in range(count):
        n = int(torch.randint(0, 5, (), generator=draw))
        boxes = (torch.rand(n, 4, generator=draw) * 24).round()
        boxes[:, 2:] += boxes[:, :2] + 8
        classes = torch.randint(0, 4, (n,), generator=draw)
        crowd = torch.rand(n, generator=draw) < 0.15
        truth.append(runtime.objects.Objects(boxes, classes, crowd, ellipses(boxes)))
        near = boxes.repeat(2, 1) + 2 * torch.randn(2 * n, 4, generator=draw)
        near = torch.cat([near, torch.tensor([[5.0, 5, 30, 30], [20, 20, 50, 60]])])
        kinds = torch.cat([classes.repeat(2), torch.tensor([1, 2])])
        scores = (torch.rand(len(near), generator=draw) * 20).round() / 20
        found.append(runtime.objects.Found(near, scores, kinds, ellipses(near)))
    return truth, found


def by_pycocotools(runtime: Readers, truth: list[Any], found: list[Any], kind: str) -> list[float]:
    tables = []
    for every in (truth, found):
        rows = [r for n, each in enumerate(every) for r in runtime.coco_scores._rows(n, each, kind)]
        table = COCO()
        table.dataset = {
            "images": [{"id": n, "height": 64, "width": 64} for n in range(len(truth))],
            "annotations": [{**row, "id": n} for n, row in enumerate(rows, start=1)],
            "categories": [{"id": n} for n in range(4)],
        }
        tables.append(table)
    with contextlib.redirect_stdout(io.StringIO()):
        for table in tables:
            table.createIndex()
        scorer = COCOeval(*tables, kind)
        scorer.evaluate()
        scorer.accumulate()
        scorer.summarize()
    return [float(value) for value in scorer.stats[:3]]


@pytest.mark.parametrize("kind", ["bbox", "segm"])
def test_scores_are_those_of_pycocotools(runtime: Readers, kind: str) -> None:
    truth, found = scattered(runtime, 30)
    score = runtime.coco_scores.AveragePrecision(truth, found, kind)
    own = [score.at(threshold)(np.ones(30)) for threshold in (None, 0.5, 0.75)]
    assert own == pytest.approx(by_pycocotools(runtime, truth, found, kind), abs=1e-6)
    assert 0.1 < own[1] < 0.9


def test_an_image_that_counts_twice_is_there_twice(runtime: Readers) -> None:
    truth, found = scattered(runtime, 12)
    # Equal scores would be in another order where an image is repeated.
    for number, each in enumerate(found):
        each.scores.add_(torch.arange(len(each.scores)) * 1e-4 + number * 1e-2)
    weights = np.array([1, 2, 0, 3, 1, 1, 0, 2, 1, 1, 4, 1.0])
    score = runtime.coco_scores.AveragePrecision(truth, found)
    repeated = [n for n, times in enumerate(weights) for _ in range(int(times))]
    other = runtime.coco_scores.AveragePrecision(
        [truth[n] for n in repeated], [found[n] for n in repeated]
    )
    for threshold in (None, 0.5):
        expected = other.at(threshold)(np.ones(len(repeated)))
        assert score.at(threshold)(weights) == pytest.approx(expected, abs=2e-3)
