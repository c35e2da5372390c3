"""The U-Net for semantic segmentation: dimensions, published shape and proxy.

Ronneberger et al., 2015, arXiv:1505.04597. Where the budget does not fit the doubling of channels
from level to level, the coarsest levels stop at `max_channels`, as in nnU-Net (arXiv:1809.10486).
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from metagen.families.family import Axis, Dims, Key, Need, Rule, Value, Words
from metagen.families.grid import floor_power
from metagen.families.segmentation_unet_load import count, explained, load, widths
from metagen.families.single import context, input_length, lengths, training_length
from metagen.families.trend import Trend, rows
from metagen.families.trend import fit as fit_line
from metagen.tasks import semantic_segmentation

__all__ = [
    "context",
    "count",
    "explained",
    "input_length",
    "lengths",
    "load",
    "training_length",
]

name = "segmentation_unet"
published = "families/segmentation_unet.csv"
task_folder = "templates/tasks/semantic_segmentation"
component_types = frozenset(
    {"encoder", "decoder", "unet", "unet_encoder", "unet_decoder", "skip_connection", "conv_block"}
    | {"segmentation_head"}
)
dims: Mapping[str, type] = {
    "in_channels": int,
    "num_classes": int,
    "base_channels": int,
    "max_channels": int,
    "n_levels": int,
    "image_height": int,
    "image_width": int,
}
formats: Mapping[str, type] = {}
context_dim = None
LEVELS = "each level halves the resolution, so image_height and image_width must be multiples of {}"
rules = tuple(
    Rule(
        (side, "n_levels"),
        lambda m, side=side: m[side] % 2 ** (m["n_levels"] - 1) == 0,  # type: ignore[misc]
        LEVELS.format("2 ** (n_levels - 1)"),
    )
    for side in ("image_height", "image_width")
)
embedding_modules: tuple[str, ...] = ()
config_keys = semantic_segmentation.CONFIG_KEYS
optimizer = semantic_segmentation.OPTIMIZER
runtime = semantic_segmentation.RUNTIME
benchmark = semantic_segmentation.BENCHMARK
words = Words(
    kind="U-Net for semantic segmentation",
    pipeline_tag="image-segmentation",
    unit="image",
    loss_unit="nat/pixel",
    usage="--input image.png",
    does="draws the class of each pixel over an image",
    data="slices of an average brain",
    outcome="Slices of the test split: the image, the true classes, and those the proxy finds.",
    risks="how results carry over to other scanners, cameras, places or people, and bias",
)
loss_level = None
setting_reasons = semantic_segmentation.reasons
work_unit = "img"
training_unit = "images"
training_flops = None
optimal_units = None

CHANNELS, CLASSES, SIDE = 3, 2, 512  # for a spec that declares none: colours, two classes
STEP = 8  # channels are multiples of it, or of less where that is more than a quarter
FINE_STEP = 4  # of the cap, by which the budget is filled, or at most an eighth
FEWEST_LEVELS = 2
GROWTH_SPREAD = 0.2  # of the widest level against the first; nearly all published are at 16
PROXY_BASE, PROXY_LEVELS = 16, 3


def model_template(m: Dims) -> str:
    """Return the one U-Net."""
    return "templates/families/segmentation_unet/model.py"


def fit(published: bytes, parameters: int) -> Trend:
    """Fit the published trend on the U-Nets of the family's rows.

    Its columns: `d_model` the channels of the first level, `ffn` those of the widest, `n_layers`
    the levels.
    """
    table = rows(published)
    sizes = [float(row["params_exact"]) for row in table]
    base = [float(row["d_model"]) for row in table]
    growth = [float(row["ffn"]) / float(row["d_model"]) for row in table]
    grown = fit_line(zip(sizes, growth, strict=True), parameters, level=True)
    lines = {
        "base_channels": fit_line(zip(sizes, base, strict=True), parameters),
        "growth": replace(grown, spread=max(grown.spread, GROWTH_SPREAD)),
    }
    return Trend(lines, {"n_levels": statistics.median(float(row["n_layers"]) for row in table)})


def fixed(key: Key) -> dict[str, Value]:
    """Return the size of an image and the classes, where they are declared."""
    found: dict[str, Value] = {}
    if size := key("constraints.image_size"):
        found |= {"image_height": size[0], "image_width": size[1]}
    if classes := key("task.num_classes"):
        found["num_classes"] = classes
    return found


def axes(need: Need, trend: Trend) -> tuple[Axis, ...]:
    """Return the search space: channels that can fill the budget, and a cap that does."""
    return (
        Axis("in_channels", lambda m: (CHANNELS,)),
        Axis("num_classes", lambda m: (CLASSES,)),
        Axis("image_height", lambda m: (SIDE,)),
        Axis("image_width", lambda m: (int(m["image_height"]),)),
        Axis("n_levels", lambda m: (_levels(m, trend),), grid=True),
        Axis("base_channels", lambda m: _bases(m, need.budget), grid=True),
        Axis("max_channels", lambda m: (_cap(m, need.budget),), fills=True),
    )


def _levels(m: Dims, trend: Trend) -> int:
    """Return the usual number of levels, or as many as the image can be halved for."""
    usual = int(trend.levels["n_levels"])
    halved = range(usual, FEWEST_LEVELS, -1)
    sides = (int(m["image_height"]), int(m["image_width"]))
    fitting = (n for n in halved if not any(side % 2 ** (n - 1) for side in sides))
    return next(fitting, FEWEST_LEVELS)


def _bases(m: Dims, parameters: int) -> list[int]:
    """Return the channels of the first level with which the budget can be filled.

    From the most that doubling on every level leaves room for, up to three halves of it.
    """
    doubled = 2 ** (int(m["n_levels"]) - 1)

    def size(base: int) -> int:
        return count({**m, "base_channels": base, "max_channels": base * doubled})

    most = 1
    while size(2 * most) <= parameters:
        most *= 2
    step = max(1, min(STEP, most // 4))
    least = most
    while size(least + step) <= parameters:
        least += step
    return list(range(least, max(3 * least // 2, least + 1) + step, step))


def _cap(m: Dims, parameters: int) -> int:
    """Return the largest cap, in fine steps, that keeps the count within the budget."""
    base, top = int(m["base_channels"]), int(m["base_channels"] * 2 ** (m["n_levels"] - 1))
    step = _fine_step(m)
    low, high = base // step, top // step
    while low < high:
        middle = (low + high + 1) // 2
        within = count({**m, "max_channels": middle * step}) <= parameters
        low, high = (middle, high) if within else (low, middle - 1)
    return low * step


def _fine_step(m: Dims) -> int:
    """Return what the cap is a multiple of."""
    return max(1, min(FINE_STEP, floor_power(m["base_channels"]) // 8))


def cost(m: Dims, trend: Trend) -> float:
    """Return the summed squared deviation from the trend; 1 is one usual deviation."""
    size, lines = count(m), trend.lines
    growth = m["max_channels"] / m["base_channels"]
    return lines["base_channels"].distance(size, m["base_channels"]) + lines["growth"].distance(
        size, growth
    )


def reasons(m: Dims, need: Need, trend: Trend) -> dict[str, str]:
    """Return why each dimension has its value, with the figures that decided it."""
    none = f"no constraints.image_size is declared: {SIDE} x {SIDE}"
    size_said = "constraints.image_size" if "image_height" in need.fixed else none
    classes = "task.num_classes" if "num_classes" in need.fixed else f"none declared: {CLASSES}"
    doubled = m["base_channels"] * 2 ** (m["n_levels"] - 1)
    capped = "every level doubles the channels" if m["max_channels"] == doubled else "the cap"
    return {
        "in_channels": "colours: red, green and blue",
        "num_classes": classes,
        "base_channels": trend.lines["base_channels"].said(count(m)),
        "max_channels": f"{capped}; channels go {', '.join(map(str, widths(m)))}, the most within "
        f"the parameter count in steps of {_fine_step(m)}",
        "n_levels": f"the median of published U-Nets is {trend.levels['n_levels']:g}; each halves "
        f"{m['image_height']} x {m['image_width']} pixels, evenly, once more than the one before",
        "image_height": size_said,
        "image_width": size_said,
    }


def proxy(m: Dims) -> dict[str, Value]:
    """Return a small U-Net for the bundled slices, with the full one's channels and classes."""
    return {
        **m,
        "num_classes": max(int(m["num_classes"]), semantic_segmentation.BUNDLED_CLASSES),
        "base_channels": PROXY_BASE,
        "max_channels": PROXY_BASE * 2 ** (PROXY_LEVELS - 1),
        "n_levels": PROXY_LEVELS,
        "image_height": semantic_segmentation.PROXY_SIZE[0],
        "image_width": semantic_segmentation.PROXY_SIZE[1],
    }


def variants(m: Dims) -> Iterable[tuple[str, dict[str, Value]]]:
    """Return single changes to width, growth and depth."""
    base, levels = int(m["base_channels"]), int(m["n_levels"])
    changes: tuple[tuple[str, str, Value], ...] = (
        ("half the channels of the first level", "base_channels", base // 2),
        ("channels that double on every level", "max_channels", base * 2 ** (levels - 1)),
        ("channels that stop after three doublings", "max_channels", base * 2**3),
        ("one level fewer", "n_levels", levels - 1),
    )
    return [(label, {each: value}) for label, each, value in changes if m[each] != value]


def example(m: Dims, length: int) -> list[dict[str, Any]]:
    """Return the shape of so many images."""
    shape = [length, int(m["in_channels"]), int(m["image_height"]), int(m["image_width"])]
    return [{"shape": shape, "dtype": "float32"}]


def sections(m: Dims, key: Key, *, reduced: bool) -> dict[str, dict[str, Any]]:
    """Return the settings of the task's files for a model of this size."""
    return semantic_segmentation.sections(m, key, reduced=reduced)


def figures(m: Dims) -> dict[str, tuple[Value | str, str]]:
    """Return the channels of the levels, and how much the coarsest sees as one point."""
    return {
        "channels": (", ".join(f"{width:,}" for width in widths(m)), ""),
        "halvings": (int(m["n_levels"]) - 1, ""),
        "coarsest_pixel": (2 ** (int(m["n_levels"]) - 1), "pixels"),
    }
