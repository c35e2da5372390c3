"""Mask R-CNN over a ResNet with a feature pyramid (arXiv:1703.06870), in torchvision's form.

A pass reads one image with all its proposals and detections. Their numbers are the most that an
image has, and an image with fewer is computed with empty ones, so a pass has one count.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import NamedTuple

from metagen.families import residual
from metagen.families.axes import Axis, Rule, floor_power, near
from metagen.families.demand import Need
from metagen.families.family import Dims, Family, Figures, Peak, Trait, Value
from metagen.families.parts import Part, conv, conv_norm, linear
from metagen.families.residual import DEPTHS, depths, halved
from metagen.families.trend import Row, Trend, rows
from metagen.tasks.instance_segmentation import InstanceSegmentation

RATIOS = 3  # anchors of a place
BINS = 7  # a side, of a region that the box head reads
POINTS = 16  # places that a bin is a weighted sum of
NUMBER, WEIGHT = 4, 2  # numbers of 16 bits that a place's number and its weight take
IOU = 11  # numbers of 32 bits that the overlap of two boxes takes while it is computed
WIDTH_STEP = 8  # channels; tensor cores take multiples of 8 at full speed
GROUPED = frozenset({"resnext", "resnet_v2"})  # Other blocks and heads follow other counts.
OTHERS = ("depth_1", "depth_2", "depth_4")  # The third stage fills the budget.


class Level(NamedTuple):
    """Features of one resolution."""

    channels: int
    height: int
    width: int

    @property
    def places(self) -> int:
        return self.height * self.width


class MaskRCNN(Family):
    """A backbone, a pyramid, a network of proposals, and heads for boxes and for masks."""

    name = "mask_rcnn"
    kind = "Mask R-CNN for instance segmentation"
    task = InstanceSegmentation()
    arithmetic = "convolutions"
    convolutional = True
    components = (
        "cnn convolutional_backbone backbone resnet bottleneck stem fpn feature_pyramid neck rpn "
        "region_proposal_network roi_align roi_head box_head mask_head segmentation_head"
    )
    traits = {
        "width": residual.width_of_stages(),
        **{name: residual.depth_of(place) for place, name in enumerate(DEPTHS)},
        "pyramid": Trait(
            lambda row: float(row["fpn"]) / residual.width_of_stages().published(row),
            lambda m: m["fpn_channels"] / m["width"],
            level=True,
        ),
        "hidden": Trait("d_hidden / fpn", lambda m: m["d_hidden"] / m["fpn_channels"], level=True),
    }
    rules = (
        Rule(
            ("mask_resolution",),
            lambda m: m["mask_resolution"] % 2 == 0,
            "the mask head doubles the side of what it reads, so mask_resolution is even",
        ),
        Rule(
            ("num_sampled",),
            lambda m: m["num_sampled"] >= 4,
            "a quarter of the sampled regions may be objects, so num_sampled is at least 4",
        ),
    )
    constants = {
        "mask_depth": (4, "as in Mask R-CNN, arXiv:1703.06870, figure 4"),
        "mask_resolution": (28, "as in Mask R-CNN, arXiv:1703.06870, figure 4"),
        "anchor_size": (32, "as in feature pyramids, arXiv:1612.03144, section 4.1"),
        "num_proposals": (1000, "as in Mask R-CNN, arXiv:1703.06870, section 3.1"),
        "num_sampled": (512, "as in Mask R-CNN, arXiv:1703.06870, section 3.1"),
        "num_detections": (100, "as in Mask R-CNN, arXiv:1703.06870, section 3.1"),
        "frozen_norm": (False, "the backbone starts from random weights, so its norms are trained"),
    }
    fixed_by = {"mask_resolution": "task.mask_resolution"}
    multiples: Mapping[str, str] = {"d_hidden": "hidden"}
    """The trait by which a dimension is a multiple of the pyramid's channels."""
    # Anchors are about as large as the bundled digits: larger ones contain a digit in many places,
    # all overlap it alike and little, and none tells the proposals where it is.
    proxy_dims = {
        "width": 8,
        **dict.fromkeys(DEPTHS, 1),
        "fpn_channels": 32,
        "d_hidden": 128,
        "mask_depth": 2,
        "mask_resolution": 14,
        "anchor_size": 16,
        "num_proposals": 30,
        "num_sampled": 64,
        "num_detections": 20,
    }

    def parts(self, m: Dims) -> list[Part]:
        """Return the layers in order; the heads' places are those of all regions of an image."""
        classes, channels, hidden = m["num_classes"] + 1, m["fpn_channels"], m["d_hidden"]
        levels, regions = pyramid(m), proposals(m)
        places = sum(level.places for level in levels)
        pooled = detections(m) * (int(m["mask_resolution"]) // 2) ** 2
        backbone = frozen if m["frozen_norm"] else conv_norm
        return [
            *residual.convolutions(m, backbone),
            *(conv(inputs, channels, 1, height * width) for inputs, height, width in stages(m)),
            *(conv(channels, channels, 3, level.places) for level in levels[:-1]),
            conv(channels, channels, 3, places),
            conv(channels, RATIOS, 1, places),
            conv(channels, 4 * RATIOS, 1, places),
            linear(channels * BINS**2, hidden, regions),
            linear(hidden, hidden, regions),
            linear(hidden, 5 * classes, regions),
            conv(channels, channels, 3, pooled) * m["mask_depth"],
            conv(channels, channels, 2, pooled),
            conv(channels, classes, 1, 4 * pooled),
        ]

    def peaks(self, m: Dims) -> list[Peak]:
        """Return those of the backbone and of the heads, which read the pyramid as a table.

        The box head holds the regions' features as they are read and in its layer's order; the
        mask head its up-convolution's result and the rectified copy.
        """
        return [*residual.peaks(m), *self.region_peaks(m)]

    def region_peaks(self, m: Dims) -> list[Peak]:
        """Return those of the heads."""
        channels, fine = int(m["fpn_channels"]), pyramid(m)[:-1]
        table = channels * sum(level.places for level in fine)
        bins, pixels = proposals(m) * BINS**2, detections(m) * int(m["mask_resolution"]) ** 2
        boxes = table + bins * (channels + max(channels, POINTS * (NUMBER + WEIGHT)))
        masks = table + pixels * channels * 9 // 4
        pairs = table + 2 * IOU * proposals(m) ** 2
        return [
            Peak(boxes, f"the pyramid and {bins:,} bins of proposals, {boxes:,}"),
            Peak(pairs, f"the pyramid and all pairs of {proposals(m):,} proposals, {pairs:,}"),
            Peak(masks, f"the pyramid and {pixels:,} pixels of masks, {masks:,}"),
        ]

    def rows(self, published: bytes) -> list[Row]:
        """Return the models of plain bottleneck blocks and of the original heads."""
        return [row for row in rows(published) if row["arch"] not in GROUPED]

    def fit(self, published: bytes, budget: int) -> Trend:
        """Fit each trait; beyond the largest published model it stays as it is there."""
        trend = super().fit(published, budget)
        largest = max(float(row[self.size_column]) for row in self.rows(published))
        if budget <= largest:
            return trend
        level = {
            name: replace(line, slope=0.0, intercept=math.log(line.at(largest)))
            for name, line in trend.lines.items()
        }
        return replace(trend, lines=level)

    def levels(self, table: list[Row]) -> dict[str, float]:
        return {
            name: max(float(row["n_layers"].split("-")[place]) for row in table)
            for place, name in enumerate(DEPTHS)
        }

    def axes(self, need: Need, trend: Trend) -> tuple[Axis, ...]:
        budget = need.budget
        pyramid = trend.lines["pyramid"].at(budget)
        return (
            *self.usual(),
            Axis("image_width", lambda m: (m["image_height"],)),
            Axis("width", lambda m: self._widths(m, budget, trend), grid=True),
            *(residual.depth_axis(name, trend, budget) for name in OTHERS),
            Axis("fpn_channels", lambda m: (round(pyramid * m["width"]),)),
            *(self._multiple(name, trend, budget) for name in self.multiples),
            Axis("depth_3", lambda m: (self.fill(m, "depth_3", 1, budget),), fills=True),
        )

    def _multiple(self, name: str, trend: Trend, budget: int) -> Axis:
        times = trend.lines[self.multiples[name]].at(budget)
        return Axis(name, lambda m: (round(times * m["fpn_channels"]),))

    def _widths(self, m: Dims, budget: int, trend: Trend) -> range:
        """Return round channels around the trend, or around what fills the budget.

        Published models differ in depth alone: beyond the deepest of them, the channels grow; below
        the smallest, they shrink.
        """

        def design(width: int, blocks: Dims) -> Dims:
            channels = round(trend.lines["pyramid"].at(budget) * width)
            heads = {
                name: round(trend.lines[trait].at(budget) * channels)
                for name, trait in self.multiples.items()
            }
            return {"fpn_channels": channels, **heads, **blocks, **m, "width": width}

        centre = trend.lines["width"].at(budget)
        deepest = {name: int(trend.levels[name]) for name in DEPTHS}
        while self.count(design(round(centre), deepest)) < budget:
            centre *= 1.25
        step = max(min(WIDTH_STEP, floor_power(centre / 8)), floor_power(centre) // 16)
        least = dict.fromkeys(DEPTHS, 1)
        return self.within(budget, near(centre, step), lambda width: design(width, least))

    def reasons(self, m: Dims, need: Need, trend: Trend) -> dict[str, str]:
        size = self.count(m)
        usual_third = trend.lines["depth_3"].at(size)
        multiples = {
            name: f"{trend.lines[trait].at(size):g} times the pyramid's channels, as in published "
            "models"
            for name, trait in self.multiples.items()
        }
        return {
            **super().reasons(m, need, trend),
            "fpn_channels": f"{trend.lines['pyramid'].at(size):g} times the width, as in published "
            "models",
            **multiples,
            "depth_3": f"the most blocks within the parameter count; the trend gives "
            f"{usual_third:.1f} of {sum(depths(m))} in all",
        }

    def changes(self, m: Dims) -> Iterable[tuple[str, str, Value]]:
        return (
            ("half the width", "width", max(1, m["width"] // 2)),
            ("half the third stage", "depth_3", max(1, m["depth_3"] // 2)),
            ("half the channels of the pyramid", "fpn_channels", max(1, m["fpn_channels"] // 2)),
            ("half the units of the box head", "d_hidden", max(1, m["d_hidden"] // 2)),
            ("two convolutions of the mask head", "mask_depth", 2),
        )

    def figures(self, m: Dims) -> Figures:
        levels = pyramid(m)
        return {
            "blocks": (sum(depths(m)), ""),
            "depths": (", ".join(map(str, depths(m))), ""),
            "anchors": (RATIOS * sum(level.places for level in levels), ""),
            "largest_anchor": (int(m["anchor_size"]) * 2 ** (len(levels) - 1), "pixels"),
            "pooled": (int(m["mask_resolution"]) // 2, ""),
            "outputs": (int(m["num_classes"]) + 1, ""),
            "training_proposals": (2 * int(m["num_proposals"]), ""),
        }


def frozen(inputs: float, outputs: float, kernel: float, places: float) -> Part:
    """Return a convolution with a normalization that never changes: four numbers of a channel."""
    return Part(int(inputs * outputs * kernel**2), 0, int(places), state=4 * int(outputs))


def stages(m: Dims) -> list[tuple[int, int, int]]:
    """Return channels, height and width of the backbone's features."""
    return residual.maps(m)


def pyramid(m: Dims) -> list[Level]:
    """Return the levels of the pyramid; the coarsest has every second place of the one before."""
    channels = int(m["fpn_channels"])
    levels = [Level(channels, height, width) for _, height, width in stages(m)]
    return [*levels, Level(channels, halved(levels[-1].height), halved(levels[-1].width))]


def proposals(m: Dims) -> int:
    """Return the proposals of an image: the most, or as many as all levels have."""
    most = int(m["num_proposals"])
    return min(most, sum(min(most, RATIOS * level.places) for level in pyramid(m)))


def detections(m: Dims) -> int:
    """Return the detections of an image: the most, or as many pairs of a proposal and a class."""
    pairs = min(int(m["num_proposals"]), proposals(m) * int(m["num_classes"]))
    return min(int(m["num_detections"]), pairs)


FAMILY = MaskRCNN()
