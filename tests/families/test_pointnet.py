"""PointNet: published counts and operations, an independent network, the order of points."""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from helpers.family_code import modules_of, published, write_code
from helpers.pointnet_settings import PAPER, SMALL, TINY
from torch import Tensor

from metagen.families import parts
from metagen.families.pointnet import FAMILY as pointnet
from metagen.families.trend import rows


@pytest.fixture(scope="module")
def code(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, ModuleType]]:
    with modules_of(write_code(tmp_path_factory.mktemp("code"), pointnet, TINY)) as modules:
        yield modules


def test_published_dimensions_give_published_counts_and_operations() -> None:
    table = {row["model"]: int(row["params_exact"]) for row in rows(published(pointnet))}
    vanilla = {**PAPER, "input_transform": False, "feature_transform": False}
    assert pointnet.count(PAPER) == table["PointNet"]
    assert round(pointnet.count(PAPER) / 1e6, 1) == 3.5  # table 6 of the paper
    assert pointnet.count(vanilla) == table["PointNet (vanilla)"]
    assert round(pointnet.count(vanilla) / 1e6, 1) == 0.8
    # The paper counts a multiply-add as one operation.
    for dims, millions in ((PAPER, 440), (vanilla, 148)):
        assert parts.flops(pointnet.parts(dims)) / 2e6 == pytest.approx(millions, rel=0.03)


def shared(x: Tensor, module: Any) -> Tensor:
    """Return a convolution of width 1 over points (B, C, P), normalized, and rectified."""
    y = F.conv1d(x, module.linear.weight[:, :, None], module.linear.bias)
    norm = module.norm
    return F.batch_norm(y, None, None, norm.weight, norm.bias, True, 0.1, norm.eps).relu()


def matrix(x: Tensor, module: Any) -> Tensor:
    y = x
    for each in module.points:
        y = shared(y, each)
    y = y.max(2, keepdim=True).values
    for each in module.cloud:
        y = shared(y, each)
    size = module.size
    flat = y[:, :, 0] @ module.matrix.weight.T + module.matrix.bias
    return flat.reshape(-1, size, size) + torch.eye(size)


def reference(model: Any, points: Tensor) -> Tensor:
    """Return the logits of convolutions over channels first, as the paper's code has them."""
    x = points.transpose(1, 2)
    x = (x.transpose(1, 2) @ matrix(x, model.input_transform)).transpose(1, 2)
    x = shared(shared(x, model.layers[0]), model.layers[1])
    x = (x.transpose(1, 2) @ matrix(x, model.feature_transform)).transpose(1, 2)
    for layer in model.layers[2:]:
        x = shared(x, layer)
    x = x.max(2, keepdim=True).values
    for layer in model.head:
        x = shared(x, layer)
    return x[:, :, 0] @ model.classifier.weight.T + model.classifier.bias


def network(code: dict[str, ModuleType]) -> Any:
    torch.manual_seed(0)
    model = code["model"].Model(code["model"].Config(**SMALL))
    for name in ("input_transform", "feature_transform"):
        torch.nn.init.normal_(getattr(model, name).matrix.weight, std=0.1)
    return model


def test_logits_and_gradients_equal_those_of_convolutions(code: dict[str, ModuleType]) -> None:
    one, two = network(code).train(), network(code).train()
    points = torch.randn(5, 12, 3)
    logits, expected = one(points), reference(two, points)
    torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-5)
    for each in (logits, expected):
        each.square().sum().backward()
    theirs = dict(two.named_parameters())
    for name, weight in one.named_parameters():
        torch.testing.assert_close(weight.grad, theirs[name].grad, rtol=1e-3, atol=1e-4)


def test_neither_the_order_nor_the_number_of_points_is_fixed(code: dict[str, ModuleType]) -> None:
    model = network(code).eval()
    points = torch.randn(2, 20, 3)
    logits = model(points)
    torch.testing.assert_close(model(points[:, torch.randperm(20)]), logits)
    torch.testing.assert_close(model(torch.cat([points, points[:, :3]], 1)), logits)
