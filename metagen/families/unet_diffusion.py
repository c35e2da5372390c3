"""The class-conditional diffusion model of pixels: the U-Net of DDPM (arXiv:2006.11239)."""

from __future__ import annotations

import math
from collections.abc import Iterable

from metagen.families import parts
from metagen.families.axes import Axis, Rule, divides, floor_power
from metagen.families.demand import Need
from metagen.families.diffusion import EMBEDDING, STEPS, WIDTH_STEP, DiffusionUNet, rules, widths
from metagen.families.family import Dims, Figures, Value
from metagen.families.parts import Part
from metagen.families.trend import Trend
from metagen.tasks.image_diffusion import ClassConditional

GROUPS = (32, 16, 8, 4, 2)
ATTENTION_ROWS = 16  # DDPM attends where feature maps have 16 rows.
MULTIPLIERS = (2, 4)  # DDPM's at 32 and at 256 pixels


class PixelUNet(DiffusionUNet):
    """A U-Net whose attention has one head; a table of classes is added to the noise level."""

    name = "unet_diffusion"
    kind = "class-conditional diffusion model of images"
    task = ClassConditional()
    convolutional = True
    components = "unet unet_2d residual_block attention time_embedding class_embedding"
    rules = (
        *rules(),
        divides("norm_groups", "base_channels", "the groups share the channels evenly"),
        Rule(
            ("attention_level", "n_levels"),
            lambda m: m["attention_level"] < m["n_levels"],
            "levels are counted from 0, so attention_level is below n_levels",
        ),
    )
    constants = {"dropout": (0.1, "as DDPM on CIFAR-10")}
    # The proxy has about 0.2 million parameters.
    proxy_dims = {
        "base_channels": 16,
        "n_levels": 2,
        "max_multiplier": 2,
        "blocks_per_level": 1,
        "attention_level": 1,
        "embedding_dim": 64,
        "norm_groups": 8,
        "dropout": 0.0,
    }

    def attention_layers(self, m: Dims) -> list[int]:
        levels = range(int(m["n_levels"]))
        return [*(int(level == m["attention_level"]) for level in levels), 1]

    def attention(self, m: Dims, width: int, pixels: int, layers: int) -> Part:
        """Return a norm, queries, keys, values and output: 4c^2 weights; pixels attend to pixels.

        The pairs of P pixels take 4P^2 c operations.
        """
        return Part(4 * width**2, (2 + 4) * width, pixels, pairs=4 * width * pixels**2)

    def condition(self, m: Dims) -> list[Part]:
        return [parts.table(m["num_classes"] + 1, m["embedding_dim"])]

    def plain(self, m: Dims, width: int) -> int:
        """Return the count of DDPM's U-Net of a first width for these images and classes."""
        sizes = {**m, "base_channels": width, "max_multiplier": 2, "blocks_per_level": 2}
        levels = {"n_levels": _levels(m), "attention_level": 1, "embedding_dim": EMBEDDING * width}
        return self.count({**sizes, **levels})

    def axes(self, need: Need, trend: Trend) -> tuple[Axis, ...]:
        budget = need.budget
        return (
            *self.image_axes(),
            self.width_axis(trend, budget, _step),
            Axis("n_levels", lambda m: (_levels(m),)),
            Axis("max_multiplier", lambda m: MULTIPLIERS, grid=True),
            Axis("blocks_per_level", lambda m: (1, 2, 3, 4), grid=True),
            Axis("attention_level", lambda m: (_attention_level(m),)),
            Axis("norm_groups", lambda m: (_groups(m),)),
            self.embedding_axis(budget),
            STEPS,
        )

    def reasons(self, m: Dims, need: Need, trend: Trend) -> dict[str, str]:
        rows = int(m["image_height"]) >> int(m["n_levels"] - 1)
        at = int(m["image_height"]) >> int(m["attention_level"])
        groups = ", ".join(map(str, (*GROUPS, 1)))
        return {
            **super().reasons(m, need, trend),
            "n_levels": f"halvings down to {rows} rows, as DDPM has 8 of 256 and 4 of 32",
            "max_multiplier": f"{max(widths(m)):,} channels at the lowest level; DDPM has "
            f"{MULTIPLIERS[0]} or {MULTIPLIERS[1]}",
            "attention_level": f"the level of {at} rows; DDPM attends at {ATTENTION_ROWS}",
            "norm_groups": f"the largest of {groups} that divides base_channels",
        }

    def changes(self, m: Dims) -> Iterable[tuple[str, str, Value]]:
        return (
            ("attention at the lowest level instead", "attention_level", m["n_levels"] - 1),
            ("attention at the first level instead", "attention_level", 0),
            ("widths that double once", "max_multiplier", 2),
            ("one block a level", "blocks_per_level", 1),
            ("two blocks a level", "blocks_per_level", 2),
            ("no dropout", "dropout", 0.0),
        )

    def figures(self, m: Dims) -> Figures:
        return {**super().figures(m), "sampling_steps": (int(m["sampling_steps"]), "")}


def _step(m: Dims, fitting: float) -> int:
    """Return what widths are a multiple of: 8, or about an eighth of a narrow one.

    It is even, since half of the first width are sines and half cosines of the noise level.
    """
    return max(2, min(WIDTH_STEP, floor_power(fitting) // WIDTH_STEP))


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


FAMILY = PixelUNet()
