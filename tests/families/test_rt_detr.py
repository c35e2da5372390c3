"""RT-DETR: published counts, transformers' outputs, loss and gradients, and scipy's matchings."""

from __future__ import annotations

import importlib
import itertools
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from helpers.family_code import published
from helpers.image_classifiers import sized
from helpers.made import making
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from metagen import families, paths
from metagen.families.rt_detr import FAMILY as rt_detr
from metagen.families.trend import rows
from metagen.spec import load

TINY = {
    "image_height": 64, "image_width": 96, "num_channels": 3, "num_classes": 5, "num_queries": 12,
    "width": 8, "depth_1": 1, "depth_2": 2, "depth_3": 1, "depth_4": 1, "d_encoder": 16,
    "d_encoder_ff": 24, "fusion_blocks": 3, "d_model": 32, "d_ff": 40, "n_layers": 2, "n_heads": 4,
    "n_points": 2, "num_denoising": 10,
}  # fmt: skip
BLOCKS = {
    "basic": {"bottleneck": False, "d_fusion": 8},
    "bottleneck": {"bottleneck": True, "d_fusion": 16},
}
CLOSE = {"atol": 1e-4, "rtol": 1e-4}


def dims(row: dict[str, str]) -> dict[str, Any]:
    stages = {f"depth_{n}": int(d) for n, d in enumerate(row["n_layers"].split("-"), 1)}
    names = {
        "width": "d_model", "d_encoder": "d_encoder", "d_encoder_ff": "d_encoder_ff",
        "d_fusion": "d_fusion", "d_model": "d_query", "d_ff": "d_ff", "n_layers": "decoder_layers",
    }  # fmt: skip
    image = {"image_height": 640, "image_width": 640, "num_channels": 3, "num_classes": 80}
    fixed = {"num_queries": 300, "fusion_blocks": 3, "n_heads": 8, "n_points": 4}
    found = {ours: int(row[theirs]) for ours, theirs in names.items()}
    return {**image, **fixed, **stages, **found, "bottleneck": row["block"] == "4"}


def test_published_dimensions_give_published_counts_and_operations() -> None:
    table = rt_detr.rows(published(rt_detr))
    assert len(table) == 5
    for row in table:
        assert rt_detr.count(dims(row)) == int(row["params_exact"]), row["model"]
        # The authors fold the two kernels of a fusion's block in one, so ours does a little more.
        flops = rt_detr.demand(dims(row)).first.flops / 1e9
        assert 1 < flops / float(row["flops_published_g"]) < 1.07
    assert len(rows(published(rt_detr))) >= 9


@pytest.mark.parametrize(("budget", "depths"), [(20.2e6, "2222"), (43e6, "34.3")])
def test_the_published_shapes_come_back_near_their_budgets(budget: float, depths: str) -> None:
    found = sized(rt_detr, budget, num_classes=80).dims
    assert (found["width"], found["d_model"], found["n_heads"]) == (64, 256, 8)
    assert found["bottleneck"] == (budget > 40e6)
    for stage, depth in enumerate(depths, 1):
        assert depth in (".", str(found[f"depth_{stage}"]))


def test_a_spec_of_sets_is_routed_here_and_names_the_queries() -> None:
    key = load(paths.specs() / "image" / "object_detector_detr.yaml").key
    assert families.route(key) == "rt_detr"
    assert rt_detr.fixed(key) == {"num_classes": 80, "num_queries": 100}


@pytest.fixture(scope="module")
def code(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModuleType]:
    with making("rt_detr", tmp_path_factory.mktemp("code")) as made:
        yield made.code["model"]


def network(code: ModuleType, **changed: Any) -> Any:
    torch.manual_seed(0)
    return code.Model(code.Config(**{**TINY, **BLOCKS["basic"], **changed}))


def objects() -> tuple[Tensor, Tensor]:
    """Return an image with an object, one with three, and one without."""
    boxes, classes = torch.zeros(3, 3, 4), torch.full((3, 3), -1)
    boxes[0, 0], classes[0, 0] = torch.tensor([3.0, 5, 30, 40]), 2
    sides = [[10.0, 5, 50, 40], [40.0, 15, 90, 60], [4.0, 45, 30, 60]]
    boxes[1], classes[1] = torch.tensor(sides), torch.tensor([0, 4, 1])
    return boxes, classes


@pytest.fixture(scope="module", params=BLOCKS)
def pair(request: pytest.FixtureRequest, code: ModuleType) -> tuple[Any, Any]:
    """Return our network and transformers' with the same tensors, drawn so that errors show."""
    from transformers import AutoConfig, AutoModelForObjectDetection

    ours = network(code, **BLOCKS[request.param])
    with torch.no_grad():
        for key, tensor in ours.state_dict().items():
            if tensor.is_floating_point():
                noise = 0.1 * torch.randn_like(tensor)
                tensor.add_(noise.abs() if "running_var" in key else noise)
        ours.denoising_class_embed.weight[-1] = 0  # the row of no object
    known = ours.checkpoint_config() | {"num_labels": TINY["num_classes"]}
    config = AutoConfig.for_model(known.pop("model_type"), **known)
    config._attn_implementation = "eager"
    theirs = AutoModelForObjectDetection.from_config(config)
    assert [type(theirs).__name__] == known["architectures"]
    theirs.load_state_dict({ours.checkpoint_name(n): t for n, t in ours.state_dict().items()})
    return ours, theirs


def same_noise(ours: Any, patch: pytest.MonkeyPatch) -> None:
    """Let transformers denoise the queries that our network drew."""
    theirs = importlib.import_module("transformers.models.rt_detr.modeling_rt_detr")
    drawn, draw = [], ours.noise

    def kept(*arguments: Tensor) -> Any:
        drawn.append(draw(*arguments))
        return drawn[-1]

    def given(targets: Any, classes: int, num_queries: int, class_embed: Any, **_: Any) -> Any:
        (noise,) = drawn
        counts = [len(each["class_labels"]) for each in targets]
        near = noise.near.view(noise.groups, -1)
        mask = torch.zeros(noise.allowed.shape).masked_fill(~noise.allowed, -torch.inf)
        known = {
            "dn_positive_idx": [near[:, :count].flatten() for count in counts],
            "dn_num_group": noise.groups,
            "dn_num_split": [noise.classes.size(1), num_queries],
        }
        return class_embed(noise.classes), theirs.inverse_sigmoid(noise.boxes), mask, known

    def called(targets: Any, num_classes: int, **named: Any) -> Any:
        return given(targets, num_classes, **named)

    patch.setattr(ours, "noise", kept)
    patch.setattr(theirs, "get_contrastive_denoising_training_group", called)


@pytest.mark.parametrize("training", [False, True])
def test_outputs_loss_and_gradients_equal_those_of_transformers(
    pair: tuple[Any, Any], training: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, theirs = (model.train(training) for model in pair)
    images, (boxes, classes) = torch.randn(3, 3, 64, 96), objects()
    if training:
        same_noise(ours, monkeypatch)
    else:
        found, expected = ours(images), theirs(images)
        torch.testing.assert_close(found.logits[-1], expected.logits, **CLOSE)
        torch.testing.assert_close(found.boxes[-1], expected.pred_boxes, **CLOSE)
    ours.zero_grad()
    theirs.zero_grad()
    loss, count = ours(images, boxes, classes)
    assert count == 4
    pairs = zip(classes, ours.as_shares(boxes), strict=True)
    labels = [{"class_labels": c[c >= 0], "boxes": b[c >= 0]} for c, b in pairs]
    wanted = theirs(images, labels=labels).loss
    torch.testing.assert_close(loss, wanted, **CLOSE)
    loss.backward()
    wanted.backward()
    gradients = {name: p.grad for name, p in theirs.named_parameters()}
    for name, parameter in ours.named_parameters():
        expected = gradients[ours.checkpoint_name(name)]
        assert (parameter.grad is None) == (expected is None), name
        if expected is not None:
            scale = 1e-4 * float(expected.abs().max()) + 2e-4
            torch.testing.assert_close(parameter.grad, expected, atol=scale, rtol=1e-3, msg=name)


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (3, 3), (4, 20), (12, 12), (9, 40)])
def test_a_matching_costs_as_little_as_scipys(code: ModuleType, rows: int, columns: int) -> None:
    draw = np.random.default_rng(rows)
    for whole in (False, True):
        costs = draw.normal(size=(rows, columns))
        costs = np.round(costs) if whole else costs  # Whole numbers have many equal sums.
        taken = code.assignment(costs)
        assert len({*taken.tolist()}) == rows
        best = costs[linear_sum_assignment(costs)].sum()
        assert costs[np.arange(rows), taken].sum() == pytest.approx(best)


def test_objects_match_queries_of_their_own_image_and_stage(code: ModuleType) -> None:
    classes = torch.tensor([[0, 0, -1], [-1, -1, -1]])
    costs = torch.ones(2, 2, 4, 3)
    costs[0, 0, 2, 0] = costs[0, 0, 3, 1] = costs[1, 0, 3, 0] = costs[1, 0, 1, 1] = 0
    found = code.matches(costs, classes)
    assert found.tolist() == [[[2, 3, -1], [-1] * 3], [[3, 1, -1], [-1] * 3]]
    # With more objects than queries, the costliest objects stay without one.
    few = torch.tensor([[[[5.0, 1.0, 2.0]]]])
    assert code.matches(few, torch.tensor([[0, 0, 0]])).tolist() == [[[-1, 0, -1]]]
    assert code.matches(few * torch.nan, torch.tensor([[0, 0, 0]])).numel() == 3


def test_noisy_queries_are_near_or_far_copies_that_no_other_group_sees(code: ModuleType) -> None:
    model, (boxes, classes) = network(code, num_denoising=600), objects()
    shares = model.as_shares(boxes)
    noise = model.noise(shares, classes)
    assert noise.groups == 200
    assert noise.classes.shape == (3, 1200)
    assert (noise.classes[2] == TINY["num_classes"]).all()
    sides, true = (code.from_centres(each[1]) for each in (noise.boxes, shares))
    moved = (sides.view(200, 2, 3, 4) - true).abs() / (shares[1, :, 2:].repeat(1, 2) / 2)
    inside = (sides.view(200, 2, 3, 4) > 0.001) & (sides.view(200, 2, 3, 4) < 0.999)
    straight = (noise.boxes[1, :, 2:] > 0).all(-1).view(200, 2, 3)[:, 0]
    assert moved[:, 0][straight].max() <= 1.0001
    assert 0.45 < moved[:, 0][inside[:, 0]].mean() < 0.55
    told = noise.classes[1].view(400, 3) != classes[1]
    # A quarter is drawn anew, and one in five of these is the same class again.
    assert 0.16 < told.float().mean() < 0.24
    group = torch.arange(1200) // 6
    assert torch.equal(noise.allowed[:1200, :1200], group[:, None] == group)
    assert noise.allowed[:, 1200:].all()
    assert not noise.allowed[1200:, :1200].any()
    assert noise.near[:7].tolist() == [0, 1, 2, 6, 7, 8, 12]


def test_images_without_objects_have_a_loss_for_what_is_found(code: ModuleType) -> None:
    model = network(code).train()
    loss, count = model(torch.randn(2, 3, 64, 96), torch.zeros(2, 1, 4), torch.full((2, 1), -1))
    assert count == 1
    assert loss > 0
    loss.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_validation_draws_no_noise(code: ModuleType) -> None:
    model, images = network(code).eval(), torch.randn(3, 3, 64, 96)
    first, second = (model(images, *objects())[0] for _ in range(2))
    assert first == second


def test_detections_are_the_surest_pairs_in_pixels(code: ModuleType) -> None:
    model = network(code, num_queries=3)
    logits = torch.full((2, 1, 3, 5), -9.0)
    logits[-1, 0, 1, 4], logits[-1, 0, 2, 0], logits[-1, 0, 1, 2] = 2.0, 1.0, 0.0
    boxes = torch.full((2, 1, 3, 4), 0.5)
    boxes[-1, 0, 1] = torch.tensor([0.25, 0.5, 0.5, 0.5])
    (found,) = model.detections(code.Predictions(logits, boxes), 0.3, 100)
    assert found.classes.tolist() == [4, 0, 2]
    assert found.boxes[0].tolist() == [0, 16, 48, 48]
    torch.testing.assert_close(found.scores, torch.tensor([2.0, 1.0, 0.0]).sigmoid())
    (found,) = model.detections(code.Predictions(logits, boxes), 0.6, 2)
    assert len(found.scores) == 2


@pytest.mark.parametrize("side", [45, 64])
def test_maps_of_any_size_are_joined(code: ModuleType, side: int) -> None:
    sides = {"image_height": side, "image_width": side + 25}
    model = network(code, **sides).eval()
    memory, sizes = model.remember(torch.randn(1, 3, side, side + 25))
    assert [h * w for h, w in sizes] == [*itertools.starmap(int.__mul__, sizes)]
    assert memory.size(1) == sum(h * w for h, w in sizes)
    assert model(torch.randn(1, 3, side, side + 25)).boxes.shape == (3, 1, 12, 4)
