"""YOLOX, an anchor-free one-stage detector (Ge et al., 2021, arXiv:2107.08430)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from metagen.families.axes import Axis, Rule, floor_power, near
from metagen.families.demand import Need
from metagen.families.family import Dims, Family, Figures, Peak, Trait, Value, dim
from metagen.families.parts import Part, conv, conv_norm
from metagen.families.segmentation_unet import most_within
from metagen.families.trend import Row, Trend
from metagen.tasks.object_detection import ObjectDetection

STRIDE = 32  # pixels between two places of the coarsest grid
LEVELS = (8, 16, 32)  # pixels between two places of each grid
HEAD_SHARE = 4  # channels of the head for each of the stem, in all published models
# All published models have the same ratio, so that their own spread is 0; a smaller one than this
# would forbid a head that takes what is left of the budget.
HEAD_SPREAD = 0.2
WIDTH_STEP = 8  # channels; tensor cores take multiples of 8 at full speed
BOX = 5  # numbers of a prediction beside the classes: four sides, and whether there is an object


class Yolox(Family):
    """CSPDarknet, a path aggregation network, and a decoupled head on three grids."""

    name = "yolox"
    kind = "one-stage detector"
    task = ObjectDetection()
    arithmetic = "convolutions"
    convolutional = True
    components = (
        "cnn backbone csp_darknet darknet fpn pafpn neck feature_pyramid detection_head head "
        "decoupled_head anchor_free convolutional_backbone"
    )
    traits = {
        "width": dim("width", "d_model"),
        "depth": dim("depth", "n_layers"),
        "head": Trait(
            "head_channels / d_model", lambda m: m["head_channels"] / m["width"], level=True
        ),
    }
    rules = tuple(
        Rule(
            (side,),
            lambda m, side=side: m[side] % STRIDE == 0,  # type: ignore[misc]
            f"the coarsest grid has a place each {STRIDE} pixels, so {side} must be a multiple "
            f"of {STRIDE}",
        )
        for side in ("image_height", "image_width")
    )
    constants = {"depthwise": (False, "3 x 3 convolutions are whole in all but YOLOX-Nano")}
    proxy_dims = {"width": 8, "depth": 1, "head_channels": 32}

    def parts(self, m: Dims) -> list[Part]:
        """Return every convolution, in the order in which they run."""
        return [*backbone(m), *neck(m), *heads(m)]

    def peaks(self, m: Dims) -> list[Peak]:
        """Return the stem, and the predictions, which are many if the classes are.

        The stem holds the image, the convolution's result, the normalized copy and the activation's
        result; the stages hold less, since each halves the sides. The predictions are held for each
        grid, joined, and once more with boxes in pixels.
        """
        image = int(m["num_channels"] * m["image_height"] * m["image_width"])
        stem = int(m["width"]) * area(m, 2)
        outputs = int(m["num_classes"] + BOX) * sum(area(m, stride) for stride in LEVELS)
        return [
            Peak(image + 3 * stem, f"the image's {image:,} numbers and 3 x the stem's {stem:,}"),
            Peak(3 * outputs, f"3 x the {outputs:,} numbers that are predicted"),
        ]

    def rows(self, published: bytes) -> list[Row]:
        """Return the models of whole convolutions; Nano's split ones follow another trend."""
        return [row for row in super().rows(published) if row["depthwise"] == "0"]

    def fit(self, published: bytes, budget: int) -> Trend:
        trend = super().fit(published, budget)
        head = replace(trend.lines["head"], spread=HEAD_SPREAD)
        return replace(trend, lines={**trend.lines, "head": head})

    def axes(self, need: Need, trend: Trend) -> tuple[Axis, ...]:
        budget = need.budget
        depth, width = (trend.lines[name].at(budget) for name in ("depth", "width"))
        return (
            *self.usual(),
            Axis("depth", lambda m: near(max(1, depth), 1), grid=True),
            Axis("width", lambda m: self._widths(m, budget, width), grid=True),
            Axis("head_channels", lambda m: (self._head(m, budget),), fills=True),
        )

    def _widths(self, m: Dims, budget: int, centre: float) -> range:
        """Return round channels around the trend; for a very small budget, below it."""
        step = max(1, min(WIDTH_STEP, floor_power(centre) // 8))
        return self.within(
            budget, near(centre, step), lambda width: {**m, "width": width, "head_channels": 1}
        )

    def _head(self, m: Dims, budget: int) -> int:
        """Return the most channels of the head, in its steps, that the budget allows."""
        step = head_step(m)
        most = range(step, 4 * HEAD_SHARE * int(m["width"]) + step, step)
        return most_within(most, lambda c: self.count({**m, "head_channels": c}), budget)

    def reasons(self, m: Dims, need: Need, trend: Trend) -> dict[str, str]:
        return {
            **super().reasons(m, need, trend),
            "head_channels": f"the most within the parameter count in steps of {head_step(m)}; "
            f"published models have {HEAD_SHARE} for each channel of the stem",
        }

    def changes(self, m: Dims) -> Iterable[tuple[str, str, Value]]:
        width = int(m["width"])
        return (
            ("half the channels of the stem", "width", max(1, width // 2)),
            ("twice the bottlenecks", "depth", 2 * m["depth"]),
            ("the published channels of the head", "head_channels", HEAD_SHARE * width),
            ("depthwise convolutions", "depthwise", True),
            ("full convolutions", "depthwise", False),
        )

    def figures(self, m: Dims) -> Figures:
        places = [area(m, stride) for stride in LEVELS]
        return {
            "places": (sum(places), ""),
            "grids": (", ".join(f"{each:,}" for each in places), ""),
            "features": (16 * int(m["width"]), ""),
        }


def area(m: Dims, stride: int) -> int:
    """Return the places of a grid: one for each square of `stride` pixels a side."""
    return int(m["image_height"] // stride * (m["image_width"] // stride))


def spatial(m: Dims, inputs: int, outputs: int, places: int) -> Iterator[Part]:
    """Yield a 3 x 3 convolution, or a depthwise one and a 1 x 1 convolution after it."""
    if m["depthwise"]:
        # Each channel is read by itself, so its kernel has one input.
        yield conv_norm(1, inputs, 3, places)
        yield conv_norm(inputs, outputs, 1, places)
    else:
        yield conv_norm(inputs, outputs, 3, places)


def cross_stage(m: Dims, inputs: int, outputs: int, depth: int, places: int) -> Iterator[Part]:
    """Yield the parts of bottlenecks on half of the channels, beside a shortcut."""
    half = outputs // 2
    yield conv_norm(inputs, half, 1, places) * 2
    yield conv_norm(half, half, 1, places) * depth
    for part in spatial(m, half, half, places):
        yield part * depth
    yield conv_norm(2 * half, outputs, 1, places)


def backbone(m: Dims) -> Iterator[Part]:
    """Yield the stem, which reads 2 x 2 pixels as channels, and the four stages."""
    w, depth = int(m["width"]), int(m["depth"])
    yield conv_norm(4 * m["num_channels"], w, 3, area(m, 2))
    for stage, times in enumerate((1, 3, 3, 1)):
        inputs, places = w * 2**stage, area(m, 4 * 2**stage)
        yield from spatial(m, inputs, 2 * inputs, places)
        if stage == 3:
            yield conv_norm(2 * inputs, inputs, 1, places)
            yield conv_norm(4 * inputs, 2 * inputs, 1, places)
        yield from cross_stage(m, 2 * inputs, 2 * inputs, times * depth, places)


def neck(m: Dims) -> Iterator[Part]:
    """Yield the way from coarse to fine features, and back."""
    w, depth = int(m["width"]), int(m["depth"])
    fine, middle, coarse = (area(m, stride) for stride in LEVELS)
    yield conv_norm(16 * w, 8 * w, 1, coarse)
    yield from cross_stage(m, 16 * w, 8 * w, depth, middle)
    yield conv_norm(8 * w, 4 * w, 1, middle)
    yield from cross_stage(m, 8 * w, 4 * w, depth, fine)
    yield from spatial(m, 4 * w, 4 * w, middle)
    yield from cross_stage(m, 8 * w, 8 * w, depth, middle)
    yield from spatial(m, 8 * w, 8 * w, coarse)
    yield from cross_stage(m, 16 * w, 16 * w, depth, coarse)


def heads(m: Dims) -> Iterator[Part]:
    """Yield the head of each grid: two branches of two convolutions, and the predictions."""
    w, channels = int(m["width"]), int(m["head_channels"])
    for times, stride in zip((4, 8, 16), LEVELS, strict=True):
        places = area(m, stride)
        yield conv_norm(times * w, channels, 1, places)
        for part in spatial(m, channels, channels, places):
            yield part * 4
        yield conv(channels, m["num_classes"] + BOX, 1, places)


def head_step(m: Dims) -> int:
    """Return what the channels of the head are a multiple of."""
    return max(1, min(WIDTH_STEP // 2, floor_power(m["width"]) // 8))


FAMILY = Yolox()
