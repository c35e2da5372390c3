"""Images with a class each: from folders named after classes, or from rows of a data set."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runtime.digests import digest, file_digests
from runtime.errors import fail
from runtime.formats import columns_of, list_rows, rows_of
from runtime.images import SUFFIXES, list_images
from runtime.listing import Listing, list_files, shown, suffix_of
from runtime.notes import note
from runtime.pixels import Picture, Stored
from runtime.records import split_files
from runtime.splits import split_folders, split_named

ROWS = (".parquet", ".arrow")
LABELS = ("label", "labels", "class")
MOST_BYTES = 2**32  # of images in rows, which are held in memory


@dataclass(frozen=True)
class Example:
    """An image of a data set.

    Attributes:
        file: The file.
        name: Its place in the data set, for the digest of the data.
        label: Its class.
        split: Its split; images that are not yet in a split are in "train".
        key: A digest of its bytes: the same image under two names has one key.
    """

    file: Picture
    name: str
    label: str
    split: str
    key: str


def read_examples(path: Path) -> list[Example]:
    """Return the images of a folder, or of a file with rows, or stop.

    A folder holds a folder of images for each class, or first the splits. Without any image, its
    Parquet or Arrow files are read, as the Hub names them and as `save_to_disk` writes them.
    """
    if not path.is_dir() and suffix_of(path) not in ROWS:
        fail(f"{path} is not a folder; it must hold a folder of images for each class.")
    examples = _of_rows(path) if _has_rows(path) else _of_folders(list_images(path))
    _say_classes(path, sorted({each.label for each in examples}))
    return examples


def left_out(path: Path) -> Iterator[str]:
    """Yield a sentence on each kind of files that are not read."""
    if path.is_dir():
        yield from (list_rows(path, ROWS) if _has_rows(path) else list_images(path)).left_out()


def _has_rows(path: Path) -> bool:
    """Return whether images are read from rows: the path is such a file, or a folder of them."""
    if not path.is_dir():
        return True
    suffixes = {suffix_of(file) for file in list_files(path, (*SUFFIXES, *ROWS)).files}
    return bool(suffixes) and suffixes <= set(ROWS)


def _of_folders(found: Listing) -> list[Example]:
    """Return the images of a folder with their classes, and with their splits if it names them."""
    path, files = found.folder, found.files
    places = [file.relative_to(path).parts for file in files]
    # Folders are splits if all their names are names of splits; otherwise all of them are classes.
    splits = split_folders(path, {parts[0] for parts in places if len(parts) > 1})
    depth = 2 if splits else 1
    examples = []
    for file, parts, key in zip(files, places, file_digests(files), strict=True):
        if len(parts) <= depth:
            fail(f"{file} has no class: move it to a folder that is named after its class.")
        split = splits[parts[0]] if splits else "train"
        examples.append(Example(file, "\0".join(parts), parts[depth - 1], split, key))
    _say_unread(found, {parts[:depth] for parts in places}, depth)
    return examples


def _say_unread(found: Listing, read: set[tuple[str, ...]], depth: int) -> None:
    """Say which folders of a class have no image that is read."""
    folders = found.folders_at(depth)
    unread = [folder for folder in folders if folder.relative_to(found.folder).parts not in read]
    if unread:
        kinds = "; ".join(found.left_out()) or "they are empty"
        note(
            f"{found.folder}: no image is read from {shown(found.folder, unread)}, so they are no "
            f"classes ({kinds})."
        )


def _say_classes(path: Path, labels: Sequence[str]) -> None:
    """Stop if there is one class alone, and say which names of classes look like a mistake."""
    if len(labels) < 2:
        inside = path / labels[0]
        below = sorted(each.name for each in inside.iterdir()) if inside.is_dir() else []
        hint = f"; if its folders are the classes, name {inside}" if len(below) > 1 else ""
        fail(f"{path} has only the class {labels[0]!r}: a classifier needs at least two{hint}.")
    for label in filter(split_named, labels):
        note(f"{path}: the folder {label} is read as a class, though its name is that of a split.")
    alike = Counter(label.casefold().strip() for label in labels)
    twice = [label for label in labels if alike[label.casefold().strip()] > 1]
    if twice:
        note(f"{path}: the names of classes {', '.join(twice)} differ only in case or blanks.")


def _of_rows(path: Path) -> list[Example]:
    """Return the images of rows; they stay in memory as the files that rows hold."""
    files = split_files(list_rows(path, ROWS)) if path.is_dir() else {"train": [path]}
    examples, size = [], 0
    for split, paths in files.items():
        for place, row in (each for file in paths for each in rows_of(file)):
            image, label = _columns(place, row)
            data = row[image]["bytes"] if isinstance(row[image], Mapping) else row[image]
            size += len(data)
            if size > MOST_BYTES:
                fail(
                    f"{path} holds more than {MOST_BYTES // 2**30} GiB of images: write them as "
                    "files into a folder for each class."
                )
            picture = Stored(place, data)
            examples.append(Example(picture, place, label, split, digest(data)))
    if not examples:
        fail(f"{path} has no rows.")
    return examples


def _columns(place: str, row: Mapping[str, Any]) -> tuple[str, str]:
    """Return the column of a row that holds an image, and the text of its label; or stop."""
    images = [column for column, value in row.items() if _is_image(value)]
    labels = [row[column] for column in LABELS if isinstance(row.get(column), str | int)]
    if len(images) != 1 or not labels:
        fail(
            f"{place} has no image, or several, or no label: it needs one column with the bytes of "
            f"an image file, and one of {', '.join(LABELS)}; its columns are {columns_of(row)}."
        )
    label = labels[0]
    return images[0], str(label).lower() if isinstance(label, bool) else str(label)


def _is_image(value: Any) -> bool:
    return isinstance(value.get("bytes") if isinstance(value, Mapping) else value, bytes)
