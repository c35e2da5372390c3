"""Instance segmentation: a class, a box and a mask for each object in an image.

The full model starts from random weights, so it trains six times as long as from a pretrained
backbone (He et al., 2018, arXiv:1811.08883).
"""

from __future__ import annotations

from metagen.tasks.augmentation import Augmentations
from metagen.tasks.objects import COCO_CLASSES, COCO_IMAGES, PACKAGES, ObjectsInImages
from metagen.tasks.schedule import Habits
from metagen.tasks.task import Benchmark, Dims, Lookup, Section

SIDE = 1024  # pixels; photographs of COCO are scaled to a shorter side of 800 and at most 1,333
RATE_PER_IMAGE = 1e-4 / 16  # AdamW's peak rate grows in proportion to the batch.
SGD_RATE_PER_IMAGE = 0.02 / 16
IMAGES_AT_ONCE = 2  # images of 1024 x 1024 pixels, or as many pixels in images of another size
AUGMENTATIONS = Augmentations(
    names={
        "horizontal_flip": ("flip", "mirror", "random_horizontal_flip"),
        "random_scale": ("scale", "zoom", "random_resize", "scale_jitter"),
    },
    usual=frozenset({"horizontal_flip"}),
    all=frozenset({"horizontal_flip", "random_scale"}),
    instead={},
    undone=frozenset({"copy_paste", "mosaic", "mixup", "color_jitter"}),
)


class InstanceSegmentation(ObjectsInImages):
    """From an image (B, C, height, width) to objects with classes, boxes and masks."""

    name = "instance_segmentation"
    # One seed, since the quick training takes most of a minute of one thread.
    metrics: tuple[str, ...] = ("map_mask", "ap_50", "ap_75", "map_box")
    benchmark = Benchmark(
        "digits on textures",
        {"quick": 360, "full": 6000},
        PACKAGES,
        seeds=1,
        sheets=("digits_on_textures",),
    )
    words = {
        "pipeline_tag": "image-segmentation",
        "unit": "image",
        "loss_unit": "nat/image",
        "usage": "--input photo.jpg",
        "does": "draws the mask of each object over an image",
        "data": "digits composed on photographs of textures",
        "outcome": "Scenes of the test split, with the true masks and those that the proxy finds.",
        "risks": "how results carry over to other cameras, places or people, small and hidden "
        "objects, and bias",
    }
    augmentations = AUGMENTATIONS
    zoom = 1.25  # random_scale: sizes from 0.8 to 1.25, about those of 640 to 800 pixels
    undeclared = "mirrored alone, as Mask R-CNN"
    defaults = {
        "image_height": SIDE,
        "num_channels": 3,
        "num_classes": COCO_CLASSES,
    }
    default_reasons = {
        "image_height": f"no constraints.image_size is declared: {SIDE} pixels",
        "image_width": "no constraints.image_size is declared: a square",
        "num_channels": "colours: red, green and blue",
        "num_classes": f"none is declared: the {COCO_CLASSES} of COCO",
    }

    def habits(self, m: Dims, parameters: int, key: Lookup) -> Habits:
        batch = key("training.config.batch_size") or 16
        pixels = m["image_height"] * m["image_width"]
        return Habits(
            batch=batch,
            rate=float(f"{RATE_PER_IMAGE * batch:.3g}"),
            decay=0.05,
            warmup=1000,
            source="as Swin's Mask R-CNN, arXiv:2103.14030",
            why={
                "learning_rate": "1e-4 for 16 images of an update, as Swin's Mask R-CNN, "
                "arXiv:2103.14030, in proportion to the batch",
                "epochs": "six times the usual 12, as arXiv:1811.08883 for random weights",
                "data": "those of COCO's train2017",
            },
            units=self.units,
            data=COCO_IMAGES,
            epochs=72,
            samples_at_once=max(1, int(IMAGES_AT_ONCE * SIDE**2 // pixels)),
            at_once=f"{IMAGES_AT_ONCE} images of {SIDE} x {SIDE} pixels, or as many pixels in "
            "images of another size,",
            final_lr_share=0.01,
            sgd=(
                float(f"{SGD_RATE_PER_IMAGE * batch:.3g}"),
                "0.02 for 16 images of an update, as Mask R-CNN, in proportion to the batch",
            ),
        )

    def proxy_habits(self, m: Dims) -> Habits:
        return Habits(batch=4, rate=3e-3, decay=0.01, warmup=20, beta2=0.99, final_lr_share=0.05)

    def eval(self, m: Dims, key: Lookup, *, reduced: bool) -> Section:
        return {"batch_size": 16 if reduced else 2, "baseline_images": 200}

    def infer(self, m: Dims, key: Lookup, *, reduced: bool) -> Section:
        return {"least_score": 0.5, "opacity": 0.5, "weight_bits": 16}
