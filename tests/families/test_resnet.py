"""ResNet: published counts and shapes, and transformers' outputs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from helpers.family_code import published
from helpers.image_classifiers import (
    SHAPES,
    assert_same_logits_and_gradients,
    beside_transformers,
    sized,
)

from metagen.families.resnet import FAMILY as resnet
from metagen.families.trend import rows


def dims(row: dict[str, str]) -> dict[str, Any]:
    depths = {f"depth_{n}": int(d) for n, d in enumerate(row["n_layers"].split("-"), 1)}
    image = {"image_height": 224, "image_width": 224, "num_channels": 3, "num_classes": 1000}
    return image | {"width": int(row["d_model"]) // 32} | depths


def test_published_dimensions_give_published_counts() -> None:
    table = [row for row in rows(published(resnet)) if row["arch"] != "resnet18"]
    assert len(table) >= 8
    for row in table:
        assert resnet.count(dims(row)) == int(row["params_exact"]), row["model"]
    (fifty,) = (row for row in table if row["model"] == "ResNet-50")
    assert int(fifty["params_exact"]) == 25_557_032


def test_the_published_shape_comes_back_at_its_budget() -> None:
    found = sized(resnet, 25.6e6).dims
    assert [found[f"depth_{n}"] for n in (1, 2, 3, 4)] == [3, 4, 6, 3]
    assert found["width"] == 64


@pytest.fixture(scope="module", params=SHAPES["resnet"])
def pair(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Any, Any]]:
    root = tmp_path_factory.mktemp("pair")
    with beside_transformers(root, "resnet", request.param) as models:
        yield models


@pytest.mark.parametrize("training", [False, True])
def test_logits_and_gradients_equal_those_of_transformers(
    pair: tuple[Any, Any], training: bool
) -> None:
    assert_same_logits_and_gradients(*(model.train(training) for model in pair))
