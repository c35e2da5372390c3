"""Segments of images in COCO's panoptic form: JSON files, and maps whose colours number segments.

A JSON file has an annotation for each image: the name of its map and a list of its segments. Maps
lie in the folder that is named after the JSON file, as `panoptic_train2017/` beside
`panoptic_train2017.json`. A pixel is of segment R + 256 G + 65,536 B, or of none if that is 0.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
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
from runtime.listing import Listing, list_files, printable
from runtime.objects import Objects
from runtime.pixels import kind_of, opened
from runtime.splits import shares_left

MOST_NUMBERS = 2**24  # segments that a colour of three bytes can name, and none
PLACES = np.array([1, 256, 65_536])  # what red, green and blue count


@dataclass(frozen=True)
class Mapped:
    """An image file and the map of its segments.

    Attributes:
        path: The image.
        map: The map.
        size: Height and width of both.
        place: Where the annotation is, for errors.
        segments: Class and crowd of each segment, by its number.
    """

    path: Path
    map: Path
    size: tuple[int, int]
    place: str
    segments: Mapping[int, tuple[int, bool]]

    @property
    def files(self) -> tuple[Path, ...]:
        """The files that belong to it."""
        return (self.path, self.map)


@dataclass(frozen=True)
class Panoptic:
    """The images of a folder, and which of its classes are things.

    Attributes:
        coco: The images of each split, as `Mapped`; classes of things come before those of stuff.
        things: How many classes are things.
    """

    coco: Coco
    things: int


def read_panoptic(path: Path, val_fraction: float, test_fraction: float) -> Panoptic:
    """Return the images and segments of a folder, or stop.

    Args:
        path: The folder.
        val_fraction: Share of the images that become val where no file names a split.
        test_fraction: Share that becomes test.
    """
    if not path.is_dir():
        fail(f"{path} is not a folder with a COCO file (.json), its images and their maps.")
    found, pictures = list_files(path, (".json",)), list_images(path)
    tables = tables_of(path, found)
    things, classes = _things_first(tables)
    every = {
        split: [*_images(file, table, classes, pictures)] for split, (file, table) in tables.items()
    }
    splits = in_splits(every, shares_left(tables, val_fraction, test_fraction))
    return Panoptic(coco_of(path, tables, classes, splits, pictures), things)


def _things_first(tables: Mapping[str, tuple[Path, dict[str, Any]]]) -> tuple[int, list[str]]:
    """Return the number of classes of things, and the names of all, things first."""
    counted = {split: _countable(*table) for split, table in tables.items()}
    classes = classes_of(tables)
    for split, named in counted.items():
        other = [name for name in named if named[name] != counted["train"].get(name)]
        if other:
            fail(
                f"{tables[split][0]} and {tables['train'][0]} differ in whether {other[0]!r} is a "
                "thing: give both the same isthing."
            )
    things = [name for name in classes if counted["train"][name]]
    stuff = [name for name in classes if not counted["train"][name]]
    if not things or not stuff:
        what = "things (isthing 1)" if not things else "stuff (isthing 0)"
        fail(f"{tables['train'][0]} has no category of {what}: panoptic segmentation has both.")
    return len(things), things + stuff


def _countable(file: Path, table: Mapping[str, Any]) -> dict[str, bool]:
    """Return whether the instances of each category are told apart, by its name; or stop."""
    names = categories_of(file, table)
    for row in table["categories"]:
        if row.get("isthing") not in (0, 1):
            fail(
                f"{file}: the category {names[row['id']]!r} has no isthing of 0 or 1, which tells "
                "things from stuff: use COCO's panoptic form."
            )
    return {names[row["id"]]: row["isthing"] == 1 for row in table["categories"]}


def _images(
    file: Path, table: dict[str, Any], classes: Sequence[str], pictures: Listing
) -> Iterator[Mapped]:
    """Yield the images of an annotation file with their segments, or stop."""
    names = names_of(file, table["images"])
    numbers = {key: classes.index(name) for key, name in categories_of(file, table).items()}
    maps = _maps(file, table["annotations"], names, pictures)
    rows: dict[Any, tuple[str, dict[str, Any]]] = {}
    for place, row in enumerate(table["annotations"]):
        rows[row["image_id"]] = f"{file}: annotations[{place}]", row
    bare = [key for key in names if key not in rows]
    if bare:
        fail(f"{file}: image {bare[0]} has no annotation, which names the map of its segments.")
    taken = set(maps.values())
    others = replace(pictures, files=[each for each in pictures.files if each not in taken])
    paths = paths_of(file, names, others)
    sizes = sizes_of([paths[key] for key in names])
    for image in table["images"]:
        key = image["id"]
        size = sizes[paths[key]]
        check_size(f"{file}: image {key}", image, paths[key], size)
        _check_map(maps[key], size)
        where, row = rows[key]
        yield Mapped(paths[key], maps[key], size, where, _segments(where, row, numbers))


def _maps(
    file: Path, rows: Sequence[Any], names: Mapping[Any, str], pictures: Listing
) -> dict[Any, Path]:
    """Return the map of each image by the image's id, or stop.

    Names are looked up among the files of the folder, so none leads out of it.
    """
    folder = file.with_suffix("")
    inside = {
        each.relative_to(folder).as_posix(): each
        for each in pictures.files
        if folder in each.parents
    }
    if not inside:
        fail(f"{file} has no folder {folder.name} with maps (.png) beside it.")
    maps: dict[Any, Path] = {}
    for place, row in enumerate(rows):
        where = f"{file}: annotations[{place}]"
        key = row.get("image_id") if isinstance(row, dict) else None
        if not isinstance(key, int | str) or key not in names:
            fail(f"{where} has image_id {str(key)[:40]!a}, and no image has that id.")
        if key in maps:
            fail(f"{where} is the second annotation of image {key}: keep one.")
        name = row.get("file_name")
        if not isinstance(name, str) or name not in inside:
            fail(
                f"{where} has file_name {printable(str(name)[:80])}, which is no image in "
                f"{folder}: put the map of image {key} there."
            )
        maps[key] = inside[name]
    return maps


def _check_map(path: Path, size: tuple[int, int]) -> None:
    """Stop at a map that is no colour PNG of its image's size."""
    kind = kind_of(path)
    if kind.format != "PNG" or kind.mode not in ("RGB", "RGBA"):
        fail(
            f"{path} is a {kind.format} image of mode {kind.mode}: a map is a PNG whose colours "
            "(RGB) number segments."
        )
    if kind.size[::-1] != size:
        fail(
            f"{path} has {kind.size[0]} x {kind.size[1]} pixels, and its image {size[1]} x "
            f"{size[0]}: scale the map without mixing pixels (nearest neighbour)."
        )


def _segments(
    where: str, row: Mapping[str, Any], numbers: Mapping[Any, int]
) -> dict[int, tuple[int, bool]]:
    """Return class and crowd of each segment of an annotation, by its number; or stop."""
    listed = row.get("segments_info")
    if not isinstance(listed, list):
        fail(f"{where} has no segments_info, the list of an image's segments.")
    found: dict[int, tuple[int, bool]] = {}
    for place, each in enumerate(listed):
        at = f"{where}.segments_info[{place}]"
        if not isinstance(each, dict):
            fail(f"{at} must be an object with id and category_id.")
        number, category = each.get("id"), each.get("category_id")
        if type(number) is not int or not 0 < number < MOST_NUMBERS:
            fail(f"{at} has no id from 1 to {MOST_NUMBERS - 1:,}, the colour of its pixels.")
        if number in found:
            fail(f"{at} has the id {number} of another segment: give each its own.")
        if not isinstance(category, int | str) or category not in numbers:
            fail(f"{at} has category_id {str(category)[:40]!a}, and no category has that id.")
        if each.get("iscrowd", 0) not in (0, 1):
            fail(f"{at} has an iscrowd that is neither 0 nor 1.")
        found[number] = numbers[category], each.get("iscrowd", 0) == 1
    return found


def read_mapped(each: Mapped, size: tuple[int, int], channels: int) -> tuple[Tensor, Objects]:
    """Return an image (channels, H, W), uint8, and its segments, scaled into a size; or stop.

    The image keeps its proportions: it fills the upper left, and the rest is grey. A segment that
    has no pixel at this size is left out.

    Args:
        each: The image and its map.
        size: Height and width of the result.
        channels: 1 for grey, 3 for colours.
    """
    numbers = _numbers(each, size)
    shown = [number for number in each.segments if (numbers == number).any()]
    masks = torch.from_numpy(np.array([numbers == n for n in shown], bool).reshape(-1, *size))
    classes, crowd = ([each.segments[n][part] for n in shown] for part in (0, 1))
    objects = Objects(
        boxes_of(masks),
        torch.tensor(classes, dtype=torch.int64),
        torch.tensor(crowd, dtype=torch.bool),
        masks,
    )
    return read_fitted(each.path, size, channels), objects


def _numbers(each: Mapped, size: tuple[int, int]) -> NDArray[np.int64]:
    """Return the number of the segment of each pixel, (H, W), at a size; or stop."""
    from PIL import Image

    scale = scale_into(each.size, size)
    with opened(each.map) as file:
        shape = [max(1, round(side * scale)) for side in file.size]
        small = np.asarray(file.convert("RGB").resize(shape, Image.Resampling.NEAREST))
    numbers = np.zeros(size, np.int64)
    numbers[: small.shape[0], : small.shape[1]] = small.astype(np.int64) @ PLACES
    unlisted = set(np.unique(numbers).tolist()) - each.segments.keys() - {0}
    if unlisted:
        number = min(unlisted)
        red, green, blue = (number >> shift & 255 for shift in (0, 8, 16))
        fail(
            f"{each.map} has pixels of segment {number} (red {red}, green {green}, blue {blue}), "
            f"and segments_info of {each.place} does not list it."
        )
    return numbers


def boxes_of(masks: Tensor) -> Tensor:
    """Return the boxes (N, 4) of masks (N, H, W) that each have a pixel."""
    height, width = masks.shape[1:]
    ends = []
    for side, length in ((1, width), (2, height)):
        there = masks.any(side).byte()  # (N, length)
        first, last = there.argmax(1), length - there.flip(1).argmax(1)
        ends.append((first, last))
    (left, right), (top, bottom) = ends
    return torch.stack((left, top, right, bottom), 1).float()
