"""The Vision Transformer: published counts and shapes, patches, and transformers' outputs."""

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

from metagen.errors import SpecError
from metagen.families.demand import Limit, Need
from metagen.families.trend import rows
from metagen.families.vit import FAMILY as vit
from metagen.sizing.search import search


def dims(row: dict[str, str]) -> dict[str, Any]:
    names = {"d_model": "d_model", "n_layers": "n_layers", "n_heads": "n_heads", "ffn": "d_ff"}
    shape = {ours: int(row[theirs]) for theirs, ours in names.items()}
    image = {"image_height": 224, "image_width": 224, "num_channels": 3, "num_classes": 1000}
    return image | shape | {"patch_size": int(row["patch"]), "norm_eps": 1e-6}


def test_published_dimensions_give_published_counts() -> None:
    table = rows(published(vit))
    assert len(table) >= 8
    for row in table:
        assert vit.count(dims(row)) == int(row["params_exact"]), row["model"]
    (base,) = (row for row in table if row["model"] == "ViT-B/16")
    assert int(base["params_exact"]) == 86_567_656


def test_the_published_shape_comes_back_at_its_budget() -> None:
    small = sized(vit, 22.06e6).dims
    assert (small["d_model"], small["n_layers"], small["n_heads"], small["d_ff"]) == (
        384, 12, 6, 1536,
    )  # fmt: skip


def test_small_images_are_cut_in_small_patches() -> None:
    sides = {8: 1, 32: 4, 64: 8, 96: 12, 224: 16, 384: 16}
    for side, patch in sides.items():
        found = sized(vit, 5e6, image_height=side, image_width=side)
        assert found.dims["patch_size"] == patch


def test_a_limit_on_time_is_kept_by_coarser_patches() -> None:
    plain = sized(vit, 86.6e6)
    flops = plain.demand.first.flops
    limit = Limit(
        "latency", flops / 3, lambda demand: demand.first.flops, str, "a third of the work"
    )
    need = Need(int(86.6e6), int(0.99 * 86.6e6), (limit,))
    found = search(vit, need, vit.fit(published(vit), need.budget))
    assert (plain.dims["patch_size"], found.dims["patch_size"]) == (16, 32)
    assert found.fits
    assert 0.97 * 86.6e6 <= found.parameters <= 86.6e6


def test_a_patch_that_is_no_square_is_refused() -> None:
    with pytest.raises(SpecError, match=r"constraints\.patch_size: \[16, 8\] is no square"):
        vit.fixed({"constraints.patch_size": (16, 8)}.get)
    fixed = vit.task.fixed({"constraints.image_size": (32, 64)}.get)
    assert fixed == {"image_height": 32, "image_width": 64}


@pytest.fixture(scope="module", params=SHAPES["vit"])
def pair(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Any, Any]]:
    root = tmp_path_factory.mktemp("pair")
    with beside_transformers(root, "vit", request.param) as models:
        yield models


@pytest.mark.parametrize("training", [False, True])
def test_logits_and_gradients_equal_those_of_transformers(
    pair: tuple[Any, Any], training: bool
) -> None:
    assert_same_logits_and_gradients(*(model.train(training) for model in pair))
