"""The Vision Transformer as an image classifier (arXiv:2010.11929): dimensions and counts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from metagen.families.family import Dims, Key, Rule, Value, Words
from metagen.families.grid import closest, divisors, granule
from metagen.families.single import context, input_length, lengths, training_length
from metagen.families.vit_load import count, explained, figures, load
from metagen.families.vit_shape import axes, cost, fit, reasons
from metagen.tasks import image_classification as task

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

name = "vit"
published = "families/vit.csv"
task_folder = "templates/tasks/image_classification"
component_types = frozenset(
    {
        "transformer_encoder",
        "encoder",
        "vision_transformer",
        "vit",
        "patch_embedding",
        "class_token",
        "position_embedding",
        "classifier",
        "mlp_head",
    }
)
dims: Mapping[str, type] = {
    "image_height": int,
    "image_width": int,
    "patch_size": int,
    "num_channels": int,
    "num_classes": int,
    "d_model": int,
    "n_layers": int,
    "n_heads": int,
    "d_ff": int,
    "norm_eps": float,
}
formats: Mapping[str, type] = {}
context_dim = None
rules = (
    Rule(
        ("d_model", "n_heads"),
        lambda m: m["d_model"] % m["n_heads"] == 0,
        "the heads share the width evenly, so d_model must be a multiple of n_heads",
    ),
    Rule(
        ("image_height", "patch_size"),
        lambda m: m["image_height"] % m["patch_size"] == 0,
        "patches cut an image without a rest, so image_height must be a multiple of patch_size",
    ),
    Rule(
        ("image_width", "patch_size"),
        lambda m: m["image_width"] % m["patch_size"] == 0,
        "patches cut an image without a rest, so image_width must be a multiple of patch_size",
    ),
)
embedding_modules = ()
config_keys = task.CONFIG_KEYS
optimizer = task.OPTIMIZER
runtime = task.RUNTIME
benchmark = task.BENCHMARK
words = Words(
    kind="Vision Transformer for image classification",
    pipeline_tag="image-classification",
    unit="image",
    loss_unit="nat/image",
    usage="--input photo.jpg",
    does="labels an image",
    data=task.DATA,
    outcome=task.OUTCOME,
    risks=task.RISKS,
)
loss_level = None
setting_reasons = task.reasons
work_unit = "img"
training_unit = "images"
training_flops = None
optimal_units = None

PROXY = {**task.PROXY, "image_height": 16, "image_width": 16, "patch_size": 8}
PROXY_SHAPE = {"d_model": 64, "n_layers": 2}
PROXY_HEAD = 16  # dimensions of a head


def model_template(m: Dims) -> str:
    """Return the one source of a Vision Transformer."""
    return "templates/families/vit/model.py"


def fixed(key: Key) -> dict[str, Value]:
    """Return the size of image and patch and the number of classes, where a spec declares them."""
    patch = task.square(key, "constraints.patch_size")
    return task.fixed(key) | ({"patch_size": patch} if patch else {})


def proxy(m: Dims) -> dict[str, Value]:
    """Return a model of about a hundred thousand parameters for small grey images.

    It keeps the full model's feed-forward layer relative to its width.
    """
    width = PROXY_SHAPE["d_model"]
    step = granule(width)
    return {
        **{each: m[each] for each in dims},
        **PROXY,
        **PROXY_SHAPE,
        "n_heads": width // PROXY_HEAD,
        "d_ff": max(step, step * round(m["d_ff"] / m["d_model"] * width / step)),
    }


def variants(m: Dims) -> Iterable[tuple[str, dict[str, Value]]]:
    """Return single changes to patches, heads and shape."""
    step, patch = granule(m["d_model"]), int(m["patch_size"])
    coarse = m["image_height"] % (2 * patch) == m["image_width"] % (2 * patch) == 0
    heads = closest(divisors(int(m["d_model"])), m["n_heads"] / 2)
    changes: tuple[tuple[str, str, Value], ...] = (
        ("patches of twice the side", "patch_size", 2 * patch if coarse else patch),
        ("half the heads", "n_heads", heads),
        ("feed-forward layer of twice the width", "d_ff", step * round(2 * m["d_model"] / step)),
        ("half the depth", "n_layers", max(1, int(m["n_layers"] // 2))),
    )
    return [(label, {each: value}) for label, each, value in changes if m[each] != value]


def example(m: Dims, length: int) -> list[dict[str, Any]]:
    """Return the shape of a batch of images."""
    shape = [length, m["num_channels"], m["image_height"], m["image_width"]]
    return [{"shape": shape, "dtype": "float32"}]


def sections(m: Dims, key: Key, *, reduced: bool) -> dict[str, dict[str, Any]]:
    """Return the settings of the task's files for a model of this size."""
    return task.sections(m, key, reduced=reduced)
