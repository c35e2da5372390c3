"""CLIP: an image tower and a text tower in one space (Radford et al., 2021, arXiv:2103.00020)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from metagen.errors import Problem, SpecError
from metagen.families.clip_load import count, explained, load, patches, tower
from metagen.families.clip_shape import axes, cost, fit, reasons
from metagen.families.family import Dims, Key, Rule, Value, Words
from metagen.families.single import context, input_length, lengths, training_length
from metagen.tasks import image_text_contrast

__all__ = [
    "axes",
    "context",
    "cost",
    "count",
    "explained",
    "fit",
    "input_length",
    "lengths",
    "load",
    "reasons",
    "training_length",
]

name = "clip"
published = "families/clip.csv"
task_folder = "templates/tasks/image_text_contrast"
component_types = frozenset(
    {"vision_transformer", "vit", "image_encoder", "vision_encoder", "text_encoder"}
    | {"transformer_encoder", "text_transformer", "projection", "projection_head"}
)
dims: Mapping[str, type] = {
    "embed_dim": int,
    "in_channels": int,
    "image_size": int,
    "patch_size": int,
    "vision_d_model": int,
    "vision_n_layers": int,
    "vision_n_heads": int,
    "vision_d_ff": int,
    "text_d_model": int,
    "text_n_layers": int,
    "text_n_heads": int,
    "text_d_ff": int,
    "vocab_size": int,
    "max_seq_len": int,
    "norm_eps": float,
}
formats: Mapping[str, type] = {}
context_dim = None
SHARED = "the heads of a tower share its width, so it must be a multiple of their number"
rules = (
    Rule(
        ("image_size", "patch_size"),
        lambda m: m["image_size"] % m["patch_size"] == 0,
        "an image is cut into whole patches, so image_size must be a multiple of patch_size",
    ),
    Rule(
        ("vision_d_model", "vision_n_heads"),
        lambda m: m["vision_d_model"] % m["vision_n_heads"] == 0,
        SHARED,
    ),
    Rule(
        ("text_d_model", "text_n_heads"),
        lambda m: m["text_d_model"] % m["text_n_heads"] == 0,
        SHARED,
    ),
)
embedding_modules: tuple[str, ...] = ()
config_keys = image_text_contrast.CONFIG_KEYS
optimizer = image_text_contrast.OPTIMIZER
runtime = image_text_contrast.RUNTIME
benchmark = image_text_contrast.BENCHMARK
words = Words(
    kind="CLIP model of images and texts",
    pipeline_tag="zero-shot-image-classification",
    unit="pair",
    loss_unit="nat/pair",
    usage='--prompt "greek small letter omega"',
    does="finds the images that belong to a text, or with --input the texts of an image",
    data="glyphs of a font and their Unicode names",
    outcome="How often a right answer is among the first k, beside the baselines.",
    risks="bias, harmful associations of texts with images of people, and robustness",
)
loss_level = None
setting_reasons = image_text_contrast.reasons
work_unit = "img"
training_unit = "pairs"
training_flops = None
optimal_units = None

PROXY = {
    "embed_dim": 64,
    "in_channels": 1,
    "image_size": 32,
    "patch_size": 8,
    "vision_d_model": 96,
    "vision_n_layers": 3,
    "vision_n_heads": 3,
    "vision_d_ff": 384,
    "text_d_model": 64,
    "text_n_layers": 2,
    "text_n_heads": 2,
    "text_d_ff": 256,
    "vocab_size": 768,
    "max_seq_len": 32,
}


def model_template(m: Dims) -> str:
    """Return the one CLIP."""
    return "templates/families/clip/model.py"


def fixed(key: Key) -> dict[str, Value]:
    """Return the image's and a patch's side and the common space, where they are declared.

    Raises:
        SpecError: An image or a patch is not square.
    """
    found: dict[str, Value] = {}
    for dim in ("image_size", "patch_size"):
        if size := key(f"constraints.{dim}"):
            if size[0] != size[1]:
                sentence = f"found {size[0]} x {size[1]} pixels, and CLIP's are squares"
                raise SpecError([Problem(sentence, f"constraints.{dim}", "declare one side")])
            found[dim] = size[0]
    if space := key("task.embedding_dim"):
        found["embed_dim"] = space
    return found


def proxy(m: Dims) -> dict[str, Value]:
    """Return two small towers for glyphs, one of images of 32 x 32 pixels and one of names."""
    return {**m, **PROXY}


def variants(m: Dims) -> Iterable[tuple[str, dict[str, Value]]]:
    """Return single changes to patches, depth and the common space."""
    finer = m["image_size"] // (2 * (m["image_size"] // m["patch_size"]))
    changes: tuple[tuple[str, str, Value], ...] = (
        ("patches of half the side", "patch_size", max(1, int(finer))),
        ("half the depth of the image tower", "vision_n_layers", int(m["vision_n_layers"] // 2)),
        ("half the depth of the text tower", "text_n_layers", int(m["text_n_layers"] // 2)),
        ("a common space of half the dimensions", "embed_dim", int(m["embed_dim"] // 2)),
    )
    return [
        (label, {each: value})
        for label, each, value in changes
        if m[each] != value and not any(r.broken({**m, each: value}) for r in rules)
    ]


def example(m: Dims, length: int) -> list[dict[str, Any]]:
    """Return the shapes of so many images and texts."""
    side = int(m["image_size"])
    return [
        {"shape": [length, int(m["in_channels"]), side, side], "dtype": "float32"},
        {"shape": [length, int(m["max_seq_len"])], "dtype": "int64"},
    ]


def sections(m: Dims, key: Key, *, reduced: bool) -> dict[str, dict[str, Any]]:
    """Return the settings of the task's files for a model of this size."""
    return image_text_contrast.sections(m, key, reduced=reduced)


def figures(m: Dims) -> dict[str, tuple[Value | str, str]]:
    """Return the parts of the two towers and the pieces that an image is cut into."""
    image, text = tower(m, "vision"), tower(m, "text")
    return {
        "patches": (patches(m), "patches"),
        "image_blocks": (image.blocks, "parameters"),
        "text_blocks": (text.blocks, "parameters"),
    }
