"""Object detection: a box, a class and a score for each object in an image.

The full model trains by the recipe of RTMDet (Lyu et al., 2022, arXiv:2212.07784, table 1), which
is that of YOLOX with AdamW; with SGD it takes the rate of YOLOX (arXiv:2107.08430, section 2.1).
"""

from __future__ import annotations

from dataclasses import replace

from metagen.tasks.augmentation import Augmentations
from metagen.tasks.objects import COCO_CLASSES, COCO_IMAGES, PACKAGES, ObjectsInImages
from metagen.tasks.schedule import Habits
from metagen.tasks.task import Benchmark, Dims, Lookup, Section

SIDE = 640  # pixels, usual for one-stage detectors
RATE_PER_IMAGE = 0.004 / 256  # The peak rate grows in proportion to the batch.
SGD_RATE_PER_IMAGE = 0.01 / 64
IMAGES_AT_ONCE = 16  # images of 640 x 640 pixels, or as many pixels in images of another size
AUGMENTATIONS = Augmentations(
    names={
        "horizontal_flip": ("flip", "mirror", "random_horizontal_flip"),
        "random_scale": ("scale", "zoom", "random_resize", "random_affine", "scale_jitter"),
    },
    usual=frozenset({"horizontal_flip", "random_scale"}),
    all=frozenset({"horizontal_flip", "random_scale"}),
    instead={},
    undone=frozenset({"mosaic", "mixup", "hsv", "color_jitter", "copy_paste"}),
)


class ObjectDetection(ObjectsInImages):
    """From an image (B, C, height, width) to boxes with classes."""

    name = "object_detection"
    # One seed, since the quick training takes most of a minute of one thread.
    metrics = ("map", "map_50", "map_75")
    benchmark = Benchmark(
        "digits on textures",
        {"quick": 250, "full": 2500},
        PACKAGES,
        seeds=1,
        sheets=("digits_on_textures",),
    )
    words = {
        "pipeline_tag": "object-detection",
        "unit": "image",
        "loss_unit": "nat/target",
        "usage": "--input photo.jpg",
        "does": "draws boxes around the objects of an image",
        "data": "digits composed on photographs of textures",
        "outcome": "Scenes of the test split, with the true boxes and those that the proxy finds.",
        "risks": "how results carry over to other cameras, places or people, small and hidden "
        "objects, and bias",
    }
    augmentations = AUGMENTATIONS
    zoom = 1.5  # YOLOX scales images from 0.5 to 1.5 or from 0.1 to 2, by the model
    undeclared = "as YOLOX, without its mosaics"
    defaults = {
        "image_height": SIDE,
        "image_width": SIDE,
        "num_channels": 3,
        "num_classes": COCO_CLASSES,
    }
    default_reasons = {
        "image_height": f"no constraints.image_size is declared: the usual {SIDE} pixels",
        "image_width": f"no constraints.image_size is declared: the usual {SIDE} pixels",
        "num_channels": "colours: red, green and blue",
        "num_classes": f"none is declared: the {COCO_CLASSES} of COCO",
    }

    def habits(self, m: Dims, parameters: int, key: Lookup) -> Habits:
        batch = key("training.config.batch_size") or 256
        pixels = m["image_height"] * m["image_width"]
        return Habits(
            batch=batch,
            rate=float(f"{RATE_PER_IMAGE * batch:.3g}"),
            decay=0.05,
            warmup=1000,
            source="as RTMDet",
            why={
                "learning_rate": f"{RATE_PER_IMAGE:.3g} for each image of an update, as RTMDet",
                "data": "those of COCO's train2017",
            },
            units=self.units,
            data=COCO_IMAGES,
            epochs=300,
            samples_at_once=max(1, int(IMAGES_AT_ONCE * SIDE**2 // pixels)),
            at_once=f"{IMAGES_AT_ONCE} images of {SIDE} x {SIDE} pixels, or as many pixels in "
            "images of another size,",
            final_lr_share=0.05,
            sgd=(
                float(f"{SGD_RATE_PER_IMAGE * batch:.3g}"),
                "0.01 for 64 images of an update, in proportion to the batch, as YOLOX",
            ),
        )

    def proxy_habits(self, m: Dims) -> Habits:
        return Habits(batch=16, rate=8e-3, decay=0.01, warmup=25, beta2=0.99, final_lr_share=0.05)

    def eval(self, m: Dims, key: Lookup, *, reduced: bool) -> Section:
        return {"batch_size": 16, "least_score": 0.01, "baseline_images": 200}

    def infer(self, m: Dims, key: Lookup, *, reduced: bool) -> Section:
        return {"least_score": 0.3, "weight_bits": 16}


class SetDetection(ObjectDetection):
    """The same for networks that predict a set of objects, by the recipe of RT-DETR."""

    # One query alone learns from each object, so this proxy needs more updates; they are smaller.
    benchmark = replace(ObjectDetection.benchmark, steps={"quick": 350, "full": 3500})

    def habits(self, m: Dims, parameters: int, key: Lookup) -> Habits:
        usual = super().habits(m, parameters, key)
        return replace(
            usual,
            batch=16,
            rate=1e-4,
            decay=1e-4,
            warmup=2000,
            source="as RT-DETR",
            why={
                "data": "those of COCO's train2017",
                "warmup_steps": "as RT-DETR's second version",
            },
            epochs=72,
            final_lr_share=1.0,
            sgd=None,
        )

    def proxy_habits(self, m: Dims) -> Habits:
        return replace(super().proxy_habits(m), batch=8, rate=4e-3)
