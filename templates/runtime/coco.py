"""Objects in images in COCO's form: JSON files with boxes and outlines, and the images they name.

The folder holds a JSON file for all images, or one for each split; its name or that of its folder
then says which, as in `instances_train2017.json` or `valid/_annotations.coco.json`.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from runtime.digests import files_digest, split_of
from runtime.errors import fail
from runtime.images import list_images
from runtime.listing import Listing, list_files, printable, shown
from runtime.notes import note
from runtime.objects import GREY, Objects
from runtime.outlines import fault, is_number, mask_of
from runtime.pixels import eight_bits, opened, survey
from runtime.settings import read_json
from runtime.splits import SPLITS, shares_left, split_named

LISTS = ("images", "annotations", "categories")
TURNED = 0x0112  # the EXIF tag that says how a photograph is turned upright
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


@dataclass(frozen=True)
class Coco:
    """The images of a folder by split.

    Attributes:
        name: Name in reports.
        sha256: Digest of all files.
        classes: The names of the categories, in the order of their ids.
        splits: The images of each split, in a form of their reader.
        left_out: Sentences on the files that are not read.
    """

    name: str
    sha256: str
    classes: tuple[str, ...]
    splits: Mapping[str, list[Any]]
    left_out: Sequence[str] = ()


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
    splits = in_splits(
        {
            split: _images(file, table, classes, pictures, outlines)
            for split, (file, table) in tables.items()
        },
        left,
    )
    refuse_shared(path, splits)
    files = [file for file, _ in tables.values()]
    files += [each.path for split in splits.values() for each in split]
    sha256 = files_digest(files, [str(file.relative_to(path)) for file in files])
    return Coco(path.name, sha256, tuple(classes), splits, [*unnamed(pictures, files)])


def in_splits(
    images: Mapping[str, Iterable[Any]], left: tuple[float, float]
) -> dict[str, list[Any]]:
    """Return images by split, those of train cut into the splits that the data does not name.

    Args:
        images: The images of each annotation file; each has a `path`.
        left: The shares of train that become val and test.
    """
    splits: dict[str, list[Any]] = {split: [] for split in SPLITS}
    for split, every in images.items():
        for each in every:
            # The name of an image alone decides, so more images leave the others where they are.
            splits[split_of(each.path.name, *left) if split == "train" else split].append(each)
    return splits


def unnamed(pictures: Listing, files: Sequence[Path]) -> Iterator[str]:
    """Yield a sentence on the images that no annotation file names."""
    loose = sorted(set(pictures.files) - set(files))
    if loose:
        names = shown(pictures.folder, loose)
        yield f"left out, named by no annotation file: {len(loose):,} images, such as {names}"


def tables_of(path: Path, found: Listing) -> dict[str, tuple[Path, dict[str, Any]]]:
    """Return the annotation file of each split, or one as "train" if no name is a split's."""
    tables: dict[str, tuple[Path, dict[str, Any]]] = {}
    others = []
    for file in found.files:
        table = read_json(file)
        if not all(isinstance(table.get(name), list) for name in LISTS):
            others.append(file)
            continue
        parts = file.relative_to(path).with_suffix("").parts
        named = (split_named(part, anywhere=True) for part in reversed(parts))
        split = next((each for each in named if each), "")
        if split in tables:
            what = f"of {split}" if split else "whose names are of no split (train, val, test)"
            fail(f"{path} has two files {what}: keep {tables[split][0]} or {file}.")
        tables[split] = file, table
    if not tables:
        near = f" ({shown(path, others)} has not)" if others else ""
        fail(f"{path} has no JSON file with COCO's lists {', '.join(LISTS)}{near}.")
    if "" in tables and len(tables) > 1:
        fail(f"{tables[''][0]} names no split, and {path} has other files for splits: rename it.")
    if "" in tables:
        return {"train": tables[""]}
    if "train" not in tables:
        fail(f"{path} has no annotation file for train: name one such as train.json.")
    return tables


def classes_of(tables: Mapping[str, tuple[Path, dict[str, Any]]]) -> list[str]:
    """Return the names of the categories of train, in the order of their ids."""
    every = {split: categories_of(*tables[split]) for split in tables}
    classes = [*every["train"].values()]
    for split, categories in every.items():
        new = [name for name in categories.values() if name not in classes]
        if new:
            fail(
                f"{tables[split][0]} has the category {new[0]!r}, and {tables['train'][0]} has not:"
                " give both the same categories."
            )
    return classes


def categories_of(file: Path, table: Mapping[str, Any]) -> dict[Any, str]:
    """Return the name of each category by its id, in the order of ids; or stop."""
    rows = [row for row in table["categories"] if isinstance(row, dict)]
    ids, names = [row.get("id") for row in rows], [row.get("name") for row in rows]
    whole = len(rows) == len(table["categories"]) and rows
    if not whole or not all(type(each) is int for each in ids):
        fail(f"{file}: categories must be objects with an id, a whole number, and a name.")
    if not all(isinstance(name, str) and name.strip() for name in names):
        fail(f"{file}: a category has no name: give each a text.")
    for what, values in (("id", ids), ("name", names)):
        twice = [value for value, count in Counter(values).items() if count > 1]
        if twice:
            fail(f"{file}: two categories have the {what} {twice[0]!r}: give each its own.")
    return {row["id"]: printable(row["name"]) for row in sorted(rows, key=lambda row: row["id"])}


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


def names_of(file: Path, rows: list[Any]) -> dict[Any, str]:
    """Return the name of each image by its id, or stop."""
    names: dict[Any, str] = {}
    for place, row in enumerate(rows):
        where = f"{file}: images[{place}]"
        key = row.get("id") if isinstance(row, dict) else None
        if not isinstance(row, dict) or not isinstance(key, int | str):
            fail(f"{where} must be an object with an id, a whole number or a text.")
        name = row.get("file_name")
        if not isinstance(name, str) or not name.strip():
            fail(f"{where} has no file_name, the path of its image.")
        if key in names:
            fail(f"{where} has the id {key!r} of another image: give each its own.")
        names[key] = name
    if not names:
        fail(f"{file} lists no image.")
    return names


def paths_of(file: Path, names: Mapping[Any, str], pictures: Listing) -> dict[Any, Path]:
    """Return the file of each image, or stop.

    Names are looked up among the files of the folder, so none leads out of it.
    """
    top, split = pictures.folder, split_named(file.stem, anywhere=True)
    by_name: dict[str, list[Path]] = {}
    for path in pictures.files:
        by_name.setdefault(path.name, []).append(path)
    paths, taken = {}, dict[Path, Any]()
    for key, name in names.items():
        tail = tuple(part for part in name.replace("\\", "/").split("/") if part != ".")
        alike = [p for p in by_name.get(tail[-1], ()) if p.parts[-len(tail) :] == tail]
        # Beside the annotation file, or in the folder of its split as in COCO's own archive.
        near = [p for p in alike if p == file.parent.joinpath(*tail)] or [
            p for p in alike if p.parent.name in file.stem or split_named(p.parent.name) == split
        ]
        chosen = near if len(alike) > 1 and near else alike
        if len(chosen) != 1:
            many = f"names several images below {top}" if chosen else f"is no image below {top}"
            fail(f"{file}: the file_name {printable(name)} {many}: put each image there once.")
        if chosen[0] in taken:
            fail(f"{file}: images {taken[chosen[0]]} and {key} are one file, {chosen[0]}.")
        paths[key] = chosen[0]
        taken[chosen[0]] = key
    return paths


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


def sizes_of(paths: Sequence[Path]) -> dict[Path, tuple[int, int]]:
    """Return height and width of image files, or stop."""
    kinds = survey(paths).kinds
    return {path: kind.size[::-1] for path, kind in zip(paths, kinds, strict=True)}


def check_size(where: str, row: Mapping[str, Any], path: Path, size: tuple[int, int]) -> None:
    """Stop at an image that has not the size which its row states."""
    stated = row.get("height"), row.get("width")
    if stated not in (size, (None, None)):
        fail(
            f"{where} has height and width {stated[0]} x {stated[1]}, and {path} has {size[0]} x "
            f"{size[1]}: its boxes would be in wrong places."
        )
    if path.suffix.lower() in (".jpg", ".jpeg", ".tif", ".tiff", ".webp"):
        with opened(path) as picture:
            turned = picture.getexif().get(TURNED, 1)
        if turned != 1:
            fail(f"{path} is stored turned (EXIF {turned}): save it upright, as its boxes are.")


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
    height, width = size
    for row in rows:
        left, top, across, down = map(float, row["bbox"])
        sides = (max(left, 0), max(top, 0), min(left + across, width), min(top + down, height))
        doubts.boxes += 1
        doubts.clipped += (
            left < -1 or top < -1 or left + across > width + 1 or (top + down > height + 1)
        )
        if across <= 0 or down <= 0:
            doubts.flat.append(row["place"])
        elif sides[0] >= sides[2] or sides[1] >= sides[3]:
            doubts.outside.append(row["place"])
        else:
            boxes.append(sides)
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


def refuse_shared(path: Path, splits: Mapping[str, Sequence[Any]]) -> None:
    """Stop if an image is in two splits, since a score would then be of what was learned."""
    seen: dict[Path, str] = {}
    for split, every in splits.items():
        for each in every:
            if each.path in seen:
                fail(f"{each.path} is in {seen[each.path]} and in {split}: keep one.")
            seen[each.path] = split


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


def read_fitted(path: Path, size: tuple[int, int], channels: int) -> Tensor:
    """Return an image (channels, H, W), uint8, scaled into a size's upper left; or stop."""
    from PIL import Image

    with opened(path) as file:
        whole = eight_bits(file, channels)
        scale = scale_into((whole.height, whole.width), size)
        shape = [max(1, round(side * scale)) for side in (whole.width, whole.height)]
        small = np.array(whole.resize(shape, Image.Resampling.BILINEAR), dtype=np.uint8)
    pixels = torch.from_numpy(small.reshape(*small.shape[:2], channels)).permute(2, 0, 1)
    image = torch.full((channels, *size), GREY, dtype=torch.uint8)
    image[:, : pixels.shape[1], : pixels.shape[2]] = pixels
    return image


def whole_image(path: Path) -> Any:
    """Return an image upright and in colours at its own size, (H, W, 3), bytes; or stop."""
    with opened(path) as file:
        return np.asarray(eight_bits(file, channels=3))


def scale_into(whole: tuple[int, int], size: tuple[int, int]) -> float:
    """Return the scale with which an image of a height and a width just fits into a size."""
    return min(size[0] / whole[0], size[1] / whole[1])
