"""Mask R-CNN: published counts, regions and boxes by formulas written out, and its losses."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from helpers.family_code import modules_of, published, write_code
from helpers.mask_rcnn_settings import MODEL, TINY, Modules
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from metagen.families.mask_rcnn import FAMILY as mask_rcnn
from metagen.families.trend import Row, rows


@pytest.fixture(scope="module")
def code(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Modules]:
    with modules_of(write_code(tmp_path_factory.mktemp("code"), mask_rcnn, TINY)) as modules:
        yield modules


def dims(row: Row) -> dict[str, Any]:
    depths = {f"depth_{n}": int(d) for n, d in enumerate(row["n_layers"].split("-"), start=1)}
    published_sizes = {"image_height": 1024, "image_width": 1024, "num_channels": 3, "width": 64}
    heads = {"mask_depth": 4, "mask_resolution": 28, "anchor_size": 32}
    regions = {"num_proposals": 1000, "num_sampled": 512, "num_detections": 100}
    return {
        **{**published_sizes, **depths, **heads, **regions},
        **{"fpn_channels": int(row["fpn"]), "d_hidden": int(row["d_hidden"])},
        **{"num_classes": int(row["num_outputs"]) - 1, "frozen_norm": row["frozen"] == "1"},
    }


def test_published_dimensions_give_the_published_counts(code: Modules) -> None:
    table = mask_rcnn.rows(published(mask_rcnn))
    assert len(rows(published(mask_rcnn))) > len(table) >= 6
    for row in table:
        assert mask_rcnn.count(dims(row)) == int(row["params_exact"]), row["model"]
    torchvision = dims(table[0])
    assert mask_rcnn.count(torchvision) == 44_401_393
    with torch.device("meta"):
        network = code["model"].Model(code["model"].Config(**torchvision)).eval()
        images = torch.zeros(1, 3, 1024, 1024)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(images)
    assert network.num_params() == 44_401_393
    assert counter.get_total_flops() == mask_rcnn.demand(torchvision).first.flops


# Regions, by interpolation of each point


def interpolated(plane: Tensor, y: float, x: float) -> float:
    """Return a plane (h, w) at a point between its places; 0 beyond one place outside."""
    height, width = plane.shape
    if not (-1 <= y <= height and -1 <= x <= width):
        return 0.0
    y, x = min(max(y, 0.0), height - 1.0), min(max(x, 0.0), width - 1.0)
    total = 0.0
    for row in {math.floor(y), math.ceil(y)}:
        for column in {math.floor(x), math.ceil(x)}:
            total += float(plane[row, column]) * (1 - abs(y - row)) * (1 - abs(x - column))
    return total


def pooled(plane: Tensor, box: list[float], side: int) -> Tensor:
    """Return the mean of four points of each bin of a box (side, side), one by one."""
    left, top, right, bottom = box
    across, down = max(right - left, 1.0), max(bottom - top, 1.0)
    bins = torch.zeros(side, side)
    for row, column in itertools.product(range(side), repeat=2):
        points = [
            interpolated(
                plane,
                top + (row + (dy + 0.5) / 2) * down / side,
                left + (column + (dx + 0.5) / 2) * across / side,
            )
            for dy, dx in itertools.product(range(2), repeat=2)
        ]
        bins[row, column] = sum(points) / 4
    return bins


def test_a_region_is_the_mean_of_four_points_of_each_bin(code: Modules) -> None:
    model = code["model"]
    torch.manual_seed(0)
    maps = [torch.randn(2, 3, 6, 5), torch.randn(2, 3, 3, 4)]
    boxes = torch.tensor(
        [[0.5, 1.2, 4.1, 3.9], [-2.0, -1.5, 1.0, 2.0], [2.0, 2.0, 2.2, 2.1], [1.0, 0.0, 9.0, 7.0]]
    )
    images, levels = torch.tensor([0, 1, 1, 0]), torch.tensor([0, 0, 1, 1])
    sizes = [(6, 5), (3, 4)]
    read = model.roi_align(model.flattened(maps), sizes, images, levels, boxes, 3)
    assert read.shape == (4, 3, 3, 3)
    for n, (image, level) in enumerate(zip(images.tolist(), levels.tolist(), strict=True)):
        for channel in range(3):
            truth = pooled(maps[level][image, channel], boxes[n].tolist(), 3)
            torch.testing.assert_close(read[n, channel], truth, rtol=1e-5, atol=1e-5)


def test_the_gradient_of_a_region_is_that_of_a_bilinear_grid(code: Modules) -> None:
    model = code["model"]
    torch.manual_seed(1)
    plane = torch.randn(1, 2, 8, 8, requires_grad=True)
    box = torch.tensor([[1.3, 0.9, 6.2, 5.8]])
    zero = torch.zeros(1, dtype=torch.int64)
    read = model.roi_align(model.flattened([plane]), [(8, 8)], zero, zero, box, 4)
    factors = torch.randn_like(read)
    (own,) = torch.autograd.grad((read * factors).sum(), plane)
    # grid_sample counts from the middle of the first place to that of the last one.
    steps = (torch.arange(8) + 0.5) / 8
    x, y = (2 * (low + steps * (high - low)) / 7 - 1 for low, high in ((1.3, 6.2), (0.9, 5.8)))
    grid = torch.stack(torch.meshgrid(x, y, indexing="xy"), -1)[None]
    other = F.avg_pool2d(F.grid_sample(plane, grid, align_corners=True), 2)
    torch.testing.assert_close(read, other)
    (expected,) = torch.autograd.grad((other * factors).sum(), plane)
    torch.testing.assert_close(own, expected)


# Boxes


def test_suppression_keeps_what_one_pass_from_the_surest_on_keeps(code: Modules) -> None:
    model = code["model"]
    torch.manual_seed(2)
    low = torch.rand(3, 60, 2) * 40
    boxes = torch.cat((low, low + 5 + torch.rand(3, 60, 2) * 25), -1)
    classes = torch.randint(2, (3, 60))
    kept = model.survivors(boxes, classes, 0.4)
    for image in range(3):
        taken: list[int] = []
        for n in range(60):
            rivals = [t for t in taken if classes[image, t] == classes[image, n]]
            if all(float(model.iou(boxes[image, t], boxes[image, n])) <= 0.4 for t in rivals):
                taken.append(n)
        assert kept[image].nonzero().flatten().tolist() == taken
    assert 0 < kept.sum() < kept.numel()


def test_a_step_leads_from_a_box_to_another(code: Modules) -> None:
    model = code["model"]
    origins = torch.tensor([[10.0, 10.0, 30.0, 50.0]])
    boxes = torch.tensor([[20.0, 0.0, 40.0, 20.0]])
    steps = model.encoded(boxes, origins, (10, 5))
    # The centre moves by (10, -20) of sides (20, 40); the height halves.
    expected = torch.tensor([[10 * 0.5, 10 * -0.5, 0.0, 5 * math.log(0.5)]])
    torch.testing.assert_close(steps, expected)
    torch.testing.assert_close(model.decoded(steps, origins, (10, 5)), boxes)


def test_anchors_are_those_of_torchvision(code: Modules) -> None:
    anchors = code["model"]._anchors(torch.zeros(1, 1, 2, 3), 4, 32)
    assert anchors.shape == (2 * 3 * 3, 4)
    # torchvision rounds the halves of 32 / sqrt(ratio) and 32 * sqrt(ratio) to whole pixels.
    assert anchors[:3].tolist() == [[-23, -11, 23, 11], [-16, -16, 16, 16], [-11, -23, 11, 23]]
    assert (anchors[3] - anchors[0]).tolist() == [4, 0, 4, 0]


def test_the_proxys_anchors_are_as_large_as_the_bundled_digits(code: Modules) -> None:
    model, data = code["model"], code["data"]
    scenes = data.load_scenes(data.Config(**TINY["data"]), None, model.Config(**MODEL))
    digits = torch.cat([each.boxes for each in scenes.truth("val")[:50]])
    size = mask_rcnn.proxy_dims["anchor_size"]
    anchors = model._anchors(torch.zeros(1, 1, 24, 24), 4, size)
    shared = model.iou(digits[:, None].float(), anchors.float())
    assert shared.amax(1).mean() > 0.5


# Losses


def scene() -> tuple[Tensor, ...]:
    torch.manual_seed(3)
    images = torch.randn(2, 1, 96, 96)
    boxes = torch.tensor([[[10.0, 12, 40, 44], [50, 50, 80, 90]], [[20, 20, 60, 60], [0, 0, 0, 0]]])
    classes = torch.tensor([[1, 5], [9, -1]])
    masks = torch.zeros(2, 2, 96, 96, dtype=torch.bool)
    for image, number in ((0, 0), (0, 1), (1, 0)):
        left, top, right, bottom = boxes[image, number].int().tolist()
        masks[image, number, top:bottom, left : (left + right) // 2] = True
    return images, boxes, classes, masks


def test_a_batch_has_the_mean_loss_of_its_images_and_all_weights_learn(code: Modules) -> None:
    torch.manual_seed(0)
    model = code["model"].Model(code["model"].Config(**MODEL)).eval()
    batch = scene()
    with pytest.MonkeyPatch.context() as patch:
        # The first places are drawn, so that an image draws the same ones alone.
        patch.setattr(torch, "rand", lambda shape, device: torch.linspace(1, 0.5, shape[-1]))
        whole = model(*batch)
        alone = [model(*(part[n : n + 1] for part in batch)) for n in range(2)]
    assert float(whole) == pytest.approx(float(sum(alone)) / 2, rel=1e-5)
    whole.backward()
    gradients = [p.grad for p in model.parameters()]
    assert all(each is not None and each.isfinite().all() for each in gradients)


def test_an_image_without_objects_teaches_that_there_is_nothing(code: Modules) -> None:
    torch.manual_seed(0)
    model = code["model"].Model(code["model"].Config(**MODEL)).eval()
    images, boxes, classes, masks = (part[:1] for part in scene())
    nothing = torch.zeros_like(boxes), torch.full_like(classes, -1), torch.zeros_like(masks)
    losses = model.losses(model.features(model.levels(images)), *nothing)
    assert [bool(loss > 0) for loss in losses] == [True, False, True, False, False]


def test_detections_are_distinct_objects_of_an_image(code: Modules) -> None:
    torch.manual_seed(0)
    model = code["model"].Model(code["model"].Config(**MODEL)).eval()
    with torch.no_grad():
        model.box_head.classes.weight.mul_(20)  # Some class is then sure.
        found = model(torch.randn(2, 1, 96, 96))
    assert found.boxes.shape == (2, 5, 4)
    assert found.masks.shape == (2, 5, 12, 12)
    real = found.classes >= 0
    assert real.any()
    assert (found.scores[real] > 0.05).all()
    assert not found.scores[~real].any()
    assert (found.scores.diff(dim=1) <= 0).all()
    assert (found.boxes >= 0).all()
    assert (found.boxes <= 96).all()
