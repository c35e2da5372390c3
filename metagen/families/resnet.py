"""The residual network of bottleneck blocks as an image classifier (arXiv:1512.03385)."""

from __future__ import annotations

from collections.abc import Iterable

from metagen.families.axes import Axis, floor_power, near
from metagen.families.demand import Need
from metagen.families.family import Dims, Family, Figures, Peak, Trait, Value
from metagen.families.parts import Part, conv_norm, linear
from metagen.families.trend import Row, Trend, rows
from metagen.tasks.image_classification import ImageClassification

STAGES = (1, 2, 3, 4)
DEPTHS = tuple(f"depth_{stage}" for stage in STAGES)
EXPANSION = 4  # A block's output has four times its inner channels.
KERNEL = 7  # pixels a side of the stem's convolution
BASIC = frozenset({"resnet18"})  # Blocks of two convolutions follow another trend.
FEWEST = 2  # Depths of 1 to 3 are tried where the trend gives less than two blocks.
WIDTH_STEP = 8  # channels; tensor cores take multiples of 8 at full speed


def depth_of(place: int) -> Trait:
    """Return the blocks of a stage, which a row writes with those of the others as `3-4-6-3`."""
    return Trait(
        lambda row: float(row["n_layers"].split("-")[place]), lambda m: float(m[DEPTHS[place]])
    )


class ResNet(Family):
    """A stem, four stages of bottleneck blocks that halve the image, and a linear layer."""

    name = "resnet"
    kind = "residual network for image classification"
    task = ImageClassification()
    arithmetic = "convolutions"
    convolutional = True
    components = "cnn convolutional_backbone backbone resnet bottleneck stem classifier"
    traits = {
        "width": Trait(
            lambda row: float(row["d_model"]) / (EXPANSION * 2 ** (len(STAGES) - 1)),
            lambda m: float(m["width"]),
        ),
        **{name: depth_of(place) for place, name in enumerate(DEPTHS)},
    }
    # The 8 x 8 digits are scaled up to 32 x 32: the network halves an image five times.
    proxy_dims = {"image_height": 32, "image_width": 32, "width": 8, **dict.fromkeys(DEPTHS, 1)}

    def parts(self, m: Dims) -> list[Part]:
        """Return every convolution with its normalization, in order, and the classifier.

        The first block of a stage has a fourth convolution, its shortcut; the 3 x 3 convolution of
        the first block of each stage but the first halves height and width.
        """
        inputs, (height, width) = int(m["width"]), quartered(m)
        stem = halved(m["image_height"]) * halved(m["image_width"])
        layers = [conv_norm(m["num_channels"], inputs, KERNEL, stem)]
        for stage, depth in zip(STAGES, depths(m), strict=True):
            inner, before = int(m["width"]) * 2 ** (stage - 1), height * width
            if stage > 1:
                height, width = halved(height), halved(width)
            outputs, places = EXPANSION * inner, height * width
            layers += [
                conv_norm(inputs, inner, 1, before),
                conv_norm(inputs, outputs, 1, places),
                conv_norm(outputs, inner, 1, places) * (depth - 1),
                conv_norm(inner, inner, 3, places) * depth,
                conv_norm(inner, outputs, 1, places) * depth,
            ]
            inputs = outputs
        return [*layers, linear(inputs, m["num_classes"])]

    def peaks(self, m: Dims) -> list[Peak]:
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

    def rows(self, published: bytes) -> list[Row]:
        """Return the bottleneck networks, with Big Transfer's wider ones (arXiv:1912.11370)."""
        return [row for row in rows(published) if row["arch"] not in BASIC]

    def axes(self, need: Need, trend: Trend) -> tuple[Axis, ...]:
        budget = need.budget

        def depth(name: str) -> Axis:
            centre = max(FEWEST, trend.lines[name].at(budget))
            return Axis(name, lambda m: near(centre, max(1, floor_power(centre) // 8)), grid=True)

        centre = trend.lines["width"].at(budget)
        return (
            *self.usual(),
            Axis("width", lambda m: self._widths(m, budget, centre), grid=True),
            *map(depth, ("depth_1", "depth_2", "depth_4")),
            Axis("depth_3", lambda m: (self.fill(m, "depth_3", 1, budget),), fills=True),
        )

    def _widths(self, m: Dims, budget: int, centre: float) -> range:
        """Return round channels around the trend; for a very small budget, below it."""
        step = max(min(WIDTH_STEP, floor_power(centre / 8)), floor_power(centre) // 16)
        least = {**m, **dict.fromkeys(DEPTHS, 1)}
        return self.within(budget, near(centre, step), lambda width: {**least, "width": width})

    def reasons(self, m: Dims, need: Need, trend: Trend) -> dict[str, str]:
        usual_third = trend.lines["depth_3"].at(self.count(m))
        return {
            **super().reasons(m, need, trend),
            "depth_3": f"the most blocks within the parameter count; the trend gives "
            f"{usual_third:.1f} of {sum(depths(m))} in all",
        }

    def changes(self, m: Dims) -> Iterable[tuple[str, str, Value]]:
        return (
            ("twice the width", "width", 2 * m["width"]),
            ("half the width", "width", max(1, m["width"] // 2)),
            ("half the third stage", "depth_3", max(1, m["depth_3"] // 2)),
            ("twice the second stage", "depth_2", 2 * m["depth_2"]),
        )

    def figures(self, m: Dims) -> Figures:
        """Return depth and channels as the authors count them: layers are those with weights."""
        return {
            "layers": (3 * sum(depths(m)) + 2, ""),
            "blocks": (sum(depths(m)), ""),
            "depths": (", ".join(map(str, depths(m))), ""),
            "features": (int(EXPANSION * 2 ** (len(STAGES) - 1) * m["width"]), ""),
        }


def depths(m: Dims) -> list[int]:
    """Return the blocks of each stage."""
    return [int(m[name]) for name in DEPTHS]


def quartered(m: Dims) -> tuple[int, int]:
    """Return height and width after the stem's convolution and its pooling, each of stride 2."""
    return halved(halved(m["image_height"])), halved(halved(m["image_width"]))


def halved(side: Value) -> int:
    """Return half a side, rounded up."""
    return -(-int(side) // 2)


FAMILY = ResNet()
