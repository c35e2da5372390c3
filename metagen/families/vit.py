"""The Vision Transformer as an image classifier (Dosovitskiy et al., 2020, arXiv:2010.11929)."""

from __future__ import annotations

import math
from collections.abc import Iterable

from metagen.families import axes, parts
from metagen.families.axes import Axis
from metagen.families.blocks import Blocks, block_peak
from metagen.families.demand import Need
from metagen.families.family import Dims, Figures, Peak, Trait, Value
from metagen.families.parts import Part
from metagen.families.trend import Trend
from metagen.tasks.image_classification import ImageClassification
from metagen.tasks.images import ImageTask

PATCH = 16  # pixels a side, of most published models
LEAST_PATCHES = 8  # along a side; an image that would have fewer gets smaller patches
HEAD_DIMS = (16, 128)
# A patch of twice the side loses accuracy at every size of model (arXiv:2010.11929, table 6), so it
# costs as much as one usual deviation of shape.
PATCH_PRICE = 1.0
WHOLE = "patches cut an image without a rest"


class ViT(Blocks):
    """Patches, a class token and positions; pre-norm blocks; a linear layer on the class token."""

    name = "vit"
    kind = "Vision Transformer for image classification"
    task: ImageTask = ImageClassification()
    arithmetic = "images"
    components = (
        "transformer_encoder encoder vision_transformer vit patch_embedding class_token "
        "position_embedding classifier mlp_head"
    )
    traits = {
        **Blocks.traits,
        "head_dim": Trait("d_model / n_heads", lambda m: m["d_model"] / m["n_heads"]),
    }
    rules = (
        axes.divides("n_heads", "d_model", "the heads share the width evenly"),
        axes.divides("patch_size", "image_height", WHOLE),
        axes.divides("patch_size", "image_width", WHOLE),
    )
    fixed_by = {"patch_size": "constraints.patch_size"}
    constants = {"norm_eps": (1e-6, "the value of the authors' code")}
    # The proxy has about a hundred thousand parameters.
    proxy_dims = {
        "image_height": 16,
        "image_width": 16,
        "patch_size": 8,
        "d_model": 64,
        "n_layers": 2,
        "n_heads": 4,
    }

    def parts(self, m: Dims) -> list[Part]:
        """Return patch embedding, class token and positions, blocks, last norm and head."""
        d, n = m["d_model"], patches(m)
        return [
            parts.linear(m["num_channels"] * m["patch_size"] ** 2, d, n),
            parts.table(1 + n + 1, d),
            parts.encoder_block(d, m["d_ff"], n + 1) * m["n_layers"],
            parts.norm(d),
            self.head(m),
        ]

    def head(self, m: Dims) -> Part:
        """Return the linear layer on the class vector."""
        return parts.linear(m["d_model"], m["num_classes"])

    def peaks(self, m: Dims) -> list[Peak]:
        """Return the inside of a block together with the image itself."""
        block = block_peak(m, patches(m) + 1, "positions")
        sides = int(m["num_channels"]), int(m["image_height"]), int(m["image_width"])
        words = f"{block.words} + {' x '.join(map(str, sides))} pixels"
        return [Peak(block.numbers + math.prod(sides), words)]

    def axes(self, need: Need, trend: Trend) -> tuple[Axis, ...]:
        budget = need.budget
        depth, width = (trend.lines[name].at(budget) for name in ("n_layers", "d_model"))
        head_dims = axes.powers_near(trend.lines["head_dim"].at(budget), *HEAD_DIMS)
        return (
            *self.usual(),
            Axis(
                "patch_size", patch_sizes, _patch_price, lambda m: f"patches of {m['patch_size']}"
            ),
            Axis("n_layers", lambda m: axes.depths_near(depth), grid=True),
            Axis("d_model", lambda m: self._widths(m, budget, width, min(head_dims)), grid=True),
            Axis("n_heads", lambda m: axes.heads(m["d_model"], head_dims), grid=True),
            self.inner_axis(budget),
        )

    def _widths(self, m: Dims, budget: int, centre: float, head: int) -> range:
        """Return multiples of a head around the trend; for a very small budget, below it."""

        def narrow(width: int) -> Dims:
            return {**m, "d_model": width, "d_ff": axes.granule(width)}

        widths = axes.near(centre, max(head, axes.granule(centre)))
        # The least is 2: LayerNorm of a single number is always 0.
        return self.within(budget, widths, narrow, 2)

    def reasons(self, m: Dims, need: Need, trend: Trend) -> dict[str, str]:
        head_dim = trend.lines["head_dim"].at(self.count(m))
        return {
            **super().reasons(m, need, trend),
            "patch_size": "constraints.patch_size"
            if "patch_size" in need.fixed
            else f"at most {PATCH} pixels and at least {LEAST_PATCHES} patches along a side: "
            f"{patches(m):,} patches",
            "n_heads": f"heads of {m['d_model'] / m['n_heads']:g} dimensions; published models "
            f"give {head_dim:.0f}",
        }

    def changes(self, m: Dims) -> Iterable[tuple[str, str, Value]]:
        width, step = m["d_model"], self.inner_step(m)
        return (
            ("patches of twice the side", "patch_size", 2 * m["patch_size"]),
            ("half the heads", "n_heads", axes.divisor_near(width, m["n_heads"] / 2)),
            ("feed-forward layer of twice the width", "d_ff", axes.multiple(2 * width, step)),
            ("half the depth", "n_layers", max(1, m["n_layers"] // 2)),
        )

    def figures(self, m: Dims) -> Figures:
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
    whole = axes.divisors(math.gcd(*sides))
    first = axes.closest(whole, min(PATCH, max(1, min(sides) // LEAST_PATCHES)))
    return [first, *(first * n for n in (2, 4) if first * n in whole)]


def _patch_price(m: Dims, value: Value | None) -> float:
    return PATCH_PRICE * math.log2((value or 1) / patch_sizes(m)[0])


FAMILY = ViT()
