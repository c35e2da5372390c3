"""Folders in COCO's form: annotation files, the splits and categories of these, and their images.

The folder holds a JSON file for all images, or one for each split; its name or that of its folder
then says which, as in `instances_train2017.json` or `valid/_annotations.coco.json`.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runtime.digests import files_digest, split_of
from runtime.errors import fail
from runtime.listing import Listing, printable, shown
from runtime.pixels import opened, survey
from runtime.settings import read_json
from runtime.splits import SPLITS, split_named

LISTS = ("images", "annotations", "categories")
TURNED = 0x0112  # the EXIF tag that says how a photograph is turned upright


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


def coco_of(
    path: Path,
    tables: Mapping[str, tuple[Path, dict[str, Any]]],
    classes: Sequence[str],
    splits: Mapping[str, list[Any]],
    pictures: Listing,
) -> Coco:
    """Return a folder whose images have been read, or stop if two splits share one.

    Args:
        path: The folder.
        tables: The annotation file of each split, as `tables_of` returns them.
        classes: The names of the categories.
        splits: The images of each split; each has a `path`, and `files` that belong to it.
        pictures: All images of the folder.
    """
    _refuse_shared(path, splits)
    files = [file for file, _ in tables.values()]
    files += [file for split in splits.values() for each in split for file in each.files]
    sha256 = files_digest(files, [str(file.relative_to(path)) for file in files])
    return Coco(path.name, sha256, tuple(classes), splits, [*_unnamed(pictures, files)])


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


def _unnamed(pictures: Listing, files: Sequence[Path]) -> Iterator[str]:
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


def _refuse_shared(path: Path, splits: Mapping[str, Sequence[Any]]) -> None:
    """Stop if an image is in two splits, since a score would then be of what was learned."""
    seen: dict[Path, str] = {}
    for split, every in splits.items():
        for each in every:
            if each.path in seen:
                fail(f"{each.path} is in {seen[each.path]} and in {split}: keep one.")
            seen[each.path] = split
