"""Both diffusion models: published counts, routes, and diffusers' outputs."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest
import torch
from helpers.diffusion_settings import FAMILIES, LARGE, LATENTS, PIXELS, SCRIPTS, SMALL
from helpers.family_code import modules_of, write_code
from torch import nn

from metagen import families, paths
from metagen.families import parts
from metagen.families.demand import Need
from metagen.families.diffusion import two_layers
from metagen.families.latent_unet import FAMILY as latent_unet
from metagen.families.trend import rows
from metagen.families.unet_diffusion import FAMILY as unet_diffusion
from metagen.sizing import search
from metagen.spec import load

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


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, ModuleType]:
    """The module model.py of each family."""
    found = {}
    for name, (family, model) in FAMILIES.items():
        folder = write_code(tmp_path_factory.mktemp(name), family, {"model": model, **SCRIPTS})
        with modules_of(folder) as modules:
            found[name] = modules["model"]
    return found


def test_published_dimensions_give_the_published_counts() -> None:
    table = {row["model"]: int(row["params_exact"]) for row in rows(PUBLISHED)}
    classes = 11 * 512  # DDPM has no classes.
    assert unet_diffusion.count(DDPM) - classes == table["DDPM CIFAR-10"] == 35_746_307
    table = {row["model"]: int(row["params_exact"]) for row in rows(LATENT)}
    # SDXL's embedding also sees the size and the crop: 2,816 numbers.
    ours = latent_unet.count(SDXL) - parts.count(latent_unet.condition(SDXL))
    assert ours + parts.count(two_layers(2816, 1280)) == table["SDXL base"] == 2_567_463_684


def test_fewer_sampling_steps_meet_a_limit_on_time() -> None:
    need = Need(60_000_000, 59_400_000)
    trend = unet_diffusion.fit(PUBLISHED, need.budget)
    plain = search.search(unet_diffusion, need, trend)
    assert plain.formats == {"sampling_steps": 50}
    assert plain.demand.passes == 100


def test_images_and_texts_are_routed_here() -> None:
    small, large = load(SMALL).key, load(LARGE).key
    assert families.route(small) == "unet_diffusion"
    assert families.route(large) == "latent_unet"
    assert unet_diffusion.fixed(small) == {
        "image_height": 64, "image_width": 64, "num_classes": 10,
    }  # fmt: skip


def test_an_unknown_class_is_refused(models: dict[str, ModuleType]) -> None:
    module = models["unet_diffusion"]
    config = module.Config(**PIXELS)
    assert module.conditions(config, ["cat", ""], ["dog", "cat"]).tolist() == [1, 10]
    with pytest.raises(ValueError, match="'cow' is no class: there are dog, cat"):
        module.conditions(config, ["cow"], ["dog", "cat"])
    with pytest.raises(ValueError, match="11 classes are more than the 10"):
        module.conditions(config, [], list("abcdefghijk"))


def random_weights(module: nn.Module) -> None:
    """Draw all weights, those that start at zero too."""
    torch.manual_seed(0)
    for weight in module.parameters():
        nn.init.normal_(weight, std=0.2)


INNER = {
    "to_out.": "to_out.0.",
    ".layers.": ".transformer_blocks.",
    ".ff_in.": ".ff.net.0.proj.",
    ".ff_out.": ".ff.net.2.",
}


def prefixes(levels: int, blocks: int) -> Iterator[tuple[str, str]]:
    """Yield the beginnings of our names, each with what diffusers calls it."""
    parts = {"resnet": "resnets", "attention": "attentions"}
    place = itertools.count()
    for level in range(levels):
        for index in range(blocks):
            ours = f"down_blocks.{next(place)}"
            yield from (
                (f"{ours}.{p}.", f"down_blocks.{level}.{q}.{index}.") for p, q in parts.items()
            )
        if level < levels - 1:
            yield f"down_blocks.{next(place)}.", f"down_blocks.{level}.downsamplers.0.conv."
    place = itertools.count()
    for level in range(levels):
        for index in range(blocks + 1):
            ours = f"up_blocks.{next(place)}"
            yield f"{ours}.upsample.", f"up_blocks.{level}.upsamplers.0.conv."
            yield from (
                (f"{ours}.{p}.", f"up_blocks.{level}.{q}.{index}.") for p, q in parts.items()
            )
    for ours in ("resnet_1", "0.resnet"):
        yield f"middle.{ours}.", "mid_block.resnets.0."
    for ours in ("resnet_2", "1.resnet"):
        yield f"middle.{ours}.", "mid_block.resnets.1."
    for ours in ("attention", "0.attention"):
        yield f"middle.{ours}.", "mid_block.attentions.0."
    yield "norm_out.", "conv_norm_out."
    for ours, theirs in (
        ("time_embedding", "time_embedding"),
        ("text_embedding", "class_embedding"),
    ):
        yield f"{ours}.0.", f"{theirs}.linear_1."
        yield f"{ours}.2.", f"{theirs}.linear_2."


def in_diffusers_names(model: nn.Module, levels: int, blocks: int) -> dict[str, torch.Tensor]:
    """Return our weights, but for the text encoder's, by the names of diffusers."""
    known, found = dict(prefixes(levels, blocks)), {}
    for name, weight in model.state_dict().items():
        start = next((each for each in known if name.startswith(each)), "")
        renamed = known.get(start, "") + name.removeprefix(start)
        for ours, theirs in INNER.items():
            renamed = renamed.replace(ours, theirs)
        if not name.startswith("text_encoder."):
            found[renamed] = weight
    return found


def test_the_pixel_u_net_is_that_of_diffusers(models: dict[str, ModuleType]) -> None:
    diffusers = pytest.importorskip("diffusers")
    sizes = {**PIXELS, "n_levels": 3, "image_channels": 3, "image_width": 16, "embedding_dim": 32}
    model = models["unet_diffusion"].Model(models["unet_diffusion"].Config(**sizes)).eval()
    random_weights(model)
    levels = ("DownBlock2D", "AttnDownBlock2D", "DownBlock2D")
    theirs = diffusers.UNet2DModel(
        in_channels=3, out_channels=3, layers_per_block=1, block_out_channels=(8, 16, 16),
        down_block_types=levels, up_block_types=("UpBlock2D", "AttnUpBlock2D", "UpBlock2D"),
        attention_head_dim=None, norm_num_groups=4, num_class_embeds=11, freq_shift=0,
    ).eval()  # fmt: skip
    theirs.load_state_dict(in_diffusers_names(model, 3, 1))
    x, t, told = torch.randn(2, 3, 8, 16), torch.tensor([3, 700]), torch.tensor([1, 10])
    with torch.no_grad():
        wanted = theirs(x, t, class_labels=told).sample
        torch.testing.assert_close(model(x, t, told), wanted, atol=1e-4, rtol=1e-4)


def test_the_latent_u_net_is_that_of_diffusers(models: dict[str, ModuleType]) -> None:
    diffusers, module = pytest.importorskip("diffusers"), models["latent_unet"]
    sizes = {**LATENTS, "n_levels": 3, "upper_layers": 2, "lowest_layers": 3, "image_width": 16}
    sizes |= {"embedding_dim": 32, "blocks_per_level": 2}
    model = module.Model(module.Config(**sizes)).eval()
    random_weights(model)
    levels = ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D")
    theirs = diffusers.UNet2DConditionModel(
        in_channels=4, out_channels=4, layers_per_block=2, block_out_channels=(8, 16, 32),
        down_block_types=levels,
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        transformer_layers_per_block=[1, 2, 3], attention_head_dim=[2, 4, 8],
        cross_attention_dim=8, use_linear_projection=True, norm_num_groups=4,
        class_embed_type="projection", projection_class_embeddings_input_dim=8,
    ).eval()  # fmt: skip
    theirs.load_state_dict(in_diffusers_names(model, 3, 2))
    x, t = torch.randn(2, 1, 8, 16), torch.tensor([3, 700])
    told = module.conditions(model.config, ["a cat", ""], [])
    with torch.no_grad():
        text = model.text_encoder(told)
        latents = nn.functional.pixel_unshuffle(x, 2)
        noise = theirs(latents, t, text, class_labels=text.mean(1)).sample
        wanted = nn.functional.pixel_shuffle(noise, 2)
        torch.testing.assert_close(model(x, t, told), wanted, atol=1e-4, rtol=1e-4)
