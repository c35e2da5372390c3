"""The class-conditional diffusion model of pixels: the U-Net of DDPM (arXiv:2006.11239)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from metagen.families import diffusion_shape as shape
from metagen.families.family import Axis, Benchmark, Dims, Key, Load, Need, Rule, Value, Words
from metagen.families.grid import floor_power
from metagen.families.single import context, input_length, lengths, training_length
from metagen.families.trend import Trend
from metagen.families.unet import Attention, UNet
from metagen.tasks import image_diffusion

__all__ = [
    "context",
    "input_length",
    "lengths",
    "training_length",
]

name = "unet_diffusion"
published = "families/unet_diffusion.csv"
task_folder = image_diffusion.FOLDER
component_types = frozenset(
    {"unet", "unet_2d", "residual_block", "attention", "time_embedding", "class_embedding"}
)
dims: Mapping[str, type] = {
    "image_height": int,
    "image_width": int,
    "image_channels": int,
    "num_classes": int,
    "base_channels": int,
    "n_levels": int,
    "max_multiplier": int,
    "blocks_per_level": int,
    "attention_level": int,
    "embedding_dim": int,
    "norm_groups": int,
    "dropout": float,
}
formats: Mapping[str, type] = {"sampling_steps": int}
context_dim = None
rules = (
    *shape.rules(),
    shape.multiple("base_channels", "norm_groups"),
    Rule(
        ("attention_level", "n_levels"),
        lambda m: m["attention_level"] < m["n_levels"],
        "levels are counted from 0, so attention_level is below n_levels",
    ),
)
embedding_modules = ()
config_keys = image_diffusion.CONFIG_KEYS
optimizer = image_diffusion.OPTIMIZER
runtime = image_diffusion.RUNTIME
benchmark = Benchmark("digits by class", image_diffusion.BENCH_STEPS, image_diffusion.PACKAGES)
words = Words(
    kind="class-conditional diffusion model of images",
    pipeline_tag="unconditional-image-generation",
    unit="image",
    loss_unit="squared error a pixel",
    usage="--prompt three",
    does="draws images of a class",
    data="small handwritten digits",
    outcome="Digits that the proxy has not seen, and digits that it drew, by class.",
    risks="bias, offensive images, memorisation of images of people, and robustness",
)
loss_level = None
work_unit = "img"
training_unit = "images"
training_flops = None
optimal_units = None

CLASSES = 1000  # of ImageNet, where none are declared
SIZE = 64  # rows of an image, where none are declared
GROUPS = (32, 16, 8, 4, 2)
DROPOUT = 0.1  # of DDPM on CIFAR-10
ATTENTION_ROWS = 16  # of the feature maps that attend in DDPM
MULTIPLIERS = (2, 4)  # of DDPM at 32 and at 256 pixels
BLOCKS = (1, 2, 3, 4)
PROXY: dict[str, Value] = {
    "image_height": 8,
    "image_width": 8,
    "image_channels": 1,
    "num_classes": 10,
    "base_channels": 16,
    "n_levels": 2,
    "max_multiplier": 2,
    "blocks_per_level": 1,
    "attention_level": 1,
    "embedding_dim": 64,
    "norm_groups": 8,
    "dropout": 0.0,
}


def model_template(m: Dims) -> str:
    """Return the U-Net."""
    return "templates/families/unet_diffusion/model.py"


def fit(published: bytes, parameters: int) -> Trend:
    """Fit the trend of published diffusion models of pixels."""
    return shape.fit(published, parameters)


def fixed(key: Key) -> dict[str, Value]:
    """Return the size of an image and the number of classes, where they are declared."""
    classes = key("task.num_classes")
    return {**shape.image_dims(key), **({"num_classes": classes} if classes else {})}


def axes(need: Need, trend: Trend) -> tuple[Axis, ...]:
    """Return the search space: widths and blocks near the trend; the embedding fills the budget."""
    return (
        *shape.image_axes(SIZE),
        Axis("num_classes", lambda m: (CLASSES,)),
        shape.width_axis(trend, need.budget, _step, _plain),
        Axis("n_levels", lambda m: (_levels(m),)),
        Axis("max_multiplier", lambda m: MULTIPLIERS, grid=True),
        Axis("blocks_per_level", lambda m: BLOCKS, grid=True),
        Axis("attention_level", lambda m: (_attention_level(m),)),
        Axis("norm_groups", lambda m: (_groups(m),)),
        Axis("dropout", lambda m: (DROPOUT,)),
        shape.embedding_axis(count, need.budget),
        shape.steps_axis(),
    )


def _plain(m: Dims, width: int) -> int:
    """Return the parameters of DDPM's U-Net of a first width for these images and classes."""
    sizes = {**m, "base_channels": width, "max_multiplier": 2, "blocks_per_level": 2}
    embedding = shape.EMBEDDING * width
    levels = {"n_levels": _levels(m), "attention_level": 1, "embedding_dim": embedding}
    return count({**sizes, **levels})


def _step(m: Dims, fitting: float) -> int:
    """Return what widths are a multiple of: an eighth of a narrow one, and even for the waves."""
    return max(2, min(shape.STEP, floor_power(fitting) // shape.STEP))


def _levels(m: Dims) -> int:
    """Return the levels down to about eight rows, or four for an image of at most 32."""
    side = int(min(m["image_height"], m["image_width"]))
    smallest = 8 if side > 32 else 4
    return max(1, 1 + int(math.log2(max(1, side / smallest))))


def _attention_level(m: Dims) -> int:
    """Return the level of about sixteen rows, or the last."""
    level = round(math.log2(max(1, m["image_height"] / ATTENTION_ROWS)))
    return min(level, int(m["n_levels"]) - 1)


def _groups(m: Dims) -> int:
    return next((g for g in GROUPS if m["base_channels"] % g == 0), 1)


def widths(m: Dims) -> tuple[int, ...]:
    """Return the channels of each level."""
    levels = range(int(m["n_levels"]))
    return tuple(int(m["base_channels"] * min(2**n, m["max_multiplier"])) for n in levels)


def net(m: Dims) -> UNet:
    """Return the U-Net of the dimensions."""
    one_head = Attention(
        tuple(int(level == m["attention_level"]) for level in range(int(m["n_levels"]))),
        1,
        lambda c, layers: 2 * c + 4 * (c * c + c),
        lambda c, pixels, layers: 2 * pixels * 4 * c * c + 4 * c * pixels * pixels,
    )
    return UNet(
        widths=widths(m),
        blocks=int(m["blocks_per_level"]),
        embedding=int(m["embedding_dim"]),
        channels=int(m["image_channels"]),
        size=(int(m["image_height"]), int(m["image_width"])),
        attention=one_head,
    )


def count(m: Dims) -> int:
    """Return the parameters: the U-Net, and a row a class and one for none."""
    return net(m).count() + int((m["num_classes"] + 1) * m["embedding_dim"])


def cost(m: Dims, trend: Trend) -> float:
    """Return the distance from the published trend; 1 is one usual deviation."""
    return shape.distance(m, count(m), widths(m)[-1], trend)


def load(m: Dims) -> Load:
    """Return what drawing one image takes."""
    return shape.load(m, count(m), net(m), net(m).flops())


def explained(m: Dims, parameters: int) -> dict[str, str]:
    """Return the arithmetic of weights and activations."""
    return shape.explained(parameters, net(m))


def reasons(m: Dims, need: Need, trend: Trend) -> dict[str, str]:
    """Return why each dimension has its value, with the figures that decided it."""
    rows = int(m["image_height"]) >> int(m["n_levels"] - 1)
    at = int(m["image_height"]) >> int(m["attention_level"])
    return {
        **shape.image_reasons(need, SIZE),
        "num_classes": shape.declared(need, "num_classes", f"no task.num_classes: {CLASSES:,}"),
        **shape.shape_reasons(m, count(m), widths(m)[-1], trend),
        "n_levels": f"halvings down to {rows} rows, as DDPM has 8 of 256 and 4 of 32",
        "max_multiplier": f"{max(widths(m)):,} channels at the lowest level; {MULTIPLIERS[0]} and "
        f"{MULTIPLIERS[1]} are those of DDPM",
        "attention_level": f"the level of {at} rows; DDPM attends at {ATTENTION_ROWS}",
        "norm_groups": f"the largest of {', '.join(map(str, (*GROUPS, 1)))} that divides "
        "base_channels",
        "dropout": "of DDPM on CIFAR-10",
    }


def proxy(m: Dims) -> dict[str, Value]:
    """Return a model of 8 x 8 grey pixels of the same build, with about 0.2 million parameters."""
    return dict(PROXY)


def sections(m: Dims, key: Key, *, reduced: bool) -> dict[str, dict[str, Any]]:
    """Return the settings of the image diffusion task's files for a model of this size."""
    return image_diffusion.sections(m, key, "cosine", reduced=reduced)


def setting_reasons(full: Mapping[str, Any], parameters: int, key: Key) -> dict[str, str]:
    """Return why the full model's other settings are so."""
    return image_diffusion.reasons(full, key)


def variants(m: Dims) -> Iterable[tuple[str, dict[str, Value]]]:
    """Return single changes to attention, width, depth and dropout."""
    changes: tuple[tuple[str, str, Value], ...] = (
        ("attention at the lowest level instead", "attention_level", m["n_levels"] - 1),
        ("widths that double once", "max_multiplier", 2),
        ("one block a level", "blocks_per_level", 1),
        ("no dropout", "dropout", 0.0),
    )
    return [(label, {each: value}) for label, each, value in changes if m[each] != value]


def example(m: Dims, length: int) -> list[dict[str, Any]]:
    """Return the shapes of some noisy images, their noise levels and their classes."""
    size = [length, m["image_channels"], m["image_height"], m["image_width"]]
    return [
        {"shape": size, "dtype": "float32"},
        {"shape": [length], "dtype": "int64"},
        {"shape": [length], "dtype": "int64"},
    ]


def figures(m: Dims) -> dict[str, tuple[Value | str, str]]:
    """Return facts of the documents: the widths of the levels."""
    return {
        "widths": (", ".join(f"{width:,}" for width in widths(m)), ""),
        "sampling_steps": (int(m["sampling_steps"]), ""),
    }
