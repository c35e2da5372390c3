"""The U-Net: published counts, exact operations and activations, and budgets that are filled."""

from __future__ import annotations

import pytest
import torch
from family_code import Held
from segmentation_settings import MODEL, SPEC, Modules
from torch._subclasses.fake_tensor import FakeTensorMode

from metagen import families, paths
from metagen.families import segmentation_unet as unet
from metagen.families.family import Need
from metagen.families.segmentation_unet_load import forward_flops
from metagen.families.trend import rows
from metagen.measure.probe_worker import _by_torch
from metagen.sizing import search
from metagen.spec import load

PUBLISHED = paths.source("families/segmentation_unet.csv").read_bytes()
PAPER = {
    "in_channels": 1,
    "num_classes": 2,
    "base_channels": 64,
    "max_channels": 1024,
    "n_levels": 5,
    "image_height": 512,
    "image_width": 512,
}


def dims(row: dict[str, str]) -> dict[str, int]:
    names = {"base_channels": "d_model", "max_channels": "ffn", "n_levels": "n_layers"}
    return {**PAPER, **{ours: int(row[theirs]) for ours, theirs in names.items()}}


def test_the_closed_form_gives_the_counts_of_the_table() -> None:
    table = {row["model"]: row for row in rows(PUBLISHED)}
    assert unet.count(dims(table["U-Net"])) == int(table["U-Net"]["params_exact"])
    hub = {**dims(table["U-Net brain-segmentation"]), "in_channels": 3, "num_classes": 1}
    assert f"{unet.count(hub) / 1e6:.2f}M" == table["U-Net brain-segmentation"]["params_published"]


@pytest.mark.parametrize(
    "change", [{}, {"n_levels": 2, "max_channels": 8}, {"in_channels": 3, "base_channels": 5}]
)
def test_counts_and_operations_are_those_of_the_code(code: Modules, change: dict) -> None:
    sizes = {**MODEL, **change}
    with torch.device("meta"):
        model = code["model"].Model(code["model"].Config(**sizes))
        images = torch.empty(unet.example(sizes, 1)[0]["shape"])
    assert model.num_params() == unet.count(sizes)
    assert sum(_by_torch(model, (images,)).values()) == forward_flops(sizes)
    assert model(images).shape == (1, sizes["num_classes"], 16, 24)


def test_the_activations_are_what_the_code_holds_at_most(code: Modules) -> None:
    sizes = PAPER | {"num_classes": 21, "in_channels": 3}
    with FakeTensorMode():
        model = code["model"].Model(code["model"].Config(**sizes)).eval()
        images = torch.empty(unet.example(sizes, 1)[0]["shape"])
        with Held(model.parameters()) as held, torch.inference_mode():
            model(images)
    assert held.most == 2 * unet.load(sizes).activations  # float32 here, bf16 in infer.py


@pytest.mark.parametrize("budget", [3e5, 2e6, 8e6, 31.1e6, 60e6, 500e6])
def test_a_budget_is_filled_and_kept(budget: float) -> None:
    need = Need(int(budget), int(0.99 * budget))
    design = search.search(unet, need, unet.fit(PUBLISHED, need.budget))
    assert 0.97 <= design.parameters / budget <= 1


def test_the_papers_size_gives_the_papers_network() -> None:
    need = Need(31_100_000, 30_800_000, pins={"in_channels": 1, "num_classes": 2})
    design = search.search(unet, need, unet.fit(PUBLISHED, need.budget))
    assert design.dims == PAPER


def test_an_image_that_halves_less_often_gets_fewer_levels() -> None:
    pins = {"image_height": 500, "image_width": 348}  # 4 x 125 and 4 x 87
    need = Need(5_000_000, 4_900_000, pins=pins)
    design = search.search(unet, need, unet.fit(PUBLISHED, need.budget))
    assert design.dims["n_levels"] == 3


def test_images_to_masks_are_routed_here() -> None:
    key = load(SPEC).key
    assert families.route(key) == "segmentation_unet"
    assert unet.fixed(key) == {"image_height": 256, "image_width": 224, "num_classes": 3}
