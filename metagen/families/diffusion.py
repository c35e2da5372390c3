"""The U-Net of diffusion models: what the families that remove noise from images have in common.

Shapes: i and o are the channels that a residual block reads and writes, c those of attention, e the
width of the embedding of noise level and condition; a pixel is one place of a level's feature map.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import lru_cache
from typing import NamedTuple

from metagen.families import parts
from metagen.families.axes import Axis, Rule, floor_power, halves, near
from metagen.families.demand import ALONE, Cost, Demand, Need, Use
from metagen.families.family import Dims, Family, Figures, Peak, Trait, dim
from metagen.families.parts import HALF, Part
from metagen.families.trend import Trend

WIDTH_STEP = 8  # channels; tensor cores take multiples of 8 at full speed
EMBEDDING = 4  # times the first width in every published model (Ho et al., 2020, and later)
# Spread of the embedding's width around four times the first width; published models have none.
EMBEDDING_SPREAD = 0.3
# The price of fewer sampling steps: DDIM's Frechet distances on CIFAR-10 are 4.67, 6.84 and 13.36
# (Song et al., 2020, arXiv:2010.02502, table 1).
STEP_PRICES = {50: 0.0, 20: 0.5, 10: 1.5}
GUIDED = 2  # passes a sampling step: one with the condition, one without


class Step(NamedTuple):
    """One step of the way down, through the middle or up, or several alike.

    Attributes:
        part: Its convolutions and norms, at each pixel of what it writes.
        inputs: Channels that it reads.
        outputs: Channels that it writes.
        kept: Whether the way up reads its output again.
    """

    part: Part
    inputs: int
    outputs: int
    kept: bool = False


class DiffusionUNet(Family):
    """Residual blocks on the way down, in the middle and on the way up; attention in some levels.

    Each level halves the resolution. It has `blocks_per_level` blocks on the way down and one more
    on the way up, each of which also reads one output of the way down.
    """

    formats = {"sampling_steps": int}
    arithmetic = "convolutions"
    traits = {
        "base_channels": dim("base_channels", "d_model"),
        "widest": Trait("ffn", lambda m: widths(m)[-1]),
        # The column holds the blocks, and of latent models the Transformer layers: `2 / 10`.
        "blocks_per_level": Trait(
            lambda row: float(row["n_layers"].partition(" / ")[0]),
            lambda m: m["blocks_per_level"],
        ),
    }

    # What a U-Net must state.

    def attention_layers(self, m: Dims) -> list[int]:
        """Return the layers of attention behind a block of each level, and last in the middle."""
        raise NotImplementedError

    def attention(self, m: Dims, width: int, pixels: int, layers: int) -> Part:
        """Return the attention behind one block of a level."""
        raise NotImplementedError

    def condition(self, m: Dims) -> list[Part]:
        """Return what turns the class or caption into an embedding."""
        raise NotImplementedError

    def plain(self, m: Dims, width: int) -> int:
        """Return the count of a usual design of a first width, given the dimensions before it."""
        raise NotImplementedError

    # What follows.

    def parts(self, m: Dims) -> list[Part]:
        """Return the embedding, the first and last convolutions, every step and its attention.

        Each residual block has a linear layer that adds the embedding, used once an image.
        """
        w, area, e = widths(m), areas(m), int(m["embedding_dim"])
        channels, blocks = input_channels(m), 2 * int(m["blocks_per_level"]) + 1
        *levels, middle = self.attention_layers(m)
        return [
            *self.condition(m),
            *two_layers(w[0], e),
            parts.conv(channels, w[0], 3, area[0]),
            *(step.part for step in steps(w, area, int(m["blocks_per_level"]))),
            *(parts.linear(e, width) * blocks for width in w),
            parts.linear(e, w[-1]) * 2,
            *(
                self.attention(m, width, pixels, layers) * blocks
                for width, pixels, layers in zip(w, area, levels, strict=True)
                if layers
            ),
            self.attention(m, w[-1], area[-1], middle),
            parts.norm(w[0]),
            parts.conv(w[0], channels, 3, area[0]),
        ]

    def peaks(self, m: Dims) -> list[Peak]:
        """Return the beginning of the way up: what waits for it, and the widest step.

        A step holds what it reads, and twice what it writes.
        """
        w, area = widths(m), areas(m)
        every = steps(w, area, int(m["blocks_per_level"]))
        kept = sum(s.part.times * s.outputs * s.part.places for s in every if s.kept)
        waiting = w[0] * area[0] + kept
        widest = max((s.inputs + 2 * s.outputs) * s.part.places for s in every)
        words = f"what waits for the way up, {waiting:,} + the widest part, {widest:,}"
        return [Peak(waiting + widest, words)]

    def weight_bytes(self, m: Dims) -> int:
        """Return the bytes of parameters in bf16; no layer has running statistics."""
        return HALF * self.count(m)

    def demand(self, m: Dims, use: Use = ALONE) -> Demand:
        """Return what drawing one image takes."""
        return sampled(super().demand(m, use), int(m["sampling_steps"]))

    def explained(self, m: Dims, parameters: int, use: Use = ALONE) -> dict[str, str]:
        given, [peak] = super().explained(m, parameters), self.peaks(m)
        held = held_in_sampling(peak, f"{GUIDED * use.batch} images")
        return {"weights": given["weights"], "activations": held}

    def deviation(self, m: Dims, trend: Trend) -> float:
        embedding = math.log(m["embedding_dim"] / (EMBEDDING * m["base_channels"]))
        return super().deviation(m, trend) + (embedding / EMBEDDING_SPREAD) ** 2

    def reasons(self, m: Dims, need: Need, trend: Trend) -> dict[str, str]:
        given = super().reasons(m, need, trend)
        wide, usual_width = trend.lines["widest"].at(self.count(m)), EMBEDDING * m["base_channels"]
        return {
            **given,
            "base_channels": f"{given['base_channels']}, and {wide:,.0f} for the widest level, "
            f"here {widths(m)[-1]:,}",
            "embedding_dim": f"the multiple of {embedding_step(m)} that fills the parameter count "
            f"best, from half to twice the {usual_width:,} that are usual, {EMBEDDING} times "
            "base_channels",
            "sampling_steps": "fewer steps draw worse images (DDIM, table 1), and no limit "
            "requires fewer",
        }

    def figures(self, m: Dims) -> Figures:
        return {"widths": (", ".join(f"{width:,}" for width in widths(m)), "")}

    # Axes that the U-Nets share.

    def image_axes(self) -> tuple[Axis, ...]:
        """Return the dimensions of the task; an image is square where nothing is declared."""
        square = Axis("image_width", lambda m: (m["image_height"],))
        return (*self.usual(), square)

    def width_axis(self, trend: Trend, budget: int, step: Callable[[Dims, float], int]) -> Axis:
        """Return the first width: around the trend, and around what fits a smaller budget.

        `step(m, fitting)` returns what the width is a multiple of, for a width that about fits.
        """
        centre = trend.lines["base_channels"].at(budget)

        def choices(m: Dims) -> list[int]:
            fitting = self.fitting(m, budget)
            each = step(m, fitting)
            return sorted({*near(centre, each), *near(fitting, each)})

        return Axis("base_channels", choices, grid=True)

    def fitting(self, m: Dims, budget: int) -> float:
        """Return the first width with which the usual design has as many parameters as allowed."""
        return largest(lambda width: self.plain(m, width), budget)

    def embedding_axis(self, budget: int) -> Axis:
        """Return the width of the embedding: the largest within the budget, near the usual one."""

        def choices(m: Dims) -> tuple[int]:
            centre, step = EMBEDDING * int(m["base_channels"]), embedding_step(m)
            room = int(largest(lambda width: self.count({**m, "embedding_dim": width}), budget))
            return (max(step, min(max(room, centre // 2), 2 * centre) // step * step),)

        return Axis("embedding_dim", choices, fills=True)


STEPS = Axis(
    "sampling_steps",
    lambda m: STEP_PRICES,
    lambda m, value: STEP_PRICES[int(value or max(STEP_PRICES))],
    lambda m: f"{m['sampling_steps']} sampling steps",
)


def sampled(one: Demand, steps: int) -> Demand:
    """Return what all sampling steps of a sample take, from the demand of one pass.

    Both passes of a sampling step run side by side, so that the weights are read once for both.
    """
    return replace(
        one,
        activations=GUIDED * one.activations,
        first=Cost(GUIDED * steps * one.first.flops, steps * one.first.bytes, calls=steps),
        passes=GUIDED * steps,
    )


def held_in_sampling(peak: Peak, samples: str) -> str:
    """Return the arithmetic of a sampling step's activations, for samples such as `2 images`."""
    return f"{samples} in bf16, with and without the condition, x ({peak.words})"


def rules(patch: str = "") -> tuple[Rule, ...]:
    """Return the rules of an image: it halves evenly, and is grey or in colours.

    `patch` is the dimension that says how many pixels a row of the U-Net's input is, if not 1.
    """
    return (
        halves("image_height", patch),
        halves("image_width", patch),
        Rule(
            ("image_channels",),
            lambda m: m["image_channels"] in (1, 3),
            "an image is grey or in colours, so image_channels must be 1 or 3",
        ),
    )


def widths(m: Dims) -> tuple[int, ...]:
    """Return the channels of each level; they double, up to `max_multiplier` times the first."""
    base, most = int(m["base_channels"]), int(m.get("max_multiplier", 2**62))
    return tuple(base * min(1 << level, most) for level in range(int(m["n_levels"])))


def latents(m: Dims) -> tuple[int, int]:
    """Return the rows and columns that the U-Net works on: those of pixels, or of patches."""
    patch = int(m.get("patch_size", 1))
    return int(m["image_height"]) // patch, int(m["image_width"]) // patch


def input_channels(m: Dims) -> int:
    """Return the numbers of one pixel, or of all pixels of a patch."""
    return int(m["image_channels"] * m.get("patch_size", 1) ** 2)


def areas(m: Dims) -> tuple[int, ...]:
    """Return the pixels of each level."""
    height, width = latents(m)
    levels = range(int(m["n_levels"]))
    return tuple((height >> level) * (width >> level) for level in levels)


def two_layers(width: int, embedding: int) -> tuple[Part, Part]:
    """Return the two linear layers that make an embedding."""
    return parts.linear(width, embedding), parts.linear(embedding, embedding)


def residual(inputs: int, outputs: int, pixels: int) -> Part:
    """Return two norms and two convolutions of 3 x 3, and a shortcut if i and o differ."""
    i, o, shortcut = inputs, outputs, inputs != outputs
    weights = 9 * i * o + 9 * o * o + i * o * shortcut
    return Part(weights, 2 * i + 4 * o + o * shortcut, pixels)


@lru_cache(maxsize=2**10)
def steps(w: tuple[int, ...], area: tuple[int, ...], blocks: int) -> tuple[Step, ...]:
    """Return every step, those that are alike together, in the order in which they run.

    The search asks for the same ones with many embeddings and attentions.
    """
    last = len(w) - 1
    middle = Step(residual(w[-1], w[-1], area[-1]) * 2, w[-1], w[-1])
    down = [step for level in range(last + 1) for step in _down(w, area, blocks, level)]
    up = [step for level in range(last, -1, -1) for step in _up(w, area, blocks, level)]
    return tuple(step for step in (*down, middle, *up) if step.part.times)


def _down(w: tuple[int, ...], area: tuple[int, ...], blocks: int, level: int) -> Iterator[Step]:
    """Yield the blocks of a level on the way down, and the halving to the next."""
    o, before = w[level], w[max(0, level - 1)]
    for i, times in ((before, 1), (o, blocks - 1)):
        yield Step(residual(i, o, area[level]) * times, i, o, kept=True)
    if level < len(w) - 1:
        yield Step(parts.conv(o, o, 3, area[level + 1]), o, o, kept=True)


def _up(w: tuple[int, ...], area: tuple[int, ...], blocks: int, level: int) -> Iterator[Step]:
    """Yield the blocks of a level on the way up, and the doubling to the level above.

    A block reads what the one before it wrote and one output of the way down: of a block of this
    level, or, in the last, what entered this level.
    """
    o, below, above = w[level], w[min(level + 1, len(w) - 1)], w[max(0, level - 1)]
    for i, times in ((below + o, 1), (2 * o, blocks - 1), (o + above, 1)):
        yield Step(residual(i, o, area[level]) * times, i, o)
    if level:
        yield Step(parts.conv(o, o, 3, area[level - 1]), o, o)


def largest(count: Callable[[int], int], budget: int) -> float:
    """Return where a quadratic, given by its values at 0, 1 and 2, reaches a budget; at least 1."""
    zero, one, two = (count(size) for size in (0, 1, 2))
    square = (two - 2 * one + zero) / 2
    linear = one - zero - square
    under = linear**2 + 4 * square * (budget - zero)
    return max(1.0, (math.sqrt(max(0.0, under)) - linear) / (2 * square))


def embedding_step(m: Dims) -> int:
    """Return what the width of the embedding is a multiple of; a narrow one has a smaller step."""
    return max(1, min(WIDTH_STEP, floor_power(EMBEDDING * m["base_channels"]) // WIDTH_STEP))
