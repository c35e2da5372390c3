"""A detector at a tiny size, and a folder in COCO's form."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from PIL import Image

from helpers.family_code import TRAIN

MODEL = {
    "image_height": 32,
    "image_width": 64,
    "num_channels": 1,
    "num_classes": 3,
    "width": 4,
    "depth": 1,
    "head_channels": 6,
    "depthwise": False,
}
TINY = {
    "model": MODEL,
    "data": {"flip": True, "zoom": 1.5, "val_fraction": 0.2, "test_fraction": 0.2},
    "train": TRAIN,
    "eval": {"batch_size": 4, "least_score": 0.01, "baseline_images": 20},
    "infer": {"least_score": 0.3, "weight_bits": 32},
}
Modules = dict[str, ModuleType]
NAMES = ("bolt", "nut", "ring")


def pictured(count: int, start: int = 0, seed: int = 0) -> tuple[list[Any], dict[str, Any]]:
    """Return grey images of 48 x 40 pixels with bright rectangles, and the table that lists them.

    A class has its lower half, its right half or nothing dark; category ids are 10, 20 and 30.
    """
    draw = np.random.default_rng(seed)
    images, rows, objects = [], [], []
    for number in range(start, start + count):
        pixels = draw.integers(0, 40, (40, 48))
        for left in (2, 26):
            kind = int(draw.integers(3))
            width, height = (int(side) for side in draw.integers(8, 18, 2))
            top = int(draw.integers(2, 20))
            part = pixels[top : top + height, left : left + width]
            part[:] = 240
            part[height // 2 if kind == 0 else 0 :, width // 2 if kind == 1 else 0 :] -= (
                90 if kind < 2 else 0
            )
            corners = [left, top, left + width, top, left + width, top + height, left, top + height]
            objects.append(
                {
                    "id": len(objects) + 1,
                    "image_id": number,
                    "category_id": 10 * (kind + 1),
                    "bbox": [left, top, width, height],
                    "iscrowd": 0,
                    "segmentation": [corners],
                }
            )
        rows.append({"id": number, "file_name": f"{number:04}.png", "height": 40, "width": 48})
        images.append(pixels.astype(np.uint8))
    names = [{"id": 10 * n, "name": name} for n, name in enumerate(NAMES, start=1)]
    return images, {"images": rows, "annotations": objects, "categories": names}


def write_coco(folder: Path, count: int = 24, **changed: Any) -> Path:
    """Write a folder with images and a COCO file of all of them; `changed` replaces its lists."""
    images, table = pictured(count)
    (folder / "images").mkdir(parents=True)
    for image, row in zip(images, table["images"], strict=True):
        Image.fromarray(image).save(folder / "images" / row["file_name"])
    (folder / "annotations.json").write_text(json.dumps({**table, **changed}))
    return folder
