"""The backbone of bottleneck blocks (arXiv:1512.03385), which several families begin with."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from metagen.families.axes import Axis, floor_power, near
from metagen.families.family import Dims, Peak, Trait, Value
from metagen.families.parts import Part
from metagen.families.trend import Trend

STAGES = (1, 2, 3, 4)
DEPTHS = tuple(f"depth_{stage}" for stage in STAGES)
EXPANSION = 4  # A block's output has four times its inner channels.
KERNEL = 7  # pixels a side of the stem's convolution
FEWEST = 2  # Depths of 1 to 3 are tried where the trend gives less than two blocks.

Norm = Callable[[float, float, float, float], Part]  # a convolution with its normalization


def width_of_stages() -> Trait:
    """Return the inner channels of the first stage; a row has the channels of the last output."""
    features = EXPANSION * 2 ** (len(STAGES) - 1)
    return Trait(lambda row: float(row["d_model"]) / features, lambda m: float(m["width"]))


def depth_of(place: int) -> Trait:
    """Return the blocks of a stage, which a row writes with those of the others as `3-4-6-3`."""
    return Trait(
        lambda row: float(row["n_layers"].split("-")[place]), lambda m: float(m[DEPTHS[place]])
    )


def depth_axis(name: str, trend: Trend, budget: int) -> Axis:
    """Return the axis of a stage's blocks around the trend at a size."""
    centre = max(FEWEST, trend.lines[name].at(budget))
    return Axis(name, lambda m: near(centre, max(1, floor_power(centre) // 8)), grid=True)


def depths(m: Dims) -> list[int]:
    """Return the blocks of each stage."""
    return [int(m[name]) for name in DEPTHS]


def maps(m: Dims) -> list[tuple[int, int, int]]:
    """Return channels, height and width of the features that each stage ends with."""
    height, width = quartered(m)
    found = []
    for stage in STAGES:
        if stage > 1:
            height, width = halved(height), halved(width)
        found.append((EXPANSION * int(m["width"]) * 2 ** (stage - 1), height, width))
    return found


def convolutions(m: Dims, norm: Norm) -> Iterator[Part]:
    """Yield every convolution with its normalization, in order.

    The first block of a stage has a fourth convolution, its shortcut; the 3 x 3 convolution of
    the first block of each stage but the first halves height and width.
    """
    inputs, (height, width) = int(m["width"]), quartered(m)
    stem = halved(m["image_height"]) * halved(m["image_width"])
    yield norm(m["num_channels"], inputs, KERNEL, stem)
    before = height * width
    for (outputs, height, width), depth in zip(maps(m), depths(m), strict=True):
        inner, places = outputs // EXPANSION, height * width
        yield norm(inputs, inner, 1, before)
        yield norm(inputs, outputs, 1, places)
        yield norm(outputs, inner, 1, places) * (depth - 1)
        yield norm(inner, inner, 3, places) * depth
        yield norm(inner, outputs, 1, places) * depth
        inputs, before = outputs, places


def peaks(m: Dims) -> list[Peak]:
    """Return the stem and the first stage, whose blocks hold more than any later one.

    The stem holds the image, its output and the normalized copy; a block its input, its output,
    the normalized copy and the shortcut, each as large as a block's output.
    """
    height, width = quartered(m)
    image = int(m["num_channels"] * m["image_height"] * m["image_width"])
    stem = image + 2 * int(m["width"]) * halved(m["image_height"]) * halved(m["image_width"])
    block = 4 * EXPANSION * int(m["width"]) * height * width
    return [
        Peak(stem, f"the stem's {stem:,} numbers"),
        Peak(block, f"four times a block's largest output, {block:,}"),
    ]


def quartered(m: Dims) -> tuple[int, int]:
    """Return height and width after the stem's convolution and its pooling, each of stride 2."""
    return halved(halved(m["image_height"])), halved(halved(m["image_width"]))


def halved(side: Value) -> int:
    """Return half a side, rounded up."""
    return -(-int(side) // 2)
