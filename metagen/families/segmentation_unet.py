"""The U-Net for semantic segmentation (Ronneberger et al., 2015, arXiv:1505.04597).

Where the budget does not fit the doubling of channels from level to level, the coarsest levels stop
at `max_channels`, as in nnU-Net (arXiv:1809.10486).
"""

from __future__ import annotations

import bisect
import itertools
import statistics
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

from metagen.families import parts
from metagen.families.axes import Axis, Rule, floor_power, halves
from metagen.families.demand import Need
from metagen.families.family import Dims, Family, Figures, Peak, Trait, Value, dim
from metagen.families.parts import HALF, Part
from metagen.families.trend import Row, Trend
from metagen.tasks.semantic_segmentation import BUNDLED_CLASSES, SemanticSegmentation

# Channel counts are multiples of 8; of networks narrower than 32, of a quarter of the width.
WIDTH_STEP = 8
# max_channels rises in steps of 4 until the budget is full; at most 1/8 of base_channels.
CAP_STEP = 4
# Nearly all published U-Nets have 16 times the channels of the first level in the widest, so that
# their own spread is near 0; a smaller one here would forbid every cap.
GROWTH_SPREAD = 0.2
CLASS_NUMBER = 8 // HALF  # argmax gives a pixel's class as a number of 8 bytes.


class SegmentationUNet(Family):
    """Two convolutions a level on the way down and up, which also sees the features beside it."""

    name = "segmentation_unet"
    kind = "U-Net for semantic segmentation"
    task = SemanticSegmentation()
    arithmetic = "convolutions"
    convolutional = True
    components = (
        "encoder decoder unet unet_encoder unet_decoder skip_connection conv_block "
        "segmentation_head"
    )
    traits = {
        "base_channels": dim("base_channels", "d_model"),
        "growth": Trait(
            "ffn / d_model", lambda m: m["max_channels"] / m["base_channels"], level=True
        ),
    }
    rules = (
        halves("image_height"),
        halves("image_width"),
        Rule(
            ("n_levels",),
            lambda m: m["n_levels"] > 1,
            "a U-Net joins a level to a coarser one, so n_levels is at least 2",
        ),
    )
    proxy_dims = {"base_channels": 16, "max_channels": 64, "n_levels": 3}

    def parts(self, m: Dims) -> list[Part]:
        """Return every convolution, in the order in which they run."""
        return [parts.conv(*each) for each in convolutions(m)]

    def bytes_read(self, m: Dims) -> float:
        """Return the bytes of all weights and of the features that all convolutions read."""
        features = sum(inputs * pixels for inputs, _, _, pixels in convolutions(m))
        return float(self.weight_bytes(m) + HALF * features)

    def peaks(self, m: Dims) -> list[Peak]:
        """Return the finest level of the way up, and the end.

        The level holds the features beside (w), those joined (2w), a convolution's result and its
        rectified copy (w each), and the coarser features that came up. The end holds the features,
        the logits, and the number of each pixel's likeliest class.
        """
        w, classes = widths(m), int(m["num_classes"])
        area, coarser = pixels(m, 0), pixels(m, 1)
        level = 5 * w[0] * area + w[1] * coarser
        end = (w[0] + classes + CLASS_NUMBER) * area
        return [
            Peak(level, f"the finest level, 5 x {w[0]} x {area:,} + {w[1]} x {coarser:,} numbers"),
            Peak(
                end,
                f"the classes, ({w[0]} + {classes} + {CLASS_NUMBER} for a class's number) x "
                f"{area:,}, at {m['image_height']} x {m['image_width']} pixels",
            ),
        ]

    def levels(self, table: list[Row]) -> dict[str, float]:
        return {"n_levels": statistics.median(float(row["n_layers"]) for row in table)}

    def fit(self, published: bytes, budget: int) -> Trend:
        trend = super().fit(published, budget)
        growth = trend.lines["growth"]
        wider = replace(growth, spread=max(growth.spread, GROWTH_SPREAD))
        return replace(trend, lines={**trend.lines, "growth": wider})

    def axes(self, need: Need, trend: Trend) -> tuple[Axis, ...]:
        budget, most = need.budget, int(trend.levels["n_levels"])
        return (
            *self.usual(),
            Axis("image_width", lambda m: (m["image_height"],)),
            Axis("n_levels", lambda m: (_levels(m, most),), grid=True),
            Axis("base_channels", lambda m: self._bases(m, budget), grid=True),
            Axis("max_channels", lambda m: (self._cap(m, budget),), fills=True),
        )

    def _bases(self, m: Dims, budget: int) -> list[int]:
        """Return the channels of the first level with which the budget can be filled.

        They go from the most with which every level can double them, up to three halves of it.
        """

        def count(base: int) -> int:
            design = {**m, "base_channels": base}
            return self.count({**design, "max_channels": doubled(design)})

        power = 1
        while count(2 * power) <= budget:
            power *= 2
        step = max(1, min(WIDTH_STEP, power // 4))
        least = most_within(range(power, 2 * power, step), count, budget)
        return list(range(least, max(3 * least // 2, least + 1) + step, step))

    def _cap(self, m: Dims, budget: int) -> int:
        """Return the largest cap, in its steps, that keeps the count within the budget."""
        step = cap_step(m)
        caps = range(int(m["base_channels"]) // step * step, doubled(m) + 1, step)
        return most_within(caps, lambda cap: self.count({**m, "max_channels": cap}), budget)

    def reasons(self, m: Dims, need: Need, trend: Trend) -> dict[str, str]:
        uncapped = m["max_channels"] == doubled(m)
        growth = "every level doubles the channels" if uncapped else "the cap"
        return {
            **super().reasons(m, need, trend),
            "max_channels": f"{growth}; channels go {', '.join(map(str, widths(m)))}, the most "
            f"within the parameter count in steps of {cap_step(m)}",
            "n_levels": f"the median of published U-Nets is {trend.levels['n_levels']:g}; "
            f"{m['image_height']} x {m['image_width']} pixels halve evenly "
            f"{int(m['n_levels']) - 1} times",
        }

    def proxy(self, m: Dims) -> dict[str, Value]:
        classes = max(int(m["num_classes"]), BUNDLED_CLASSES)
        return {**super().proxy(m), "num_classes": classes}

    def changes(self, m: Dims) -> Iterable[tuple[str, str, Value]]:
        base, levels = int(m["base_channels"]), int(m["n_levels"])
        return (
            ("half the channels of the first level", "base_channels", max(1, base // 2)),
            ("channels that double on every level", "max_channels", doubled(m)),
            ("channels that stop after three doublings", "max_channels", base * 2**3),
            ("one level fewer", "n_levels", max(1, levels - 1)),
        )

    def figures(self, m: Dims) -> Figures:
        return {
            "channels": (", ".join(f"{width:,}" for width in widths(m)), ""),
            "halvings": (int(m["n_levels"]) - 1, ""),
            "coarsest_pixel": (2 ** (int(m["n_levels"]) - 1), "pixels"),
        }


def widths(m: Dims) -> list[int]:
    """Return the channels of each level, from the finest: doubled up to `max_channels`."""
    base, cap = int(m["base_channels"]), int(m["max_channels"])
    return [min(base * 2**level, cap) for level in range(int(m["n_levels"]))]


def doubled(m: Dims) -> int:
    """Return the channels of the coarsest level if every level doubles them."""
    return int(m["base_channels"] * 2 ** (m["n_levels"] - 1))


def pixels(m: Dims, level: int) -> int:
    """Return the pixels of a level: H * W / 4**level."""
    return int(m["image_height"] * m["image_width"]) >> (2 * level)


def convolutions(m: Dims) -> Iterator[tuple[int, int, int, int]]:
    """Yield inputs, outputs, side of the kernel and pixels that are read, for each convolution.

    All but the up-convolutions give as many pixels as they read. An up-convolution makes four
    pixels of each by a kernel of 2 x 2, so it uses all its weights at each pixel that it reads.
    """
    w, areas = widths(m), [pixels(m, level) for level in range(int(m["n_levels"]))]
    for before, now, area in zip([int(m["in_channels"]), *w], w, areas, strict=False):
        yield before, now, 3, area
        yield now, now, 3, area
    finer = reversed(list(zip(w, areas, strict=True)))
    for (below, coarser), (now, area) in itertools.pairwise(finer):
        yield below, now, 2, coarser
        yield 2 * now, now, 3, area
        yield now, now, 3, area
    yield w[0], int(m["num_classes"]), 1, areas[0]


def most_within(values: range, count: Callable[[int], int], budget: int) -> int:
    """Return the last value whose count is within the budget, or the first; counts ascend."""
    return values[max(0, bisect.bisect_right(values, budget, key=count) - 1)]


def cap_step(m: Dims) -> int:
    """Return what `max_channels` is a multiple of."""
    return max(1, min(CAP_STEP, floor_power(m["base_channels"]) // 8))


def _levels(m: Dims, most: int) -> int:
    """Return the usual number of levels, or as many as the image can be halved for, at least 2."""
    sides = (m["image_height"], m["image_width"])
    fitting = (n for n in range(most, 2, -1) if not any(side % 2 ** (n - 1) for side in sides))
    return next(fitting, 2)


FAMILY = SegmentationUNet()
