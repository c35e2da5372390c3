"""The Vision Transformer as an image classifier (Dosovitskiy et al., 2020, arXiv:2010.11929)."""

from __future__ import annotations

import math
from collections.abc import Iterable

from metagen.families import parts
from metagen.families.axes import (
    Axis,
    closest,
    divides,
    divisors,
    down_to_fit,
    fill,
    floor_power,
    granule,
    heads,
    near,
    powers_near,
    usual,
)
from metagen.families.demand import Need
from metagen.families.family import Dims, Family, Figures, Key, Peak, Trait, Value, dim
from metagen.families.parts import Part
from metagen.families.trend import Trend
from metagen.tasks.image_classification import ImageClassification
from metagen.tasks.task import square

NORM_EPS = 1e-6
PATCH = 16  # pixels a side, of most published models
LEAST_PATCHES = 8  # along a side; an image that would have fewer gets smaller patches
HEAD_DIMS = (16, 128)
LEAST_WIDTH = 2  # LayerNorm of a single number is always 0.
# A patch of twice the side loses accuracy at every size of model (arXiv:2010.11929, table 6), so it
# costs as much as one usual deviation of shape.
PATCH_PRICE = 1.0
PROXY_HEAD = 16  # dimensions of a head
WHOLE = "patches cut an image without a rest"


class ViT(Family):
    """Patches, a class token and positions; pre-norm blocks; a linear layer on the class token."""

    name = "vit"
    kind = "Vision Transformer for image classification"
    task = ImageClassification()
    components = (
        "transformer_encoder encoder vision_transformer vit patch_embedding class_token "
        "position_embedding classifier mlp_head"
    )
    traits = {
        "n_layers": dim("n_layers"),
        "d_model": dim("d_model"),
        "head_dim": Trait("d_model / n_heads", lambda m: m["d_model"] / m["n_heads"]),
        "expansion": Trait("ffn / d_model", lambda m: m["d_ff"] / m["d_model"], level=True),
    }
    rules = (
        divides("n_heads", "d_model", "the heads share the width evenly"),
        divides("patch_size", "image_height", WHOLE),
        divides("patch_size", "image_width", WHOLE),
    )
    proxy_dims = {
        "image_height": 16,
        "image_width": 16,
        "patch_size": 8,
        "d_model": 64,
        "n_layers": 2,
        "n_heads": 64 // PROXY_HEAD,
    }

    def parts(self, m: Dims) -> list[Part]:
        """Return patch embedding, class token and positions, blocks, last norm and classifier."""
        d, n = m["d_model"], patches(m)
        return [
            parts.linear(m["num_channels"] * m["patch_size"] ** 2, d, n),
            parts.table(1 + n + 1, d),
            parts.encoder_block(d, m["d_ff"], n + 1) * m["n_layers"],
            parts.norm(d),
            parts.linear(d, m["num_classes"]),
        ]

    def peaks(self, m: Dims) -> list[Peak]:
        """Return the inside of a block, and the image itself.

        Each position holds the residual stream, its normalized copy, and the wider of the
        feed-forward layer (before and after GELU) and attention (queries, keys, values, result).
        """
        widest = max(2 * m["d_ff"], 4 * m["d_model"])
        sides = m["num_channels"], m["image_height"], m["image_width"]
        numbers = (patches(m) + 1) * (2 * m["d_model"] + widest) + math.prod(sides)
        words = f"{patches(m) + 1:,} positions x (2 x {m['d_model']:,} + {widest:,})"
        return [Peak(int(numbers), f"{words} + {' x '.join(map(str, sides))} pixels")]

    def fixed(self, key: Key) -> dict[str, Value]:
        """Return the size of image and patch and the classes, where a spec declares them."""
        patch = square(key, "constraints.patch_size")
        return super().fixed(key) | ({"patch_size": patch} if patch else {})

    def axes(self, need: Need, trend: Trend) -> tuple[Axis, ...]:
        """Return the search space; width, depth and head size stay within reach of the trend."""
        budget = need.budget
        depth, width = (trend.lines[name].at(budget) for name in ("n_layers", "d_model"))
        head_dims = powers_near(trend.lines["head_dim"].at(budget), *HEAD_DIMS)
        return (
            *usual(self.task.defaults),
            Axis(
                "patch_size", patch_sizes, _patch_price, lambda m: f"patches of {m['patch_size']}"
            ),
            Axis("n_layers", lambda m: near(depth, max(1, floor_power(depth) // 16)), grid=True),
            Axis("d_model", lambda m: self._widths(m, budget, width, min(head_dims)), grid=True),
            Axis("n_heads", lambda m: heads(m["d_model"], head_dims), grid=True),
            Axis("d_ff", lambda m: (self._feed_forward(m, budget),), fills=True),
            *usual({"norm_eps": NORM_EPS}),
        )

    def _widths(self, m: Dims, budget: int, centre: float, head: int) -> range:
        """Return multiples of a head around the trend; for a very small budget, below it."""

        def fits(width: int) -> bool:
            return self.count({**m, "d_model": width, "d_ff": granule(width)}) <= budget

        return down_to_fit(near(centre, max(head, granule(centre))), fits, LEAST_WIDTH)

    def _feed_forward(self, m: Dims, budget: int) -> int:
        """Return the largest round width that keeps the count within the budget."""
        step = granule(m["d_model"])
        room = budget - self.count({**m, "d_ff": 0})
        return fill(room, m["n_layers"] * (2 * m["d_model"] + 1), step)

    def reasons(self, m: Dims, need: Need, trend: Trend) -> dict[str, str]:
        """Return why each dimension has its value, with the figures that decided it."""
        head_dim, expansion = (
            trend.lines[name].at(self.count(m)) for name in ("head_dim", "expansion")
        )
        return {
            **super().reasons(m, need, trend),
            "patch_size": "constraints.patch_size"
            if "patch_size" in need.fixed
            else f"at most {PATCH} pixels and at least {LEAST_PATCHES} patches along a side: "
            f"{patches(m):,} patches",
            "n_heads": f"heads of {m['d_model'] / m['n_heads']:g} dimensions; published models "
            f"give {head_dim:.0f}",
            "d_ff": f"the largest multiple of {granule(m['d_model'])} within the parameter count; "
            f"{m['d_ff'] / m['d_model']:.2f} times d_model, against {expansion:.2f} by the trend",
            "norm_eps": "the value of the authors' code",
        }

    def proxy(self, m: Dims) -> dict[str, Value]:
        """Return a model of about a hundred thousand parameters for small grey images.

        Its feed-forward layer is as wide, relative to d_model, as the full model's.
        """
        small = super().proxy(m)
        step = granule(small["d_model"])
        wide = step * round(m["d_ff"] / m["d_model"] * small["d_model"] / step)
        return {**small, "d_ff": max(step, wide)}

    def changes(self, m: Dims) -> Iterable[tuple[str, str, Value]]:
        """Return single changes to patches, heads and shape."""
        step = granule(m["d_model"])
        return (
            ("patches of twice the side", "patch_size", 2 * m["patch_size"]),
            ("half the heads", "n_heads", closest(divisors(int(m["d_model"])), m["n_heads"] / 2)),
            (
                "feed-forward layer of twice the width",
                "d_ff",
                step * round(2 * m["d_model"] / step),
            ),
            ("half the depth", "n_layers", max(1, m["n_layers"] // 2)),
        )

    def figures(self, m: Dims) -> Figures:
        """Return what the documents say of patches and heads."""
        return {
            "patches": (patches(m), ""),
            "positions": (patches(m) + 1, ""),
            "head_dim": (int(m["d_model"] // m["n_heads"]), ""),
        }


def patches(m: Dims) -> int:
    """Return the patches of an image: height / p * width / p."""
    return int(m["image_height"] // m["patch_size"] * (m["image_width"] // m["patch_size"]))


def patch_sizes(m: Dims) -> list[int]:
    """Return the usual patch and those of two and four times its side, where they cut the image.

    The usual one has 16 pixels along a side, or fewer where an image would be cut in too few.
    """
    sides = int(m["image_height"]), int(m["image_width"])
    whole = divisors(math.gcd(*sides))
    first = closest(whole, min(PATCH, max(1, min(sides) // LEAST_PATCHES)))
    return [first, *(first * n for n in (2, 4) if first * n in whole)]


def _patch_price(m: Dims, value: Value | None) -> float:
    return PATCH_PRICE * math.log2((value or 1) / patch_sizes(m)[0])


FAMILY = ViT()
