"""Panoptic segmentation: of each pixel its class, and of things also which one it belongs to.

The full model trains as Mask R-CNN does.
"""

from __future__ import annotations

from metagen.tasks.instance_segmentation import InstanceSegmentation
from metagen.tasks.objects import BUNDLED_CLASSES, PACKAGES
from metagen.tasks.task import Benchmark, Dims, Lookup, Section

COCO_STUFF = 53
BUNDLED_STUFF = 3
LEAST_SCORE = 0.5  # A thing counts from this score on, as in detectron2.
SHORT_SCORE = 0.3  # After a short training few scores are high; chosen on validation scenes.
LEAST_SHARE = 256  # Stuff counts from 4,096 of 1024 x 1024 pixels on, as in detectron2.


class PanopticSegmentation(InstanceSegmentation):
    """From an image (B, C, height, width) to things with masks, and the stuff of each place."""

    name = "panoptic_segmentation"
    metrics = ("pq", "sq", "rq", "pq_things", "pq_stuff")
    benchmark = Benchmark(
        "digits on two textures",
        {"quick": 360, "full": 6000},
        PACKAGES,
        seeds=1,
        sheets=("digits_on_two_textures",),
    )
    words = {
        **InstanceSegmentation.words,
        "does": "writes the class of each pixel of an image, and draws it",
        "data": "digits composed on photographs of textures",
        "outcome": "Scenes of the test split, with their true segments and those of the proxy.",
        "risks": "how results carry over to other cameras, places or people, small and hidden "
        "objects, and bias",
    }
    undeclared = "mirrored alone, as Panoptic FPN"
    proxy = {
        **InstanceSegmentation.proxy,
        "num_classes": BUNDLED_CLASSES,
        "num_stuff": BUNDLED_STUFF,
    }
    defaults = {**InstanceSegmentation.defaults, "num_stuff": COCO_STUFF}
    default_reasons = {
        **InstanceSegmentation.default_reasons,
        "num_classes": "none is declared: the 80 classes of things of COCO",
        "num_stuff": f"the {COCO_STUFF} classes of stuff of COCO; architecture.dims pins others",
    }

    def eval(self, m: Dims, key: Lookup, *, reduced: bool) -> Section:
        return {**super().eval(m, key, reduced=reduced), **merging(m, reduced)}

    def infer(self, m: Dims, key: Lookup, *, reduced: bool) -> Section:
        return {**merging(m, reduced), "opacity": 0.5, "weight_bits": 16}


def merging(m: Dims, reduced: bool) -> Section:
    """Return the settings by which things and stuff become one map."""
    pixels = int(m["image_height"] * m["image_width"])
    least = SHORT_SCORE if reduced else LEAST_SCORE
    return {"least_score": least, "least_area": max(1, pixels // LEAST_SHARE)}
