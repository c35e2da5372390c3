"""What the U-Nets of diffusion models have in common: levels, widths, and the way of sampling."""

from __future__ import annotations

import math
from collections.abc import Callable

from metagen.families.family import Axis, Dims, Key, Load, Need, Rule, Value, Work
from metagen.families.grid import floor_power, near
from metagen.families.trend import Line, Row, Trend, rows
from metagen.families.trend import fit as fit_line
from metagen.families.unet import HALF, UNet

CHANNELS = 3
STEP = 8  # of widths, which hardware multiplies in eights
EMBEDDING = 4  # times the first width (Ho et al., 2020, and every model since)
SPREAD = 0.3  # of the embedding against four times the first width, which is what is published
# Sampling steps and their price: DDIM's Frechet distances on CIFAR-10 are 4.67, 6.84 and 13.36
# (Song et al., 2020, arXiv:2010.02502, table 1).
STEP_PRICES = {50: 0.0, 20: 0.5, 10: 1.5}


def rules(patch: str = "") -> tuple[Rule, ...]:
    """Return what holds for any image: it halves evenly, and is grey or in colours.

    `patch` is the dimension that says how many pixels a row of the U-Net's input is, if not 1.
    """
    return (
        _halves("image_height", patch),
        _halves("image_width", patch),
        Rule(
            ("image_channels",),
            lambda m: m["image_channels"] in (1, CHANNELS),
            f"an image has 1 channel (grey) or {CHANNELS} (colours), so image_channels is one",
        ),
    )


def _halves(side: str, patch: str) -> Rule:
    step = f"{patch} * 2 ** (n_levels - 1)".removeprefix(" * ")

    def holds(m: Dims) -> bool:
        return bool(m[side] % (int(m.get(patch, 1)) << int(m["n_levels"] - 1)) == 0)

    names = (side, "n_levels", *([patch] if patch else []))
    return Rule(names, holds, f"levels halve {side}, so it must be a multiple of {step}")


def multiple(whole: str, part: str) -> Rule:
    """Return the relation that one dimension is cut in so many equal parts, or parts so large."""
    sentence = f"{whole} is cut in equal parts, so it must be a multiple of {part}"
    return Rule((whole, part), lambda m: m[whole] % m[part] == 0, sentence)


def fit(published: bytes, parameters: int) -> Trend:
    """Fit first width, widest level and blocks a level on published U-Nets.

    In the family's rows these are the columns d_model, ffn and n_layers, where the layers
    of the deepest Transformer follow after a stroke.
    """
    table = rows(published)

    def line(read: Callable[[Row], str]) -> Line:
        return fit_line(((float(r["params_exact"]), float(read(r))) for r in table), parameters)

    lines = {
        "base_channels": line(lambda row: row["d_model"]),
        "widest": line(lambda row: row["ffn"]),
        "blocks_per_level": line(lambda row: row["n_layers"].partition(" / ")[0]),
    }
    if all(" / " in row["n_layers"] for row in table):
        lines["lowest_layers"] = line(lambda row: row["n_layers"].partition(" / ")[2])
    return Trend(lines, {})


def image_dims(key: Key) -> dict[str, Value]:
    """Return the dimensions that the declared size of an image fixes."""
    size = key("constraints.image_size")
    return {"image_height": size[0], "image_width": size[1]} if size else {}


def image_axes(height: int) -> tuple[Axis, ...]:
    """Return the size of an image; it is square where nothing is declared."""
    return (
        Axis("image_height", lambda m: (height,)),
        Axis("image_width", lambda m: (m["image_height"],)),
        Axis("image_channels", lambda m: (CHANNELS,)),
    )


def width_axis(
    trend: Trend,
    parameters: int,
    step: Callable[[Dims, float], int],
    plain: Callable[[Dims, int], int],
) -> Axis:
    """Return the first width: multiples of a step around the trend, and around what fits.

    Args:
        trend: Of published models, the smallest of which are larger than many a budget.
        parameters: The budget.
        step: Returns what the width is a multiple of, given about the width that fits.
        plain: Returns the parameters of a plain design of a first width, a quadratic of it.
    """
    usual = trend.lines["base_channels"].at(parameters)

    def choices(m: Dims) -> list[int]:
        fitting = largest(lambda width: plain(m, width), parameters)
        each = step(m, fitting)
        return sorted({*near(usual, each), *near(fitting, each)})

    return Axis("base_channels", choices, grid=True)


def largest(count: Callable[[int], int], parameters: int) -> float:
    """Return where a quadratic, which three counts give, reaches so many parameters; at least 1."""
    zero, one, two = (count(size) for size in (0, 1, 2))
    square = (two - 2 * one + zero) / 2
    linear = one - zero - square
    under = linear**2 + 4 * square * (parameters - zero)
    return max(1.0, (math.sqrt(max(0.0, under)) - linear) / (2 * square))


def embedding_axis(count: Callable[[Dims], int], parameters: int) -> Axis:
    """Return the width of the embedding: the largest within the budget, near its usual width."""

    def choices(m: Dims) -> tuple[int]:
        usual = EMBEDDING * int(m["base_channels"])
        room = int(largest(lambda width: count({**m, "embedding_dim": width}), parameters))
        step = embedding_step(m)
        return (max(step, min(max(room, usual // 2), 2 * usual) // step * step),)

    return Axis("embedding_dim", choices, fills=True)


def embedding_step(m: Dims) -> int:
    """Return what the width of the embedding is a multiple of, less where it is narrow."""
    return max(1, min(STEP, floor_power(EMBEDDING * m["base_channels"]) // STEP))


def steps_axis() -> Axis:
    """Return the lever of fewer sampling steps."""
    return Axis(
        "sampling_steps",
        lambda m: STEP_PRICES,
        lambda m, value: STEP_PRICES[int(value or max(STEP_PRICES))],
        lambda m: f"{m['sampling_steps']} sampling steps",
    )


def distance(m: Dims, parameters: int, widest: int, trend: Trend) -> float:
    """Return how far widths, blocks and embedding lie from the trend; 1 is one usual deviation."""
    values = {"base_channels": m["base_channels"], "widest": widest}
    values["blocks_per_level"] = m["blocks_per_level"]
    embedding = math.log(m["embedding_dim"] / (EMBEDDING * m["base_channels"])) / SPREAD
    lines = trend.lines
    return embedding**2 + sum(lines[n].distance(parameters, v) for n, v in values.items())


def load(m: Dims, parameters: int, net: UNet, flops: float) -> Load:
    """Return what drawing one image takes: all sampling steps, each twice for guidance.

    Both passes of a step run side by side, so that the weights are read once for both.

    Args:
        m: Dimensions, with `sampling_steps`.
        parameters: All weights, which are kept in bf16.
        net: The U-Net.
        flops: Operations of one pass of the model.
    """
    steps, weights = int(m["sampling_steps"]), HALF * parameters
    passes = 2 * steps
    return Load(
        weights=weights,
        cache=0,
        activations=2 * HALF * (net.kept() + net.widest()),
        first=Work(passes * flops, float(steps * weights)),
        passes=passes,
    )


def explained(parameters: int, net: UNet) -> dict[str, str]:
    """Return the arithmetic of weights and activations."""
    return {
        "weights": f"{parameters:,} parameters x {HALF} bytes (bf16)",
        "activations": f"2 images (with and without caption) x (what waits for the way up, "
        f"{net.kept():,} + the widest part, {net.widest():,}) numbers x {HALF} bytes",
    }


def shape_reasons(m: Dims, parameters: int, widest: int, trend: Trend) -> dict[str, str]:
    """Return why widths, blocks, embedding and sampling steps are so."""
    line, wide = trend.lines["base_channels"], trend.lines["widest"]
    usual = EMBEDDING * m["base_channels"]
    return {
        "base_channels": f"{line.said(parameters)}, and {wide.at(parameters):,.0f} for the widest "
        f"level, here {widest:,}",
        "blocks_per_level": f"the trend gives {trend.lines['blocks_per_level'].at(parameters):.1f}",
        "embedding_dim": f"the multiple of {embedding_step(m)} that fills the parameter count "
        f"best, from half to twice the {usual:,} that are usual, {EMBEDDING} times base_channels",
        "sampling_steps": "a step fewer costs quality, and none has to be spared: DDIM, table 1",
    }


def image_reasons(need: Need, size: int) -> dict[str, str]:
    """Return why an image has its size."""
    default = f"no image_size is declared: {size} x {size}"
    return {
        **{side: declared(need, side, default) for side in ("image_height", "image_width")},
        "image_channels": "red, green and blue",
    }


def declared(need: Need, dimension: str, otherwise: str) -> str:
    """Return that the spec fixes a dimension, or else another reason."""
    return "declared in the spec" if dimension in need.fixed else otherwise
