"""The shape of a Vision Transformer: the trend of published ones, the space to search, reasons."""

from __future__ import annotations

import math

from metagen.families.family import Axis, Dims, Need, Value
from metagen.families.grid import (
    closest,
    divisors,
    down_to_fit,
    floor_power,
    granule,
    near,
    powers_near,
)
from metagen.families.trend import Row, Trend, rows
from metagen.families.trend import fit as fit_line
from metagen.families.vit_load import count, patches
from metagen.tasks import image_classification as task

NORM_EPS = 1e-6  # of the authors' code
PATCH = 16  # pixels, of most published models
LEAST_PATCHES = 8  # along a side
HEAD_DIMS = (16, 128)
LEAST_WIDTH = 2  # a norm over one number leaves nothing of it
# For each doubling of the side: a coarser patch loses accuracy at every size of model
# (arXiv:2010.11929, table 6).
PATCH_PRICE = 1.0
SHAPE = ("n_layers", "d_model", "head_dim", "expansion")


def fit(published: bytes, parameters: int) -> Trend:
    """Fit depth, width, head size and expansion on the published Vision Transformers."""
    table = rows(published)
    lines = {
        name: fit_line(points(table, name), parameters, level=name == "expansion") for name in SHAPE
    }
    return Trend(lines, {})


def points(table: list[Row], name: str) -> list[tuple[float, float]]:
    """Return (parameters, a dimension or a ratio of two) of each row."""
    top, bottom = {"head_dim": ("d_model", "n_heads"), "expansion": ("ffn", "d_model")}.get(
        name, (name, "")
    )
    return [
        (float(row["params_exact"]), float(row[top]) / (float(row[bottom]) if bottom else 1))
        for row in table
    ]


def cost(m: Dims, trend: Trend) -> float:
    """Return the summed squared deviation from the trend; 1 is one usual deviation."""
    width = m["d_model"]
    values = (m["n_layers"], width, width / m["n_heads"], m["d_ff"] / width)
    named = zip(SHAPE, values, strict=True)
    return sum(trend.lines[each].distance(count(m), value) for each, value in named)


def axes(need: Need, trend: Trend) -> tuple[Axis, ...]:
    """Return the search space; width, depth and head size stay within reach of the trend."""
    size = need.parameters
    depth, width = (trend.lines[each].at(size) for each in ("n_layers", "d_model"))
    heads = powers_near(trend.lines["head_dim"].at(size), *HEAD_DIMS)
    return (
        Axis("image_height", lambda m: (task.SIDE,)),
        Axis("image_width", lambda m: (task.SIDE,)),
        Axis("num_channels", lambda m: (task.CHANNELS,)),
        Axis("num_classes", lambda m: (task.CLASSES,)),
        Axis("patch_size", _patch_sizes, _patch_price, lambda m: f"patches of {m['patch_size']}"),
        Axis("n_layers", lambda m: near(depth, max(1, floor_power(depth) // 16)), grid=True),
        Axis("d_model", lambda m: _widths(m, size, width, min(heads)), grid=True),
        Axis("n_heads", lambda m: _heads(m, heads), grid=True),
        Axis("d_ff", lambda m: (_feed_forward(m, size),), fills=True),
        Axis("norm_eps", lambda m: (NORM_EPS,)),
    )


def _widths(m: Dims, parameters: int, centre: float, head: int) -> range:
    """Return multiples of a head around the trend; for a very small budget, below it."""

    def fits(width: int) -> bool:
        return count({**m, "d_model": width, "d_ff": granule(width)}) <= parameters

    return down_to_fit(near(centre, max(head, granule(centre))), fits, LEAST_WIDTH)


def _heads(m: Dims, sizes: list[int]) -> list[int]:
    """Return the numbers of heads that cut the width in one of some sizes."""
    width = int(m["d_model"])
    return [width // size for size in sizes if width % size == 0] or [1]


def _patch_sizes(m: Dims) -> list[int]:
    """Return the usual patch and those of two and four times its side, where they cut the image.

    The usual one has 16 pixels along a side, or fewer where an image would be cut in too few.
    """
    sides = int(m["image_height"]), int(m["image_width"])
    whole = divisors(math.gcd(*sides))
    usual = closest(whole, min(PATCH, max(1, min(sides) // LEAST_PATCHES)))
    return [usual, *(usual * n for n in (2, 4) if usual * n in whole)]


def _patch_price(m: Dims, value: Value | None) -> float:
    return PATCH_PRICE * math.log2((value or 1) / _patch_sizes(m)[0])


def _feed_forward(m: Dims, parameters: int) -> int:
    """Return the largest even multiple that keeps the count within the budget."""
    step = granule(m["d_model"])
    room = parameters - count({**m, "d_ff": 0})
    return max(step, int(room / (m["n_layers"] * (2 * m["d_model"] + 1))) // step * step)


def reasons(m: Dims, need: Need, trend: Trend) -> dict[str, str]:
    """Return why each dimension has its value, with the figures that decided it."""
    size, expansion = count(m), trend.lines["expansion"].at(count(m))
    return {
        **task.dim_reasons(need.fixed),
        "patch_size": "constraints.patch_size"
        if "patch_size" in need.fixed
        else f"at most {PATCH} pixels and at least {LEAST_PATCHES} patches along a side: "
        f"{patches(m):,} patches",
        "n_layers": trend.lines["n_layers"].said(size),
        "d_model": trend.lines["d_model"].said(size),
        "n_heads": f"heads of {m['d_model'] / m['n_heads']:g} dimensions; published models give "
        f"{trend.lines['head_dim'].at(size):.0f}",
        "d_ff": f"the largest multiple of {granule(m['d_model'])} within the parameter count; "
        f"{m['d_ff'] / m['d_model']:.2f} times d_model, against {expansion:.2f} by the trend",
        "norm_eps": "the value of the authors' code",
    }
