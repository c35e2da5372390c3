"""Semantic segmentation.

The full model trains by the recipe of nnU-Net in two dimensions (Isensee et al., 2018,
arXiv:1809.10486).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from metagen.amounts import IMAGES, ITEMS
from metagen.errors import Problem
from metagen.tasks.augmentation import KEY, Augmentations
from metagen.tasks.schedule import Habits
from metagen.tasks.task import (
    IMAGE_SIDES,
    Benchmark,
    Dims,
    Lookup,
    Section,
    Task,
    Value,
    declared,
)

SIDE = 512  # pixels
IMAGE, MASK = "constraints.image_size", "task.mask_resolution"
PIXELS_AT_ONCE = 2**20  # A larger number takes more memory, a smaller one more passes an update.
ADAM_BETA2 = 0.95  # AdamW's rates follow the gradients of about the last 20 updates.
BUNDLED_CLASSES = 3  # background, grey matter, white matter
AUGMENTATIONS = Augmentations(
    names={
        "horizontal_flip": ("flip", "mirror"),
        "rotation": ("rotate", "rotations", "dihedral"),
        "random_crop": ("crop",),
    },
    usual=frozenset({"horizontal_flip"}),
    all=frozenset({"horizontal_flip"}),
    instead={},
)


class SemanticSegmentation(Task):
    """From an image (B, C, height, width) to the logits of each pixel's class."""

    name = "semantic_segmentation"
    augmentations = AUGMENTATIONS
    metrics = ("mean_foreground_dice", "mean_iou")
    switches = (("no augmentation", "data.augmentation", "none"),)
    # The quick training takes about ten seconds of one thread, the full one about two minutes.
    benchmark = Benchmark(
        "tissues of an average brain",
        {"quick": 400, "full": 4000},
        ("nilearn",),
        sheets=("mni152_tissues",),
    )
    words = {
        "pipeline_tag": "image-segmentation",
        "unit": "image",
        "loss_unit": "nat/pixel",
        "usage": "--input image.png",
        "does": "draws the class of each pixel over an image",
        "data": "slices of an average brain",
        "outcome": "Slices of the test split: the image, the true classes, and those the proxy "
        "finds.",
        "risks": "how results carry over to other scanners, cameras, places or people, and bias",
    }
    config_keys = Task.config_keys | {"data_augmentation"}
    work_unit = "img"
    units = (*IMAGES, "slices", *ITEMS)
    input = "image"
    defaults = {"in_channels": 3, "num_classes": 2, "image_height": SIDE}
    default_reasons = {
        "in_channels": "colours: red, green and blue",
        "num_classes": "none is declared: 2, an object and its background",
        "image_height": f"no constraints.image_size is declared: {SIDE} pixels",
        "image_width": "no constraints.image_size is declared: a square",
    }
    # The sides have about the proportions of the bundled slices, 233 x 197.
    proxy = {"image_height": 96, "image_width": 80}
    checked = frozenset({MASK})
    fixed_by = {**IMAGE_SIDES, "num_classes": "task.num_classes"}

    def fixed(self, key: Lookup) -> dict[str, Value]:
        """Return also the sides of an image that a spec declares by those of its mask."""
        mask = {IMAGE: key(IMAGE) or key(MASK)}
        return declared(self.fixed_by, lambda name: mask[name] if name in mask else key(name))

    def dim_reasons(self, fixed: Dims) -> dict[str, str]:
        why = f"{IMAGE} or {MASK}: a mask is as large as its image"
        return {**super().dim_reasons(fixed), **dict.fromkeys(IMAGE_SIDES.keys() & fixed, why)}

    def habits(self, m: Dims, parameters: int, key: Lookup) -> Habits:
        return Habits(
            batch=12,
            rate=3e-4,
            decay=3e-5,
            warmup=1000,
            source="as nnU-Net",
            why={
                "batch_size": "as nnU-Net in two dimensions",
                "learning_rate": "the first rate of nnU-Net with Adam",
            },
            units=self.units,
            epochs=1000,
            steps=250_000,  # 1,000 epochs of 250 updates
            samples_at_once=PIXELS_AT_ONCE // int(m["image_height"] * m["image_width"]),
            at_once=f"{PIXELS_AT_ONCE:,} pixels",
            beta2=ADAM_BETA2,
            final_lr_share=0.05,
            sgd=(0.01, "as the later nnU-Net, arXiv:1904.08128"),
        )

    def proxy_habits(self, m: Dims) -> Habits:
        return Habits(
            batch=16, rate=8e-3, decay=0.01, warmup=20, beta2=ADAM_BETA2, final_lr_share=0.05
        )

    def data(self, m: Dims, key: Lookup, *, reduced: bool) -> Section:
        return {
            "crop": 32 if reduced else crop(m, key),
            "augmentation": "dihedral" if reduced else augmentation(key),
            "val_fraction": 0.09 if reduced else 0.1,
            "test_fraction": 0.13 if reduced else 0.1,
            "gap": 6,
        }

    def eval(self, m: Dims, key: Lookup, *, reduced: bool) -> Section:
        return {"batch_size": 8, "baseline_images": 1000}

    def infer(self, m: Dims, key: Lookup, *, reduced: bool) -> Section:
        return {"opacity": 0.5, "weight_bits": 16}

    def example(self, m: Dims, length: int) -> list[dict[str, Any]]:
        """Return the shape of a batch of images: (length, C, height, width)."""
        shape = [length, int(m["in_channels"]), int(m["image_height"]), int(m["image_width"])]
        return [{"shape": shape, "dtype": "float32"}]

    def refused(self, key: Lookup) -> Iterator[Problem]:
        yield from AUGMENTATIONS.refused(key)
        if key(IMAGE) and key(MASK) and key(IMAGE) != key(MASK):
            sentence = f"{MASK} differs from {IMAGE}, and a mask is as large as its image"
            yield Problem(sentence, MASK, "remove one of the two")

    def more_reasons(self, full: Mapping[str, Any], key: Lookup) -> dict[str, str]:
        undeclared = "data_augmentation is not declared: "
        mirror, whole = (
            KEY if key(KEY) is not None else undeclared + why
            for why in ("left and right look alike in most images", "training sees whole images")
        )
        return {"data.augmentation": mirror, "data.crop": whole}


def augmentation(key: Lookup) -> str:
    """Return how training images are turned: mirrored, unless the spec declares otherwise."""
    names = AUGMENTATIONS.chosen(key)
    mirrored = "mirror" if "horizontal_flip" in names else "none"
    return "dihedral" if "rotation" in names else mirrored


def crop(m: Dims, key: Lookup) -> int:
    """Return the side of a random square of a training image, 0 where images stay whole.

    It is the largest power of two within half of the shorter side, which all levels can halve.
    """
    if "random_crop" not in AUGMENTATIONS.chosen(key):
        return 0
    half = int(min(m["image_height"], m["image_width"])) // 2
    return int(2 ** (half.bit_length() - 1))
