"""Panoptic FPN (Kirillov et al., 2019, arXiv:1901.02446): Mask R-CNN and a branch for stuff."""

from __future__ import annotations

from collections.abc import Iterable

from metagen.families import residual
from metagen.families.family import Dims, Figures, Peak, Trait, Value
from metagen.families.mask_rcnn import MaskRCNN, pyramid
from metagen.families.parts import Part, conv
from metagen.tasks.panoptic_segmentation import PanopticSegmentation

HELD = 3  # maps of the finest level that the branch holds at once


class PanopticFPN(MaskRCNN):
    """Mask R-CNN, and convolutions over the pyramid that tell the stuff of each pixel."""

    name = "panoptic_fpn"
    kind = "Panoptic FPN for panoptic segmentation"
    task = PanopticSegmentation()
    components = f"{MaskRCNN.components} semantic_branch semantic_head panoptic_head"
    traits = {
        **MaskRCNN.traits,
        "semantic": Trait(
            "semantic / fpn", lambda m: m["semantic_channels"] / m["fpn_channels"], level=True
        ),
    }
    multiples = {**MaskRCNN.multiples, "semantic_channels": "semantic"}
    proxy_dims = {**MaskRCNN.proxy_dims, "semantic_channels": 32}

    def parts(self, m: Dims) -> list[Part]:
        return [*super().parts(m), *branch(m)]

    def peaks(self, m: Dims) -> list[Peak]:
        """Return those of Mask R-CNN, whose heads run beside the logits of stuff, and the branch's.

        While it adds a level, the branch holds the sum so far, the level and the new sum.
        """
        finest = pyramid(m)[0].places
        logits = (int(m["num_stuff"]) + 1) * finest
        levels = sum(level.channels * level.places for level in pyramid(m))
        held = levels + HELD * int(m["semantic_channels"]) * finest
        beside = f"beside {logits:,} logits of stuff"
        return [
            *residual.peaks(m),
            Peak(held, f"the pyramid and {HELD} maps of the semantic branch, {held:,}"),
            *(Peak(p.numbers + logits, f"{p.words} {beside}") for p in self.region_peaks(m)),
        ]

    def changes(self, m: Dims) -> Iterable[tuple[str, str, Value]]:
        half = max(1, m["semantic_channels"] // 2)
        return (
            *super().changes(m),
            ("half the channels of the semantic branch", "semantic_channels", half),
        )

    def figures(self, m: Dims) -> Figures:
        return {**super().figures(m), "stuff_outputs": (int(m["num_stuff"]) + 1, "")}


def branch(m: Dims) -> list[Part]:
    """Return the semantic branch: as many convolutions of a level as it is coarser, or one."""
    channels, levels = m["semantic_channels"], pyramid(m)[:-1]
    parts = []
    for number, level in enumerate(levels):
        parts.append(grouped(level.channels, channels, level.places))
        parts += [grouped(channels, channels, levels[n].places) for n in range(1, number)]
    return [*parts, conv(channels, m["num_stuff"] + 1, 1, levels[0].places)]


def grouped(inputs: float, outputs: float, places: float) -> Part:
    """Return a 3 x 3 convolution with a group normalization: a gain and a bias of a channel."""
    return conv(inputs, outputs, 3, places, bias=False)._replace(others=2 * int(outputs))


FAMILY = PanopticFPN()
