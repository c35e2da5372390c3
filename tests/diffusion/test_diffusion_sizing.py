"""Both diffusion models: published counts, exact operations, budgets, and what a spec asks for."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest
import torch
from diffusion_settings import FAMILIES, LARGE, SMALL
from published import published

from metagen import families, paths
from metagen.errors import SpecError
from metagen.families import latent_unet, latent_unet_load, unet_diffusion
from metagen.families.family import Need
from metagen.families.trend import rows
from metagen.families.unet import two_layers
from metagen.measure.probe_worker import _by_torch
from metagen.sizing import search
from metagen.spec import load
from metagen.tasks import image_diffusion

PUBLISHED = paths.source("families/unet_diffusion.csv").read_bytes()
LATENT = paths.source("families/latent_unet.csv").read_bytes()
# Of arXiv:2006.11239 on CIFAR-10, and of arXiv:2307.01952 with a text as wide as its two encoders.
DDPM: dict[str, Any] = {
    "image_height": 32,
    "image_width": 32,
    "image_channels": 3,
    "num_classes": 10,
    "base_channels": 128,
    "n_levels": 4,
    "max_multiplier": 2,
    "blocks_per_level": 2,
    "attention_level": 1,
    "embedding_dim": 512,
    "norm_groups": 32,
    "dropout": 0.1,
}
SDXL: dict[str, Any] = {
    "image_height": 256,
    "image_width": 256,
    "image_channels": 1,
    "patch_size": 2,
    "base_channels": 320,
    "n_levels": 3,
    "blocks_per_level": 2,
    "upper_layers": 2,
    "lowest_layers": 10,
    "head_dim": 64,
    "embedding_dim": 1280,
    "norm_groups": 32,
    "text_length": 77,
    "text_width": 2048,
    "text_layers": 1,
    "text_heads": 32,
    "vocab_size": 257,
}


def test_published_dimensions_give_the_published_counts() -> None:
    table = {row["model"]: int(row["params_exact"]) for row in rows(PUBLISHED)}
    classes = 11 * 512  # which DDPM has none of
    assert unet_diffusion.count(DDPM) - classes == table["DDPM CIFAR-10"] == 35_746_307
    table = {row["model"]: int(row["params_exact"]) for row in rows(LATENT)}
    # SDXL's embedding also sees the size and the crop: 2,816 numbers.
    found = latent_unet_load.net(SDXL).count() + two_layers(2816, 1280)
    assert found == table["SDXL base"] == 2_567_463_684


CHANGES = {
    "unet_diffusion": [
        {},
        {"n_levels": 3, "attention_level": 0, "max_multiplier": 4, "blocks_per_level": 2},
        {"image_channels": 3, "num_classes": 7, "image_height": 16},
        DDPM,
    ],
    "latent_unet": [
        {},
        {"n_levels": 3, "upper_layers": 2, "lowest_layers": 3},
        {"image_channels": 3, "patch_size": 1, "text_layers": 3, "text_length": 20},
        SDXL,
    ],
}


@pytest.mark.parametrize(
    ("name", "change"), [(name, each) for name, every in CHANGES.items() for each in every]
)
def test_counts_and_operations_are_those_of_the_code(
    models: dict[str, ModuleType], name: str, change: dict[str, Any]
) -> None:
    family, sizes = FAMILIES[name]
    sizes = {**sizes, **change}
    with torch.device("meta"):
        model = models[name].Model(models[name].Config(**sizes)).eval()
        inputs = [
            torch.empty(each["shape"], dtype=getattr(torch, each["dtype"]))
            for each in family.example(sizes, 1)
        ]
    assert model.num_params() == family.count(sizes)
    load = family.load({**sizes, "sampling_steps": 1})
    assert sum(_by_torch(model, tuple(inputs)).values()) == load.first.flops / load.passes


@pytest.mark.parametrize(
    ("family", "budget"),
    [
        *((unet_diffusion, b) for b in (1e6, 10e6, 35.7e6, 114e6, 300e6, 1e9)),
        *((latent_unet, b) for b in (100e6, 860e6, 2.6e9, 6e9, 12e9)),
    ],
)
def test_a_budget_is_filled_and_kept(family: Any, budget: float) -> None:
    need = Need(int(budget), int(0.99 * budget))
    design = search.search(family, need, family.fit(published(family), need.budget))
    assert 0.97 <= design.parameters / budget <= 1
    assert not any(rule.broken(design.everything) for rule in family.rules)


def test_fewer_sampling_steps_meet_a_limit_on_time() -> None:
    need = Need(60_000_000, 59_400_000)
    trend = unet_diffusion.fit(PUBLISHED, need.budget)
    plain = search.search(unet_diffusion, need, trend)
    assert plain.formats == {"sampling_steps": 50}
    assert plain.load.passes == 100


def test_images_and_texts_are_routed_here() -> None:
    small, large = load(SMALL).key, load(LARGE).key
    assert families.route(small) == "unet_diffusion"
    assert families.route(large) == "latent_unet"
    assert unet_diffusion.fixed(small) == {
        "image_height": 64, "image_width": 64, "num_classes": 10,
    }  # fmt: skip


def test_a_noise_schedule_that_the_code_lacks_is_an_error() -> None:
    key = {"training.config.noise_schedule": "sigmoid"}.get
    with pytest.raises(SpecError, match="'sigmoid', allowed are cosine and linear"):
        image_diffusion.schedule(key, "cosine")
