"""The residual network of bottleneck blocks as an image classifier (arXiv:1512.03385)."""

from __future__ import annotations

from collections.abc import Iterable

from metagen.families import residual
from metagen.families.axes import Axis, floor_power, near
from metagen.families.demand import Need
from metagen.families.family import Dims, Family, Figures, Peak, Value
from metagen.families.parts import Part, conv_norm, linear
from metagen.families.residual import DEPTHS, EXPANSION, STAGES, depths
from metagen.families.trend import Row, Trend, rows
from metagen.tasks.image_classification import ImageClassification
from metagen.tasks.images import ImageTask

BASIC = frozenset({"resnet18"})  # Blocks of two convolutions follow another trend.
OTHERS = ("depth_1", "depth_2", "depth_4")  # The third stage fills the budget.
WIDTH_STEP = 8  # channels; tensor cores take multiples of 8 at full speed


class ResNet(Family):
    """A stem, four stages of bottleneck blocks that halve the image, and a linear layer."""

    name = "resnet"
    kind = "residual network for image classification"
    task: ImageTask = ImageClassification()
    arithmetic = "convolutions"
    convolutional = True
    components = "cnn convolutional_backbone backbone resnet bottleneck stem classifier"
    traits = {
        "width": residual.width_of_stages(),
        **{name: residual.depth_of(place) for place, name in enumerate(DEPTHS)},
    }
    # The 8 x 8 digits are scaled up to 32 x 32: the network halves an image five times.
    proxy_dims = {"image_height": 32, "image_width": 32, "width": 8, **dict.fromkeys(DEPTHS, 1)}

    def parts(self, m: Dims) -> list[Part]:
        features = EXPANSION * 2 ** (len(STAGES) - 1) * m["width"]
        return [*residual.convolutions(m, conv_norm), linear(features, self.outputs(m))]

    def outputs(self, m: Dims) -> Value:
        """Return the outputs of the last layer."""
        return m["num_classes"]

    def peaks(self, m: Dims) -> list[Peak]:
        return residual.peaks(m)

    def rows(self, published: bytes) -> list[Row]:
        """Return the bottleneck networks, with Big Transfer's wider ones (arXiv:1912.11370)."""
        return [row for row in rows(published) if row["arch"] not in BASIC]

    def axes(self, need: Need, trend: Trend) -> tuple[Axis, ...]:
        budget = need.budget
        centre = trend.lines["width"].at(budget)
        return (
            *self.usual(),
            Axis("width", lambda m: self._widths(m, budget, centre), grid=True),
            *(residual.depth_axis(name, trend, budget) for name in OTHERS),
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


FAMILY = ResNet()
