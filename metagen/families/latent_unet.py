"""The text-conditioned diffusion model: the latent U-Net of SDXL (arXiv:2307.01952)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from metagen.families import diffusion_shape as shape
from metagen.families.family import Benchmark, Dims, Key, Rule, Value, Words
from metagen.families.latent_unet_load import (
    count,
    explained,
    figures,
    load,
)
from metagen.families.latent_unet_shape import VOCABULARY, axes, cost, fit, reasons
from metagen.families.single import context, input_length, lengths, training_length
from metagen.tasks import image_diffusion

__all__ = [
    "axes",
    "context",
    "cost",
    "count",
    "explained",
    "figures",
    "fit",
    "input_length",
    "lengths",
    "load",
    "reasons",
    "training_length",
]

name = "latent_unet"
published = "families/latent_unet.csv"
task_folder = image_diffusion.FOLDER
component_types = frozenset(
    {"unet", "unet_2d_condition", "text_encoder", "cross_attention", "transformer", "patchify"}
)
dims: Mapping[str, type] = {
    "image_height": int,
    "image_width": int,
    "image_channels": int,
    "patch_size": int,
    "base_channels": int,
    "n_levels": int,
    "blocks_per_level": int,
    "upper_layers": int,
    "lowest_layers": int,
    "head_dim": int,
    "embedding_dim": int,
    "norm_groups": int,
    "text_length": int,
    "text_width": int,
    "text_layers": int,
    "text_heads": int,
    "vocab_size": int,
}
formats: Mapping[str, type] = {"sampling_steps": int}
context_dim = None
rules = (
    *shape.rules("patch_size"),
    shape.multiple("base_channels", "norm_groups"),
    shape.multiple("text_width", "text_heads"),
    Rule(
        ("base_channels", "head_dim"),
        lambda m: 2 * m["base_channels"] % m["head_dim"] == 0,
        "heads share the widths from the second level on, so 2 * base_channels must be a multiple "
        "of head_dim",
    ),
)
embedding_modules = ()
config_keys = image_diffusion.CONFIG_KEYS
optimizer = image_diffusion.OPTIMIZER
runtime = image_diffusion.RUNTIME
benchmark = Benchmark("digits by caption", image_diffusion.BENCH_STEPS, image_diffusion.PACKAGES)
words = Words(
    kind="text-conditioned diffusion model of images",
    pipeline_tag="text-to-image",
    unit="image",
    loss_unit="squared error a pixel",
    usage="--prompt three",
    does="draws images of a caption",
    data="small handwritten digits, with their names as captions",
    outcome="Digits that the proxy has not seen, and digits that it drew, by caption.",
    risks="bias, offensive images, memorisation of images of people, and robustness",
)
loss_level = None
work_unit = "img"
training_unit = "images"
training_flops = None
optimal_units = None

PROXY: dict[str, Value] = {
    "image_height": 8,
    "image_width": 8,
    "image_channels": 1,
    "patch_size": 1,
    "base_channels": 16,
    "n_levels": 2,
    "blocks_per_level": 1,
    "upper_layers": 1,
    "lowest_layers": 1,
    "head_dim": 16,
    "embedding_dim": 64,
    "norm_groups": 8,
    "text_length": 8,
    "text_width": 32,
    "text_layers": 1,
    "text_heads": 2,
    "vocab_size": VOCABULARY,
}


def model_template(m: Dims) -> str:
    """Return the U-Net with its text encoder."""
    return "templates/families/latent_unet/model.py"


def fixed(key: Key) -> dict[str, Value]:
    """Return the size of an image and of a patch, where they are declared."""
    patch = key("constraints.patch_size")
    return {**shape.image_dims(key), **({"patch_size": patch[0]} if patch else {})}


def proxy(m: Dims) -> dict[str, Value]:
    """Return a model of 8 x 8 grey pixels of the same build, with about 0.3 million parameters.

    So few pixels are their own latents: squares of one.
    """
    return dict(PROXY)


def sections(m: Dims, key: Key, *, reduced: bool) -> dict[str, dict[str, Any]]:
    """Return the settings of the image diffusion task's files for a model of this size."""
    return image_diffusion.sections(m, key, "cosine", reduced=reduced)


def setting_reasons(full: Mapping[str, Any], parameters: int, key: Key) -> dict[str, str]:
    """Return why the full model's other settings are so."""
    return image_diffusion.reasons(full, key)


def variants(m: Dims) -> Iterable[tuple[str, dict[str, Value]]]:
    """Return single changes to latents, depth and text encoder."""
    changes: tuple[tuple[str, str, Value], ...] = (
        ("latents of twice the side", "patch_size", 2 * m["patch_size"]),
        ("half the Transformer layers", "lowest_layers", max(1, int(m["lowest_layers"] // 2))),
        ("one Transformer layer at the upper levels", "upper_layers", 1),
        ("half the text encoder's layers", "text_layers", max(1, int(m["text_layers"] // 2))),
    )
    return [(label, {each: value}) for label, each, value in changes if m[each] != value]


def example(m: Dims, length: int) -> list[dict[str, Any]]:
    """Return the shapes of some noisy images, their noise levels and their captions."""
    size = [length, m["image_channels"], m["image_height"], m["image_width"]]
    return [
        {"shape": size, "dtype": "float32"},
        {"shape": [length], "dtype": "int64"},
        {"shape": [length, m["text_length"]], "dtype": "int64"},
    ]
