"""Image classifiers as families: exact counts, filled budgets, published shapes, settings."""

from __future__ import annotations

from typing import Any

import pytest
from helpers.family_code import published
from helpers.image_classifiers import SHAPES

from metagen.errors import SpecError
from metagen.families.demand import Limit, Need
from metagen.families.resnet import FAMILY as resnet
from metagen.families.trend import rows
from metagen.families.vit import FAMILY as vit
from metagen.sizing.search import search


def table_of(family: Any) -> list[dict[str, str]]:
    table = rows(published(family))
    return [row for row in table if row["arch"] != "resnet18"]


def vit_dims(row: dict[str, str]) -> dict[str, Any]:
    names = {"d_model": "d_model", "n_layers": "n_layers", "n_heads": "n_heads", "ffn": "d_ff"}
    shape = {ours: int(row[theirs]) for theirs, ours in names.items()}
    image = {"image_height": 224, "image_width": 224, "num_channels": 3, "num_classes": 1000}
    return image | shape | {"patch_size": int(row["patch"]), "norm_eps": 1e-6}


def resnet_dims(row: dict[str, str]) -> dict[str, Any]:
    depths = {f"depth_{n}": int(d) for n, d in enumerate(row["n_layers"].split("-"), 1)}
    image = {"image_height": 224, "image_width": 224, "num_channels": 3, "num_classes": 1000}
    return image | {"width": int(row["d_model"]) // 32} | depths


@pytest.mark.parametrize(
    ("name", "parameters"), [("ViT-B/16", 86_567_656), ("ResNet-50", 25_557_032)]
)
def test_published_dimensions_give_published_counts(name: str, parameters: int) -> None:
    row = next(r for f in (vit, resnet) for r in table_of(f) if r["model"] == name)
    count = vit.count(vit_dims(row)) if "ViT" in name else resnet.count(resnet_dims(row))
    assert count == parameters == int(row["params_exact"])


def test_every_count_of_the_table_is_that_of_its_dimensions() -> None:
    table = [(vit.count(vit_dims(row)), row) for row in table_of(vit)]
    table += [(resnet.count(resnet_dims(row)), row) for row in table_of(resnet)]
    assert len(table) >= 17
    for count, row in table:
        assert count == int(row["params_exact"]), row["model"]


def sized(family: Any, budget: float, **fixed: Any) -> Any:
    need = Need(int(budget), int(0.99 * budget), pins=fixed, fixed=fixed)
    return search(family, need, family.fit(published(family), need.budget))


@pytest.mark.parametrize("budget", [1e5, 1e6, 5.8e6, 22e6, 86.6e6, 305e6, 1e9, 10e9])
def test_a_vision_transformer_fills_its_budget_and_never_exceeds_it(budget: float) -> None:
    for pins in ({}, {"num_classes": 2, "image_height": 64, "image_width": 96}):
        assert 0.97 * budget <= sized(vit, budget, **pins).parameters <= budget


@pytest.mark.parametrize("budget", [1e6, 5e6, 11e6, 25.6e6, 44.6e6, 100e6, 390e6, 1e9])
def test_a_residual_network_fills_its_budget_and_never_exceeds_it(budget: float) -> None:
    for pins in ({}, {"num_classes": 2}):
        assert 0.97 * budget <= sized(resnet, budget, **pins).parameters <= budget


def test_published_shapes_come_back_at_their_budgets() -> None:
    found = sized(resnet, 25.6e6).dims
    assert [found[f"depth_{n}"] for n in (1, 2, 3, 4)] == [3, 4, 6, 3]
    assert found["width"] == 64
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


@pytest.mark.parametrize("declared", [None, True, False, ("random_crop",), ("mixup", "flip")])
def test_images_are_mirrored_only_where_the_spec_asks_for_it(declared: Any) -> None:
    values = {"training.config.data_augmentation": declared, "reproducibility.seed": 1}
    made = {
        reduced: vit.sections(SHAPES["vit"]["square"], values.get, reduced=reduced)["data"]
        for reduced in (False, True)
    }
    asked = declared is True or (isinstance(declared, tuple) and "flip" in declared)
    assert made[False]["flip"] is asked
    assert made[True]["flip"] is False  # the proxy reads digits
    assert (made[False]["crop_padding"] > 0) is (declared in (None, True, ("random_crop",)))


def test_a_patch_that_is_no_square_is_refused() -> None:
    with pytest.raises(SpecError, match=r"constraints\.patch_size: \[16, 8\] is no square"):
        vit.fixed({"constraints.patch_size": (16, 8)}.get)
    fixed = vit.task.fixed({"constraints.image_size": (32, 64)}.get)
    assert fixed == {"image_height": 32, "image_width": 64}
