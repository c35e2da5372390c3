"""Objects in images in COCO's form: the box of each, its category, and its outline if needed."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from runtime.coco import (
    Coco,
    categories_of,
    check_size,
    classes_of,
    coco_of,
    in_splits,
    names_of,
    paths_of,
    sizes_of,
    tables_of,
)
from runtime.errors import fail
from runtime.fitted import read_fitted, scale_into
from runtime.images import list_images
from runtime.listing import Listing, list_files
from runtime.notes import note
from runtime.objects import Objects
from runtime.outlines import fault, is_number, mask_of
from runtime.splits import shares_left

MOST_OUTSIDE = 0.5  # share of boxes; more are given as corners, not as COCO gives them


@dataclass(frozen=True)
class Annotated:
    """An image file and its N objects, in the pixels of the file.

    Attributes:
        path: The file.
        size: Its height and width.
        boxes: (N, 4), left, top, right and bottom.
        classes: (N,).
        crowd: (N,).
        outlines: Each object's outline in one of COCO's forms; None if they were not asked for.
    """

    path: Path
    size: tuple[int, int]
    boxes: Tensor
    classes: Tensor
    crowd: Tensor
    outlines: Sequence[Any] | None = None

    @property
    def files(self) -> tuple[Path, ...]:
        """The files that belong to it."""
        return (self.path,)


@dataclass
class _Doubts:
    """What is odd in the annotations of a file, counted."""

    flat: list[str] = field(default_factory=list)
    outside: list[str] = field(default_factory=list)
    clipped: int = 0
    boxes: int = 0


def read_coco(path: Path, val_fraction: float, test_fraction: float, *, outlines: bool) -> Coco:
    """Return the images and objects of a folder, or stop.

    Args:
        path: The folder.
        val_fraction: Share of the images that become val where no file names a split.
        test_fraction: Share that becomes test.
        outlines: Whether each object needs its outline.
    """
    if not path.is_dir():
        fail(f"{path} is not a folder with a COCO file (.json) and the images that it names.")
    found, pictures = list_files(path, (".json",)), list_images(path)
    tables = tables_of(path, found)
    classes = classes_of(tables)
    left = shares_left(tables, val_fraction, test_fraction)
    every = {
        split: _images(file, table, classes, pictures, outlines)
        for split, (file, table) in tables.items()
    }
    return coco_of(path, tables, classes, in_splits(every, left), pictures)


def _images(
    file: Path, table: dict[str, Any], classes: list[str], pictures: Listing, outlines: bool
) -> Iterator[Annotated]:
    """Yield the images of an annotation file with their objects, or stop."""
    names = names_of(file, table["images"])
    paths = paths_of(file, names, pictures)
    numbers = {key: classes.index(name) for key, name in categories_of(file, table).items()}
    objects: dict[Any, list[dict[str, Any]]] = {key: [] for key in names}
    for place, row in enumerate(table["annotations"]):
        _check_row(f"{file}: annotations[{place}]", row, names, numbers)
        objects[row["image_id"]].append({**row, "place": f"{file}: annotations[{place}]"})
    sizes = sizes_of([paths[key] for key in names])
    doubts = _Doubts()
    every = []
    for row in table["images"]:
        key = row["id"]
        check_size(f"{file}: image {key}", row, paths[key], sizes[paths[key]])
        every.append(
            _annotated(paths[key], sizes[paths[key]], objects[key], numbers, doubts, outlines)
        )
    _say(file, doubts)
    yield from every


def _check_row(where: str, row: Any, names: Mapping[Any, str], numbers: Mapping[Any, int]) -> None:
    """Stop at an annotation that is not of an image, of a category and with a box."""
    if not isinstance(row, dict):
        fail(f"{where} must be an object with image_id, category_id and bbox.")
    for name, known in (("image_id", names), ("category_id", numbers)):
        value = row.get(name)
        if not isinstance(value, int | str) or value not in known:
            what = name.removesuffix("_id")
            fail(f"{where} has {name} {str(value)[:40]!a}, and no {what} has that id.")
    box = row.get("bbox")
    if not isinstance(box, list) or len(box) != 4 or not all(map(is_number, box)):
        fail(f"{where} has no bbox of four numbers: left, top, width and height in pixels.")
    if row.get("iscrowd", 0) not in (0, 1):
        fail(f"{where} has an iscrowd that is neither 0 nor 1.")


def _annotated(
    path: Path,
    size: tuple[int, int],
    rows: list[dict[str, Any]],
    numbers: Mapping[Any, int],
    doubts: _Doubts,
    outlines: bool,
) -> Annotated:
    """Return an image with those of its objects that have an area in it."""
    boxes, kept = [], []
    for row in rows:
        if box := _inside(row, size, doubts):
            boxes.append(box)
            kept.append(row)
    if outlines:
        for row in kept:
            if said := fault(row.get("segmentation"), size):
                fail(f"{row['place']} has a segmentation that {said}.")
    return Annotated(
        path,
        size,
        torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        torch.tensor([numbers[row["category_id"]] for row in kept], dtype=torch.int64),
        torch.tensor([row.get("iscrowd", 0) == 1 for row in kept], dtype=torch.bool),
        [row["segmentation"] for row in kept] if outlines else None,
    )


def _inside(
    row: Mapping[str, Any], size: tuple[int, int], doubts: _Doubts
) -> tuple[float, float, float, float] | None:
    """Return the part of a box in its image: left, top, right and bottom; None if it has none."""
    left, top, across, down = map(float, row["bbox"])
    right, bottom, (height, width) = left + across, top + down, size
    doubts.boxes += 1
    doubts.clipped += left < -1 or top < -1 or right > width + 1 or bottom > height + 1
    box = (max(left, 0), max(top, 0), min(right, width), min(bottom, height))
    if across <= 0 or down <= 0:
        doubts.flat.append(row["place"])
    elif box[0] >= box[2] or box[1] >= box[3]:
        doubts.outside.append(row["place"])
    else:
        return box
    return None


def _say(file: Path, doubts: _Doubts) -> None:
    """Say what was left out, and stop at boxes that are in another form than COCO's."""
    if doubts.clipped > MOST_OUTSIDE * doubts.boxes:
        fail(
            f"{file}: {doubts.clipped:,} of {doubts.boxes:,} boxes reach out of their image: a "
            "bbox is left, top, width and height in pixels, not two corners."
        )
    for places, what in (
        (doubts.flat, "have no width or no height"),
        (doubts.outside, "lie outside of their image"),
    ):
        if places:
            note(f"{len(places):,} boxes {what} and are left out, such as {places[0]}.")
    if doubts.clipped > len(doubts.outside):
        cut = doubts.clipped - len(doubts.outside)
        note(f"{file}: {cut:,} boxes reach out of their image and are cut at its edge.")


def read_annotated(each: Annotated, size: tuple[int, int], channels: int) -> tuple[Tensor, Objects]:
    """Return an image (channels, H, W), uint8, and its objects, scaled into a size; or stop.

    The image keeps its proportions: it fills the upper left, and the rest is grey.

    Args:
        each: The image; the objects have masks if it has outlines.
        size: Height and width of the result.
        channels: 1 for grey, 3 for colours.
    """
    image = read_fitted(each.path, size, channels)
    scale = scale_into(each.size, size)
    masks = None
    if each.outlines is not None:
        drawn = [mask_of(outline, each.size, size, scale) for outline in each.outlines]
        masks = torch.from_numpy(np.array(drawn, dtype=bool).reshape(-1, *size))
    boxes = each.boxes * scale
    return image, Objects(boxes, each.classes, each.crowd, masks)
