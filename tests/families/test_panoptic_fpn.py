"""Panoptic FPN: counts of published dimensions, its branch by a formula, and its losses."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from helpers.family_code import modules_of, published, write_code
from helpers.mask_rcnn_settings import Modules
from helpers.panoptic_settings import MODEL, TINY
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from metagen.families.mask_rcnn import FAMILY as mask_rcnn
from metagen.families.panoptic_fpn import FAMILY as panoptic_fpn
from metagen.families.trend import Row


@pytest.fixture(scope="module")
def code(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Modules]:
    with modules_of(write_code(tmp_path_factory.mktemp("code"), panoptic_fpn, TINY)) as modules:
        yield modules


def dims(row: Row) -> dict[str, Any]:
    depths = {f"depth_{n}": int(d) for n, d in enumerate(row["n_layers"].split("-"), start=1)}
    sizes = {"image_height": 1024, "image_width": 1024, "num_channels": 3, "width": 64}
    heads = {"mask_depth": 4, "mask_resolution": 28, "anchor_size": 32}
    regions = {"num_proposals": 1000, "num_sampled": 512, "num_detections": 100}
    return {
        **{**sizes, **depths, **heads, **regions},
        **{"fpn_channels": int(row["fpn"]), "d_hidden": int(row["d_hidden"])},
        **{"num_classes": int(row["num_outputs"]) - 1, "num_stuff": int(row["num_stuff"])},
        **{"semantic_channels": int(row["semantic"]), "frozen_norm": row["frozen"] == "1"},
    }


def test_published_dimensions_give_the_counts_of_the_table(code: Modules) -> None:
    table = panoptic_fpn.rows(published(panoptic_fpn))
    assert len(table) >= 6
    for row in table:
        assert panoptic_fpn.count(dims(row)) == int(row["params_exact"]), row["model"]
    whole = dims(table[0])
    # Four convolutions from 256 channels, three from 128, seven normalizations, 54 classes.
    branch = 4 * 256 * 128 * 9 + 3 * 128 * 128 * 9 + 7 * 2 * 128 + (128 + 1) * 54
    assert panoptic_fpn.count(whole) == mask_rcnn.count(whole) + branch
    assert mask_rcnn.count(whole) == 44_347_573
    with torch.device("meta"):
        network = code["model"].Model(code["model"].Config(**whole)).eval()
        images = torch.zeros(1, 3, 1024, 1024)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        told = network(images)
    assert told.stuff.shape == (1, 54, 256, 256)
    assert network.num_params() == panoptic_fpn.count(whole)
    assert counter.get_total_flops() == panoptic_fpn.demand(whole).first.flops


# The branch for stuff


def doubled(x: Tensor) -> Tensor:
    """Return (B, C, h, w) with twice the sides, by the weights 3/4 and 1/4 of two neighbours."""
    for axis in (2, 3):
        before, after = (
            torch.cat([x.narrow(axis, 0, 1), x.narrow(axis, 0, x.size(axis) - 1)], axis),
            torch.cat([x.narrow(axis, 1, x.size(axis) - 1), x.narrow(axis, -1, 1)], axis),
        )
        pairs = torch.stack((0.75 * x + 0.25 * before, 0.75 * x + 0.25 * after), axis + 1)
        x = pairs.flatten(axis, axis + 1)
    return x


def normalized(x: Tensor, groups: int, gain: Tensor, bias: Tensor) -> Tensor:
    """Return (B, C, h, w) with mean 0 and variance 1 in each group of channels, scaled."""
    parts = x.unflatten(1, (groups, -1))
    mean = parts.mean((2, 3, 4), keepdim=True)
    variance = parts.var((2, 3, 4), correction=0, keepdim=True)
    flat = ((parts - mean) / (variance + 1e-5).sqrt()).flatten(1, 2)
    return flat * gain[:, None, None] + bias[:, None, None]


def test_the_branch_and_its_gradients_are_those_of_the_formula(code: Modules) -> None:
    torch.manual_seed(0)
    branch = code["model"].SemanticBranch(5, 6, 4, 4).double()
    sides = ((16, 24), (8, 12), (4, 6), (2, 3))
    levels = [torch.randn(2, 5, *side, dtype=torch.float64, requires_grad=True) for side in sides]
    total = torch.zeros(2, 6, 16, 24, dtype=torch.float64)
    for level, (x, stages) in enumerate(zip(levels, branch.stages, strict=True)):
        assert len(stages) == max(1, level)
        for stage in stages:
            x = F.conv2d(x, stage.convolution.weight, padding=1)
            x = normalized(x, 2, stage.normalization.weight, stage.normalization.bias).relu()
            x = doubled(x) if level else x
        total = total + x
    weight, bias = branch.classes.weight[:, :, 0, 0], branch.classes.bias
    expected = torch.einsum("bchw,kc->bkhw", total, weight) + bias[:, None, None]
    own = branch(levels)
    torch.testing.assert_close(own, expected)
    factors = torch.randn_like(own)
    wanted = [*levels, *branch.parameters()]
    one, two = (torch.autograd.grad((each * factors).sum(), wanted) for each in (own, expected))
    torch.testing.assert_close(one, two)


def test_levels_whose_sides_are_odd_are_brought_to_the_finest_one(code: Modules) -> None:
    model = code["model"].Model(code["model"].Config(**{**MODEL, "image_height": 90})).eval()
    with torch.no_grad():
        told = model(torch.randn(1, 1, 90, 96))
    assert told.stuff.shape == (1, 4, 23, 24)


# Losses


def scene() -> tuple[Tensor, ...]:
    torch.manual_seed(3)
    images = torch.randn(2, 1, 96, 96)
    boxes = torch.tensor([[[10.0, 12, 40, 44], [50, 50, 80, 90]], [[20, 20, 60, 60], [0, 0, 0, 0]]])
    classes = torch.tensor([[1, 5], [9, -1]])
    masks = torch.zeros(2, 2, 96, 96, dtype=torch.bool)
    stuff = torch.randint(1, 4, (2, 96, 96))
    for image, number in ((0, 0), (0, 1), (1, 0)):
        left, top, right, bottom = boxes[image, number].int().tolist()
        masks[image, number, top:bottom, left : (left + right) // 2] = True
        stuff[image][masks[image, number]] = 0
    stuff[0, :30] = -1  # The images have different shares of labelled pixels.
    return images, boxes, classes, masks, stuff


def test_the_loss_of_stuff_is_the_mean_over_the_labelled_pixels_of_each_image(
    code: Modules,
) -> None:
    model = code["model"].Model(code["model"].Config(**MODEL))
    logits, stuff = torch.randn(2, 4, 24, 24), scene()[-1]
    # The middle of pixel i is at place (i + 1/2) / 4 - 1/2.
    steps = ((torch.arange(96) + 0.5) / 4 - 0.5).clamp(0, 23)
    low, share = steps.long(), steps - steps.long()
    high = (low + 1).clamp(max=23)
    rows = logits[:, :, low] * (1 - share)[:, None] + logits[:, :, high] * share[:, None]
    fine = rows[..., low] * (1 - share) + rows[..., high] * share
    chances = fine.log_softmax(1)
    each = []
    for image in range(2):
        places = (stuff[image] >= 0).nonzero().tolist()
        each.append(sum(-chances[image, stuff[image, y, x], y, x] for y, x in places) / len(places))
    own = model.semantic_loss(logits, stuff)
    assert float(own) == pytest.approx(float(sum(each)) / 2, rel=1e-4)


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


def test_an_image_without_a_label_teaches_no_stuff(code: Modules) -> None:
    model = code["model"].Model(code["model"].Config(**MODEL))
    nothing = torch.full((1, 96, 96), -1)
    assert float(model.semantic_loss(torch.randn(1, 4, 24, 24), nothing)) == 0
