"""Panoptic FPN at a tiny size, and a folder in COCO's panoptic form."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from helpers import mask_rcnn_settings
from helpers.detection_settings import pictured

MODEL = {**mask_rcnn_settings.MODEL, "num_stuff": 3, "semantic_channels": 6}
TINY = {
    **mask_rcnn_settings.TINY,
    "model": MODEL,
    "eval": {"batch_size": 4, "baseline_images": 10, "least_score": 0.3, "least_area": 30},
    "infer": {"least_score": 0.0, "least_area": 30, "opacity": 0.5, "weight_bits": 32},
}
THINGS, STUFF = ("bolt", "nut", "ring"), ("cloth", "wood")


def mapped(count: int) -> tuple[list[Any], list[Any], dict[str, Any]]:
    """Return grey images of 48 x 40 pixels, their maps, and the table that lists them.

    Rectangles are things; left of column 24 is cloth, right of it wood, and the first row is not
    labelled. The ids of stuff, 1 and 2, are smaller than those of things, 10 to 30.
    """
    images, table = pictured(count)
    rows, maps = [], []
    for number, pixels in enumerate(images):
        pixels[:, 24:] //= 2
        chart = np.zeros((40, 48), np.int64)
        chart[1:, :24], chart[1:, 24:] = 7, 70_000
        segments = [{"id": 7, "category_id": 1}, {"id": 70_000, "category_id": 2}]
        objects = [each for each in table["annotations"] if each["image_id"] == number]
        for place, each in enumerate(objects, start=300):
            left, top, width, height = each["bbox"]
            chart[top : top + height, left : left + width] = place
            segments.append({"id": place, "category_id": each["category_id"], "iscrowd": 0})
        maps.append(np.stack([chart & 255, chart >> 8 & 255, chart >> 16], -1).astype(np.uint8))
        rows.append(
            {"image_id": number, "file_name": f"{number:04}.png", "segments_info": segments}
        )
    kinds = [{**each, "isthing": 1} for each in table["categories"]]
    kinds += [{"id": n, "name": name, "isthing": 0} for n, name in enumerate(STUFF, start=1)]
    return images, maps, {"images": table["images"], "annotations": rows, "categories": kinds}


def write_panoptic(folder: Path, count: int = 24, **changed: Any) -> Path:
    """Write a folder with images, maps and a COCO file; `changed` replaces its lists."""
    images, maps, table = mapped(count)
    (folder / "images").mkdir(parents=True)
    (folder / "segments").mkdir()
    for row, image, chart in zip(table["images"], images, maps, strict=True):
        Image.fromarray(image).save(folder / "images" / row["file_name"])
        Image.fromarray(chart).save(folder / "segments" / row["file_name"])
    (folder / "segments.json").write_text(json.dumps({**table, **changed}))
    return folder
